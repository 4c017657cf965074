"""The one connection of an account, and the sessions in it."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator

import paramiko
from paramiko.ssh_exception import ChannelException

from hpcwaas.common import tracing
from hpcwaas.engines.cwl.sites.backoff import Backoff
from hpcwaas.engines.cwl.sites.connection import SIGN_IN_SECONDS, SIGN_INS, SiteFailed
from hpcwaas.engines.cwl.sites.signing_in import hang_up
from hpcwaas.engines.cwl.sites.transport import Transport
from hpcwaas.errors import ServiceError

_WAIT = 30.0
"""Seconds that somebody waits for a session that others have."""
_AGAIN = 0.2
"""Seconds after which a server has ended a session that was closed."""
_ALONE = 5.0
"""Seconds for which a server may refuse the only session there is."""
_PING = 15.0
_ANSWER = 15.0


class Sessions:
    """Counts the sessions of a connection. Who has waited longest comes next.

    Args:
        most: at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most = self._limit = most
        self._queue: list[object] = []
        self._changed = threading.Condition()
        self.open = 0

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for one."""
        return bool(self._queue)

    def take(self, until: float, spare: int = 0) -> bool:
        """Waits for one; False when there is none until this moment of the monotonic clock.

        Args:
            spare: how many have to be left for others, if there are as many.
        """
        place = object()
        with self._changed:
            self._queue.append(place)
            try:
                free = self._changed.wait_for(
                    lambda: self._queue[0] is place and self.open < max(self._limit - spare, 1),
                    max(until - time.monotonic(), 0),
                )
                self.open += free
                return free
            finally:
                self._queue.remove(place)
                self._changed.notify_all()

    def give_back(self) -> None:
        """Ends one."""
        with self._changed:
            self.open -= 1
            self._changed.notify_all()

    def refused(self) -> bool:
        """Ends one that the server refused: so many it doesn't want. Keeps it, and gives False, when it was the only
        one: the server may not have noticed yet that another has ended."""
        with self._changed:
            if self.open == 1:
                self._limit = 1
                return False
            self.open -= 1
            self._limit = self.open
            self._changed.notify_all()
            return True

    def reset(self) -> None:
        """As many as at the beginning: the server is asked anew."""
        with self._changed:
            self._limit = self._most
            self._changed.notify_all()


class Pool:
    """Keeps an account signed in while it is used. All methods may be called by many threads.

    Args:
        site: its id.
        sessions: at the same time.
        sign_in: opens a connection, for a purpose.
    """

    def __init__(self, site: str, sessions: int, sign_in: Callable[[str], Transport]) -> None:
        self.site = site
        self.backoff = Backoff()
        self._sign_in = sign_in
        self._sessions = Sessions(sessions)
        self._signing_in = threading.Lock()
        self._opening = threading.Lock()
        self._transport: Transport | None = None
        self._used = time.monotonic()
        self._closed = False

    @contextlib.contextmanager
    def session(self, purpose: str, spare: int = 0) -> Iterator[paramiko.Channel]:
        """A session, for as long as the context lasts.

        Args:
            spare: how many have to be left for others, if there are as many.

        Raises:
            SiteFailed: there is none.
        """
        channel = self._opened(purpose, spare)
        try:
            yield channel
        finally:
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                channel.close()
            self._used = time.monotonic()
            self._sessions.give_back()

    def connected(self, purpose: str) -> Transport:
        """The connection, which is made if there is none.

        Raises:
            SiteFailed: there is none.
            ServiceError: the key can't be had.
        """
        with self._signing_in:
            if self._transport is not None and self._transport.is_active():
                return self._transport
            if self._closed:
                raise SiteFailed("The service is being stopped.")
            self.backoff.check()
            self._transport = None
            began = time.monotonic()
            try:
                with tracing.span("sign in to a site", {"hpcwaas.site": self.site}, "client"):
                    transport = self._sign_in(purpose)
            except ServiceError as error:
                lasting = isinstance(error, SiteFailed) and error.lasting
                SIGN_INS.add(self.site, "refused" if lasting else "failed")
                self.backoff.failed(error)
                raise
            SIGN_INS.add(self.site, "ok")
            SIGN_IN_SECONDS.observe(time.monotonic() - began, self.site)
            self._sessions.reset()
            self._used = time.monotonic()
            self._transport = transport
            return transport

    def alive(self, transport: paramiko.Transport) -> bool:
        """Asks the server for a sign of life. A connection without one is closed."""
        try:
            self._open(transport, _PING).close()
        except ChannelException:  # a refusal is one
            return True
        except (paramiko.SSHException, EOFError, OSError):
            hang_up(transport)
            return False
        return True

    @property
    def active(self) -> bool:
        """Whether there is a connection, as far as is known."""
        transport = self._transport
        return transport is not None and transport.is_active()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for a session."""
        return self._sessions.wanted

    def idle(self) -> float:
        """Seconds for which nobody has used it; 0 while somebody does."""
        return 0 if self._sessions.open else time.monotonic() - self._used

    def drop(self) -> None:
        """Closes the connection. The next one who needs it signs in again."""
        transport, self._transport = self._transport, None
        if transport is not None:
            hang_up(transport)

    def close(self) -> None:
        """Closes it for ever."""
        self._closed = True
        self.drop()

    def _open(self, transport: paramiko.Transport, seconds: float) -> paramiko.Channel:
        """Opens a session, one after another: Paramiko confuses refusals of several."""
        with self._opening:
            return transport.open_session(timeout=seconds)

    def _opened(self, purpose: str, spare: int) -> paramiko.Channel:
        until, alone = time.monotonic() + _WAIT, math.inf
        taken = False
        while True:
            taken = taken or self._sessions.take(until, spare)
            if not taken:
                raise SiteFailed(
                    f"The connection to the site {self.site} is busy: all its sessions have been in use for "
                    f"{_WAIT:g} seconds. Try again in a minute."
                )
            try:
                channel = self._asked_for(purpose)
            except ChannelException:
                taken = not self._sessions.refused()
                alone = min(alone, time.monotonic() + _ALONE) if taken else math.inf
                if time.monotonic() > alone:
                    self._sessions.give_back()
                    raise SiteFailed(
                        f"The site {self.site} lets the account sign in and opens no session. Ask its operators "
                        "whether the account may run commands, and how many sessions it may have (MaxSessions).",
                        lasting=True,
                    ) from None
                time.sleep(_AGAIN)
            except BaseException:
                self._sessions.give_back()
                raise
            else:
                self.backoff.succeeded()
                return channel

    def _asked_for(self, purpose: str) -> paramiko.Channel:
        """A session of the server. A connection that turns out to be dead is replaced, once."""
        for again in (True, False):
            transport = self.connected(purpose)
            try:
                return self._open(transport, _ANSWER)
            except ChannelException:
                raise
            except (paramiko.SSHException, EOFError, OSError):
                hang_up(transport)
                if not again:
                    break
        raise SiteFailed(f"The site {self.site} answers no more: its connection has been given up. Try again.")


@contextlib.contextmanager
def bounded(transport: paramiko.Transport) -> Iterator[None]:
    """Around requests for whose answers Paramiko waits for ever: a server that gives none loses its connection."""
    timer = threading.Timer(_ANSWER, hang_up, [transport])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
