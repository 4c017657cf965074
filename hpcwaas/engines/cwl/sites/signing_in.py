"""Opens a connection to an account: the site's name, its port, its host key, the sign-in, one after another."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import logging
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import paramiko
from paramiko.ssh_exception import BadAuthenticationType, IncompatiblePeer

from hpcwaas.common.forgetting import forgetting
from hpcwaas.core.key_types import KEY_TYPES
from hpcwaas.core.ports.sites import Credential
from hpcwaas.engines.cwl.sites.connection import NotSignedIn
from hpcwaas.engines.cwl.sites.transport import Transport
from hpcwaas.engines.site_settings import SiteSettings

_LOGGER = logging.getLogger(__name__)

_RESOLVING, _CONNECTING, _GREETING, _AUTHENTICATING = 5.0, 8.0, 10.0, 20.0
"""Seconds for each stage at most."""
_OPENING = 15.0
"""Seconds within which a server opens a session, or refuses to."""
_ENDING = 5.0
_SILENT = 60
"""Seconds for which the other side's machine may not confirm what was sent."""
_KEEPALIVE = 30
_WINDOW = 8 * 2**20
_REKEY_BYTES = 2**35
"""Bytes after which new keys are agreed on, half as many as OpenSSH's own for these ciphers. Paramiko's own, half a
gibibyte, come in the middle of files, which it may stall by for half a minute and lose the connection."""
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr", "aes192-ctr")
"""Quickest first."""
_DIGESTS = (
    *("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"),
    "hmac-sha1",  # of switches and old systems; it is no weakness as a MAC
)
_LONGEST_BANNER = 300


def fingerprint(host_key: str) -> str:
    """Of a public key's line, as `ssh-keygen -l` prints it."""
    return _fingerprint(_blob(host_key))


def sign_in(
    site: str,
    settings: SiteSettings,
    user: str,
    credential: Callable[[], Credential],
    reached: Callable[[str], None] = lambda _: None,
) -> Transport:
    """Signs in.

    Args:
        credential: called once the host key has been verified. What it gives is forgotten at once.
        reached: told what has been passed: `name`, `port`, `host_key`, `sign_in`.

    Raises:
        NotSignedIn: it doesn't work.
        ServiceError: what `credential` raises.
    """
    host, port = settings.host.rsplit(":", 1)
    addresses = _resolved(site, host.strip("[]"), int(port))
    reached("name")
    connected = _connected(site, addresses, settings.host)
    transport = Transport(connected, default_window_size=_WINDOW)
    transport.packetizer.REKEY_BYTES = _REKEY_BYTES
    try:
        _greet(transport, site, settings, reached)
        reached("host_key")
        with forgetting():
            _authenticate(transport, site, user, credential)
        reached("sign_in")
    except BaseException:
        hang_up(transport)
        raise
    transport.set_keepalive(_KEEPALIVE)
    return transport


def hang_up(transport: paramiko.Transport) -> None:
    """Closes a connection, whatever state it is in."""
    transport.packetizer.complete_handshake()  # else its timer goes on
    transport.close()
    if transport.is_alive() and transport is not threading.current_thread():
        transport.join(_ENDING)


def _resolved(site: str, host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """The addresses of a name. The resolver of the system has no time-out, so that another thread waits for it."""
    found: queue.SimpleQueue[Sequence[tuple[Any, ...]] | OSError | UnicodeError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.put(error)

    threading.Thread(target=look_up, name="ssh name", daemon=True).start()
    advice = "Check the setting `host` of the site and the DNS of the service's machine."
    try:
        answer = found.get(timeout=_RESOLVING)
    except queue.Empty:
        raise NotSignedIn(
            "name", f"The name {host} of the site {site} wasn't resolved within {_RESOLVING:g} seconds.", advice
        ) from None
    if isinstance(answer, Exception):
        why = answer.strerror if isinstance(answer, OSError) else "it is no valid name"
        raise NotSignedIn("name", f"The name {host} of the site {site} can't be resolved: {why}.", advice)
    return answer


def _connected(site: str, addresses: Sequence[tuple[Any, ...]], where: str) -> socket.socket:
    until = time.monotonic() + _CONNECTING
    why = "no answer"
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        left = until - time.monotonic()
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(left / (len(addresses) - index), 0.1))
            connection.connect(address)
            _tune(connection)
        except OSError as error:
            connection.close()
            why = (
                f"no answer within {_CONNECTING:g} seconds" if isinstance(error, TimeoutError) else str(error.strerror)
            )
        else:
            return connection
    raise NotSignedIn(
        "port",
        f"The login node of the site {site} ({where}) can't be reached: {why}.",
        "It may be down, or a firewall may be between it and the service.",
    )


def _tune(connection: socket.socket) -> None:
    """Has the kernel notice a machine that is gone, also one to which everything was sent that its window takes."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", _SILENT * 1000),
    ):
        if hasattr(socket, option):  # Linux has them all
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _greet(transport: paramiko.Transport, site: str, settings: SiteSettings, reached: Callable[[str], None]) -> None:
    """Agrees on keys with the server and makes sure that it is the one that was pinned."""
    pinned = {_blob(line): line.split(" ", 1)[0] for line in settings.host_keys}
    options = transport.get_security_options()
    options.key_types = [name for kind in dict.fromkeys(pinned.values()) for name in _algorithms(kind)]
    options.ciphers, options.digests = _CIPHERS, _DIGESTS
    transport.banner_timeout = transport.handshake_timeout = _GREETING
    transport.auth_timeout, transport.channel_timeout = _AUTHENTICATING, _OPENING
    known = ", ".join(f"{kind} {_fingerprint(blob)}" for blob, kind in pinned.items())
    try:
        transport.start_client(timeout=2 * _GREETING)
        key = transport.get_remote_server_key()
    except IncompatiblePeer as error:
        if "host key" not in str(error):
            raise NotSignedIn(
                "port",
                f"The SSH server of the site {site} and the service have no algorithm in common: {error}.",
                "Its operators have to allow one of today's.",
                lasting=True,
            ) from None
        reached("port")
        _refuse(site, settings.host, f"no key of the types {', '.join(dict.fromkeys(pinned.values()))}", known)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise NotSignedIn("port", *_not_greeted(site, settings.host, error)) from None
    reached("port")
    if key.asbytes() not in pinned:
        _refuse(site, settings.host, f"the key {key.get_name()} {_fingerprint(key.asbytes())}", known)


def _refuse(site: str, where: str, shown: str, known: str) -> None:
    _LOGGER.warning(
        "the site %s (%s) is refused: it shows %s, pinned are %s. Somebody may pose as it. Ask its operators before "
        "you change `host_keys`",
        *(site, where, shown, known),
    )
    raise NotSignedIn(
        "host_key",
        f"The host key of the site {site} has changed: its login node shows {shown}, and the service expects {known}. "
        "Somebody may pose as it, so that nothing was sent there.",
        "An operator of the service has to ask the site's operators, and correct `host_keys` if the change is genuine.",
        lasting=True,
    )


def _not_greeted(site: str, where: str, error: Exception) -> tuple[str, str]:
    if "banner" in str(error) and not isinstance(error.__context__, TimeoutError):
        advice = "It takes no more sign-ins at this moment (MaxStartups), or refuses the service's address."
        return f"The login node of the site {site} ({where}) closes connections before it greets.", advice
    advice = "It may be overloaded, or something else listens there."
    return f"The login node of the site {site} ({where}) accepts connections and doesn't speak SSH on them.", advice


def _authenticate(transport: paramiko.Transport, site: str, user: str, credential: Callable[[], Credential]) -> None:
    opened = credential()
    certified = opened.certificate is not None
    try:
        further = transport.auth_publickey(user, _private_key(opened))
    except BadAuthenticationType as error:
        raise NotSignedIn(
            "sign_in",
            f"The site {site} takes no SSH keys for the account {user}, only {', '.join(error.allowed_types)}.",
            "Ask its operators how programs sign in there.",
            lasting=True,
        ) from None
    except paramiko.AuthenticationException as error:
        raise _not_authenticated(transport, site, user, error, certified=certified) from None
    except (paramiko.SSHException, EOFError, OSError):
        raise NotSignedIn(
            "sign_in", f"The connection to the site {site} broke while signing in as {user}.", "Try again in a minute."
        ) from None
    finally:
        del opened
        if transport.auth_handler is not None:
            transport.auth_handler.private_key = None  # which would live as long as the connection
    if further or not transport.is_authenticated():
        raise NotSignedIn(
            "sign_in",
            f"The site {site} accepts the key of the account {user} and demands a second factor "
            f"({', '.join(further) or 'unknown'}).",
            "Ask its operators for an exception for the service's key or address.",
            lasting=True,
        )


def _not_authenticated(
    transport: paramiko.Transport, site: str, user: str, error: paramiko.AuthenticationException, *, certified: bool
) -> NotSignedIn:
    says = _banner(transport)
    if not transport.is_active():
        return NotSignedIn(
            "sign_in",
            f"The site {site} ended the connection while the account {user} was signing in{says}.",
            "The account may be locked or expired there, or its operators let nobody in at this moment. Sign in by "
            "yourself to find out.",
        )
    if "timeout" in str(error):
        return NotSignedIn(
            "sign_in",
            f"The site {site} didn't say within {_AUTHENTICATING:g} seconds whether the account {user} may sign in.",
            "It may be overloaded.",
        )
    if certified:
        return NotSignedIn(
            "sign_in",
            f"The site {site} refuses the certificate for the account {user}{says}.",
            "Ask the site's operators whether its SSH server trusts the authority (`TrustedUserCAKeys`), whether there "
            "is such an account, and whether its clock is right: certificates are valid for minutes.",
            lasting=True,
        )
    return NotSignedIn(
        "sign_in",
        f"The site {site} refuses the key for the account {user}{says}.",
        "Check the login name, and that the public key stands in `~/.ssh/authorized_keys` there, or where the site "
        "wants it (`waas sites connect` prints the line). If it does, the account may be locked: SSH doesn't tell.",
        lasting=True,
    )


def _banner(transport: paramiko.Transport) -> str:
    """What the server said besides: a few printable words, in quotes."""
    text = (transport.get_banner() or b"").decode(errors="replace")
    text = re.sub(r"\s+", " ", "".join(sign if sign.isprintable() else " " for sign in text)).strip()
    return f' ("{text[:_LONGEST_BANNER]}")' if text else ""


def _private_key(credential: Credential) -> paramiko.PKey:
    key = _loaded(credential.private_key)
    if credential.certificate is not None:
        _, blob, *_ = credential.certificate.split()
        key.load_certificate(paramiko.Message(base64.b64decode(blob)))
    return key


def _loaded(private_key: str) -> paramiko.PKey:
    for kind in KEY_TYPES.values():
        # A key of another type is told by many errors, in which parts of it may stand.
        with contextlib.suppress(paramiko.SSHException, ValueError, IndexError, TypeError):
            return kind.load.from_private_key(io.StringIO(private_key))
    raise NotSignedIn(
        "sign_in",
        "The private key in the vault can't be read.",
        f"Make another: it has to be of one of the types {', '.join(KEY_TYPES)}, without a passphrase.",
        lasting=True,
    )


def _algorithms(kind: str) -> Sequence[str]:
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def _blob(line: str) -> bytes:
    return base64.b64decode(line.split()[1])


def _fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
