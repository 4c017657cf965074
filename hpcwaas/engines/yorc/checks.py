"""What stands in the way of talking to Yorc as the settings say."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

from hpcwaas.engines.yorc.settings import YorcSettings


def problems(settings: YorcSettings, _local: bool) -> Iterator[tuple[str, str]]:
    """Names of settings, each with what is wrong with it; see `EngineEntry.problems`."""
    yield from tls_problems(settings)


def tls_problems(settings: YorcSettings) -> Iterator[tuple[str, str]]:
    """What is wrong with certificates and the key, by the settings' names."""
    files = {name: getattr(settings, name) for name in ("ca_file", "client_certificate", "client_key")}
    named = {name: path for name, path in files.items() if path is not None}
    if not settings.address.lower().startswith("https:"):
        for name in named:
            yield name, "is of no use with an address that begins with http://: use https://, or remove it"
        return
    unread = {name: problem for name, path in named.items() if (problem := _unreadable(path))}
    yield from unread.items()
    if settings.ca_file is not None and "ca_file" not in unread and (problem := _untrusted(settings.ca_file)):
        yield "ca_file", problem
    if settings.identity is None:
        for name, other in (("client_certificate", "client_key"), ("client_key", "client_certificate")):
            if name in named:
                yield name, f"needs `{other}` as well"
    elif not unread.keys() & {"client_certificate", "client_key"}:
        yield from _identity(*settings.identity)


def _unreadable(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        return f"there is no file {path}"
    except IsADirectoryError:
        return f"{path} is a directory"
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    return None


def _untrusted(path: Path) -> str | None:
    try:
        context = ssl.create_default_context(cafile=str(path))
    except (ssl.SSLError, OSError):
        context = None
    if context is None or not context.cert_store_stats()["x509"]:
        return f"{path} holds no certificate that can be read; expected PEM"
    return None


def _identity(certificate: Path, key: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with a client's certificate and its key."""
    if key.stat().st_mode & stat.S_IRWXO:
        yield "client_key", f"everybody on this machine can read {key} or write it; `chmod o-rwx {key}`"
    if _untrusted(certificate):
        yield "client_certificate", f"{certificate} holds no certificate that can be read; expected PEM"
        return
    locked = False

    def passphrase() -> str:  # OpenSSL would ask on the terminal
        nonlocal locked
        locked = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, passphrase)
    except (ssl.SSLError, OSError, ValueError) as error:
        if locked:
            yield "client_key", f"{key} has a passphrase, for which nobody can be asked: remove it from the key"
        elif "MISMATCH" in str(getattr(error, "reason", "")):
            yield "client_key", f"{key} isn't the key of `client_certificate`"
        else:
            yield "client_key", f"{key} holds no private key that can be read; expected PEM"
