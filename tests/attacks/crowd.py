"""Thousands of connections that keep a service waiting."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests


@dataclass
class Crowd:
    """Connections that send a beginning and then a byte now and then, and read nothing.

    Attributes:
        url: of the service.
        count: how many there are; of those that are thrown out, 100 come back in a second.
        first: what each begins with.
        more: what each adds.
    """

    url: str
    count: int
    first: bytes
    more: bytes
    connected: int = 0
    _end: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def attacking(self) -> Iterator[None]:
        """Attacks until the block ends; begins when all have come once."""
        thread = threading.Thread(target=self._attack)
        thread.start()
        try:
            deadline = time.monotonic() + 120
            while self.connected < self.count:
                assert time.monotonic() < deadline, f"only {self.connected} connections"
                time.sleep(0.05)
            yield
        finally:
            self._end.set()
            thread.join()

    def _attack(self) -> None:
        ended = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        address = ("127.0.0.1", urlsplit(self.url).port or 0)
        there: dict[int, socket.socket] = {}
        began = dripped = time.monotonic()
        with select.epoll() as gone, contextlib.ExitStack() as stack:
            while not self._end.is_set():
                back = (time.monotonic() - began) * 100
                for _ in range(min(200, self.count - len(there))):
                    if self.connected >= self.count + back:
                        break
                    with contextlib.suppress(OSError):
                        connection = stack.enter_context(socket.socket())
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                        connection.settimeout(2)
                        connection.connect(address)
                        connection.sendall(self.first)
                        connection.setblocking(False)
                        there[connection.fileno()] = connection
                        gone.register(connection, ended)
                        self.connected += 1
                if time.monotonic() - dripped > 1:
                    dripped = time.monotonic()
                    for connection in there.values():
                        with contextlib.suppress(OSError):
                            connection.send(self.more)
                for descriptor, _ in gone.poll(0.1):
                    there.pop(descriptor).close()


def descriptors(wanted: int) -> None:
    """Lets this process have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, hard)), hard))


def times(url: str, seconds: float, *asked: tuple[str, dict[str, str]]) -> list[float]:
    """Asks again and again, each time by a connection of its own; gives the seconds that each answer took.

    Args:
        asked: paths and headers; each must be answered 200.
    """
    took: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or not took:
        for path, headers in asked:
            began = time.monotonic()
            answer = requests.get(url + path, headers=headers, timeout=60)
            took.append(time.monotonic() - began)
            assert answer.status_code == 200, (path, answer.status_code, answer.text)
        time.sleep(0.05)
    return took
