"""The socket that the service listens on."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from hpcwaas.configuration.settings import Settings
from hpcwaas.errors import ConfigurationError

_SETTING = "listen_address"
UNIX = "unix:"
"""Begins the address of a Unix socket."""

_BACKLOG = 2048

_Resolved: TypeAlias = tuple[socket.AddressFamily, Any]
"""An address family and the socket address in its form."""


def problems(settings: Settings) -> Iterator[ConfigurationError]:
    """Why the service couldn't listen, but for a port that somebody uses at the moment.

    Yields:
        at most one: the address isn't one of this machine or isn't allowed to this account, or nobody would have to
        sign in and others could reach it.
    """
    address = settings.addresses[0]
    try:
        if address.startswith(UNIX):
            _check_unix(address, settings.local)
        else:
            _bind(address, settings).close()
    except ConfigurationError as error:
        yield error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            yield _refusal(address, error)


def listen(settings: Settings) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigurationError: see `problems`; or the port is in use.
    """
    addresses = settings.addresses
    for address in addresses:
        try:
            listener = _bind(address, settings)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _refusal(address, error) from error
        else:
            return listener
    ports = addresses[0] if len(addresses) == 1 else f"every port from {addresses[0]} to {addresses[-1]}"
    raise ConfigurationError(
        _SETTING, f"{ports} is in use by another program; choose one with --listen_address HOST:PORT"
    )


def url(listener: socket.socket, *, tls: bool = False) -> str:
    """Where the service is reached from this machine."""
    if listener.family == socket.AF_UNIX:
        return f"{UNIX}{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bind(address: str, settings: Settings) -> socket.socket:
    if address.startswith(UNIX):
        _check_unix(address, settings.local)
        return _bind_unix(Path(address.removeprefix(UNIX)), int(settings.server.socket_mode, 8))
    resolved = _resolve(address)
    if settings.local and not all(ipaddress.ip_address(where[0]).is_loopback for _, where in resolved):
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
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _check_unix(address: str, local: bool) -> None:
    directory = Path(address.removeprefix(UNIX)).parent
    if local:
        raise ConfigurationError(
            _SETTING,
            f"{address} needs an `auth` section: in the local mode the command `waas` can't connect by a Unix socket",
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigurationError(
            _SETTING,
            f"can't listen on {address}: the directory {directory} doesn't exist, or this account can't write in it",
        )


def _bind_unix(path: Path, mode: int) -> socket.socket:
    """A socket that those who may open the file can connect to.

    Raises:
        OSError: `EADDRINUSE`, when there is something that isn't the socket of a service that has ended.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and _is_left_behind(path):
            path.unlink()
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_left_behind(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        return client.connect_ex(str(path)) == errno.ECONNREFUSED


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
        raise ConfigurationError(_SETTING, f"this machine can't find the host of {address}: check the name") from error
    return [(family, where) for family, _, _, _, where in found]


def _refusal(address: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(_SETTING, f"can't listen on {address}: {error.strerror}")
