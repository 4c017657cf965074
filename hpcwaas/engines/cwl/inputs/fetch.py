"""Downloads input files from addresses that users name, as far as these may be spoken to."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

REDIRECT_LIMIT = 5
"""Most redirects that are followed."""

_CHUNK = 2**16
_IDLE_TIMEOUT = 60.0
_MOST_ADDRESSES = 3


class FetchError(Exception):
    """The file can't or must not be downloaded; says why."""


def fetch(
    url: str,
    target: Path,
    max_bytes: int,
    timeout: float,
    allowed: Callable[[str], bool],
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Downloads a file, completely or not at all.

    Names are resolved once: no name server can change its mind between check and use.

    Args:
        url: http or https.
        target: the file to write; its directory exists.
        max_bytes: of the content, counted while it arrives.
        timeout: seconds for everything together.
        allowed: says of an IP address whether it may be spoken to.
        wanted: whether to go on; it is asked again and again.

    Raises:
        FetchError: it can't be had, or must not, or isn't wanted any more.
        OSError: the target can't be written.
    """
    sockets: list[socket.socket] = []
    partial = target.with_name(f".{target.name[:100]}.partial")
    expired = threading.Event()

    def expire() -> None:
        # Wakes the thread that waits for a server which sends a byte now and then.
        expired.set()
        for connected in sockets:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout, expire)
    timer.daemon = True
    timer.start()
    try:
        with (
            _session(sockets, allowed) as session,
            _open(session, url, timeout) as response,
            partial.open("wb") as stream,
        ):
            _copy(response, stream.write, max_bytes, wanted)
        if not expired.is_set():
            partial.replace(target)
    except (requests.RequestException, FetchError, ValueError) as error:
        if not expired.is_set():
            raise FetchError(f"{_shown(url)}: {_reason(error)}") from error
    finally:
        timer.cancel()
        for connected in sockets:
            connected.close()
        partial.unlink(missing_ok=True)
    if expired.is_set():
        raise FetchError(f"{_shown(url)}: not complete after {timeout:g} seconds")


def _open(session: requests.Session, url: str, timeout: float) -> requests.Response:
    """Follows redirects by hand: requests would read the body of each into memory."""
    for _ in range(REDIRECT_LIMIT + 1):
        if urlsplit(url).scheme not in ("http", "https"):
            raise FetchError(f"{urlsplit(url).scheme} addresses are not supported")
        response = session.get(url, stream=True, timeout=min(timeout, _IDLE_TIMEOUT))
        if response.is_redirect:
            url = urljoin(url, response.headers["location"])
            response.close()
            continue
        if response.status_code != requests.codes.ok:
            response.close()
            raise FetchError(f"the server answered {response.status_code}")
        return response
    raise FetchError(f"more than {REDIRECT_LIMIT} redirects")


def _copy(
    response: requests.Response, write: Callable[[bytes], Any], max_bytes: int, wanted: Callable[[], bool]
) -> None:
    size = 0
    for chunk in response.iter_content(_CHUNK):
        if not wanted():
            raise FetchError("it isn't wanted any more")
        size += len(chunk)
        if size > max_bytes:
            raise FetchError(f"the file is larger than {max_bytes} bytes")
        write(chunk)


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Leaves redirects to `_open`."""


def _session(sockets: list[socket.socket], allowed: Callable[[str], bool]) -> requests.Session:
    session = _Session()
    # Neither the proxies nor the .netrc of the service's account are for the addresses of users.
    session.trust_env = False
    session.headers["Accept-Encoding"] = "identity"
    adapter = _Adapter(sockets, allowed)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _connect(host: str, port: int, timeout: float, allowed: Callable[[str], bool]) -> socket.socket:
    """Connects to one of the allowed addresses of a host, and doesn't even knock at the others.

    Raises:
        FetchError: there is none, and no more: nobody is to find out which private addresses and ports answer.
    """
    with contextlib.suppress(OSError, UnicodeError):
        found = dict.fromkeys(
            entry[4][0] for entry in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        )
        addresses = [str(address) for address in found if allowed(str(address))]
        for address in addresses[:_MOST_ADDRESSES]:
            with contextlib.suppress(OSError):
                connected = socket.create_connection((address, port), timeout)
                if connected.getpeername()[0] in addresses:
                    return connected
                connected.close()
    raise FetchError("no connection, or the address is not one that files may come from")


class _Adapter(HTTPAdapter):
    """Makes connections to allowed addresses only."""

    def __init__(self, sockets: list[socket.socket], allowed: Callable[[str], bool]) -> None:
        def connect(host: str, port: int, timeout: Any) -> socket.socket:
            connected = _connect(host, port, timeout, allowed)
            # A duplicate: TLS takes the socket itself over.
            sockets.append(connected.dup())
            return connected

        class PlainConnection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return connect(self.host, self.port, self.timeout)

        class SecureConnection(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return connect(self.host, self.port, self.timeout)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = PlainConnection

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = SecureConnection

        self._pools = {"http": PlainPool, "https": SecurePool}
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Makes connections of our own classes."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools


def _shown(url: str) -> str:
    """The address without a password in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "this address"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()[:200]


def _reason(error: Exception) -> str:
    match error:
        case FetchError():
            return str(error)
        case requests.exceptions.SSLError():
            return "its certificate is not valid"
        case requests.Timeout():
            return "the server did not answer in time"
        case requests.ConnectionError() | requests.exceptions.ChunkedEncodingError():
            return "the connection could not be made, or it broke off"
    return "the address is not valid, or the server's answer is not HTTP"
