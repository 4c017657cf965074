"""The socket that the service listens on."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, TypeAlias

from hpcwaas.configuration.settings import Settings
from hpcwaas.errors import ConfigurationError

_SETTING = "listen_address"
_SHARED_DEFAULT = "0.0.0.0:9090"
_LOCAL_DEFAULTS = tuple(f"127.0.0.1:{port}" for port in range(9090, 9100))
"""The local mode takes the first free one, unless an address is set."""

_Resolved: TypeAlias = tuple[socket.AddressFamily, Any]
"""An address family and the socket address in its form."""


def candidates(settings: Settings) -> Sequence[str]:
    """The addresses to try in this order, as HOST:PORT."""
    if settings.listen_address is not None:
        return (settings.listen_address,)
    return _LOCAL_DEFAULTS if settings.local else (_SHARED_DEFAULT,)


def check(settings: Settings) -> None:
    """Finds out whether the service could listen, but for a port that somebody uses at the moment.

    Raises:
        ConfigurationError: the address isn't one of this machine or isn't allowed to this account, or nobody would have
            to sign in and others could reach it.
    """
    try:
        _bind(candidates(settings)[0], settings.local).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise _refusal(candidates(settings)[0], error) from error


def listen(settings: Settings) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigurationError: as for `check`, or the port is in use.
    """
    addresses = candidates(settings)
    for address in addresses:
        try:
            listener = _bind(address, settings.local)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _refusal(address, error) from error
        else:
            return listener
    ports = addresses[0] if len(addresses) == 1 else f"every port from {addresses[0]} to {addresses[-1]}"
    raise ConfigurationError(
        _SETTING, f"{ports} is in use by another program; choose one with --listen_address HOST:PORT"
    )


def url(listener: socket.socket) -> str:
    """Where the service is reached from this machine."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bind(address: str, local: bool) -> socket.socket:
    resolved = _resolve(address)
    if local and not all(ipaddress.ip_address(where[0]).is_loopback for _, where in resolved):
        raise ConfigurationError(
            _SETTING,
            f"{address} can be reached from other machines, and nobody would have to sign in: "
            "add an `auth` section, or listen on 127.0.0.1",
        )
    family, where = resolved[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without it a restarted service would have to wait until its old connections are forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def _resolve(address: str) -> Sequence[_Resolved]:
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.strip("[]") or "0.0.0.0",  # noqa: S104 # `:9090` means every address, and is checked like that
            int(port),
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigurationError(_SETTING, f"the host of {address} isn't known to this machine") from error
    return [(family, where) for family, _, _, _, where in found]


def _refusal(address: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(_SETTING, f"can't listen on {address}: {error.strerror}")
