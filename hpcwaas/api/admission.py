"""Gives everybody a share of the requests that may be under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from hpcwaas.api.answers import refuse
from hpcwaas.common.addresses import network
from hpcwaas.core.slots import Slots
from hpcwaas.errors import TooManyRequests, Unavailable

CONNECTION = "hpcwaas.connection"
"""Extension of the scope: the `Connection` by which a request came, under our own server."""

_ADMIT = "hpcwaas.admit"

_DOCUMENTS = ("/ui", "/openapi.")


class Connection(Protocol):
    """What a server tells and is told of a connection."""

    @property
    def gone(self) -> bool:
        """Whether nobody is there any more to take an answer."""

    def signed_in(self, subject: str) -> None:
        """Somebody has signed in with a request of this connection."""

    def at_stop(self, call: Callable[[], None] | None) -> None:
        """Has something called when the server is about to stop, or nothing any more."""


class Admission:
    """Refuses what is more than a share: of a user, when it is known who calls, and of an address until then.

    What brings credentials counts nowhere while they are checked: see `hpcwaas.api.security`.

    Args:
        users: places for requests of users.
        strangers: places for requests of others, by address.
        documents: places for what is the same for everybody, and large.
    """

    def __init__(self, app: ASGIApp, users: Slots, strangers: Slots, documents: Slots) -> None:
        self._app = app
        self._users = users
        self._strangers = strangers
        self._documents = documents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        taken: list[tuple[Slots, str]] = []

        def admit(subject: str) -> None:
            self._users.take(subject)
            for slots, key in taken:
                slots.give(key)
            taken[:] = [(self._users, subject)]

        scope["extensions"][_ADMIT] = admit
        try:
            if (slots := self._slots(scope)) is not None:
                address = network((scope.get("client") or ("", 0))[0])
                try:
                    slots.take(address)
                except (TooManyRequests, Unavailable) as error:
                    status = 429 if isinstance(error, TooManyRequests) else 503
                    await refuse(scope, send, status, error.detail, {"Retry-After": "1"})
                    return
                taken.append((slots, address))
            await self._app(scope, receive, send)
        finally:
            for slots, key in taken:
                slots.give(key)

    def _slots(self, scope: Scope) -> Slots | None:
        """Where a request counts until it is known who calls. Probes get through, whoever else is there."""
        path: str = scope["path"]
        if path.startswith(_DOCUMENTS):
            return self._documents
        if path.startswith("/health/"):
            return None
        if path.startswith("/auth/") or all(name != b"authorization" for name, _ in scope["headers"]):
            return self._strangers
        return None


def admit(scope: Scope, subject: str) -> None:
    """Counts a request as a user's from now on, and its connection as well.

    Raises:
        TooManyRequests: the user has too many under way.
        Unavailable: all together have too many.
    """
    extensions = scope["extensions"]
    count: Callable[[str], None] = extensions[_ADMIT]
    count(subject)
    connection: Connection | None = extensions.get(CONNECTION)
    if connection is not None:
        connection.signed_in(subject)
