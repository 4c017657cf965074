"""The connections of a process: each address and each user has a share, and none waits for its client for ever."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hpcwaas.common.addresses import Proxies
from hpcwaas.core.slots import Holder, Places

_LOGGER = logging.getLogger(__name__)
_MOST = 8192
_OTHER_FILES = 256
"""Descriptors that are kept for everything else."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a connection may keep the service waiting, in seconds.

    Attributes:
        head: for a request's head, and for the first request of a new connection.
        stranger: between two requests of a connection on which nobody has signed in.
        idle: between two requests otherwise; longer than a reverse proxy's, so that it never sends into a closing one.
        rest: for the rest of a body whose request has been answered, and for the rest of an answer when the connection
            closes.
        slow: after which it is looked whether enough of an answer was taken.
        lowest: bytes of an answer that are to be taken in a second.
        look: between two looks at all connections.
    """

    head: float = 10
    stranger: float = 15
    idle: float = 75
    rest: float = 10
    slow: float = 30
    lowest: float = 1024
    look: float = 1


_PATIENCE = Patience()


class Connection(Holder, Protocol):
    """What is known here of a connection."""

    def look(self, now: float) -> None:
        """Gives up what has waited too long for its client."""


class Connections:
    """All connections of a process.

    Args:
        trusted_proxies: addresses and networks. Who comes through one is counted by request, not by connection.
        patience: with clients.
        most: connections that there may be; by default as many as the process may have open.
    """

    def __init__(self, trusted_proxies: Sequence[str], patience: Patience = _PATIENCE, most: int | None = None) -> None:
        most = most or min(_MOST, max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES))
        self.proxies = Proxies(trusted_proxies)
        self.patience = patience
        self._all: set[Connection] = set()
        self._strangers = Places(most // 2)
        self._users = Places(most // 2)
        self._looking = False
        self._told = False

    def add(self, connection: Connection, address: str | None) -> bool:
        """Takes a new connection.

        Args:
            address: where it comes from; None from a trusted proxy.

        Returns:
            False when there are too many, none of which can be given up.
        """
        self._all.add(connection)
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(self.patience.look, self._look)
        return address is None or self._strangers.enter(address, connection)

    def know(self, connection: Connection, address: str, subject: str) -> bool:
        """Counts a connection as a user's from now on.

        Returns:
            False when the user has too many; it then goes on counting as a stranger's.
        """
        if not self._users.enter(subject, connection):
            return False
        self._strangers.leave(address, connection)
        return True

    def remove(self, connection: Connection, address: str | None, subject: str | None) -> None:
        """Forgets one that is closed."""
        self._all.discard(connection)
        if address is not None:
            self._strangers.leave(address, connection)
        if subject is not None:
            self._users.leave(subject, connection)

    def disbelieve(self, address: str) -> None:
        """Says, once, that the header which tells whose request it is isn't believed."""
        if self._told:
            return
        self._told = True
        _LOGGER.warning(
            "A request from %s has the header X-Forwarded-For, which is ignored: no trusted proxy sent it. If it was "
            "your reverse proxy, let it connect by a Unix socket (listen_address: unix:/run/hpcwaas/http.sock) or name "
            "its address in server.trusted_proxies; until then all users behind it count as one address.",
            address,
        )

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._all):
            connection.look(now)
        self._looking = bool(self._all)
        if self._looking:
            loop.call_later(self.patience.look, self._look)


def raise_limit() -> None:
    """Lets this process have as many files open as it may: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems promise more than they allow
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
