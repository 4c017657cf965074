"""Keeps a token of HashiCorp Vault that works, whatever happens to it."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import hvac
from hvac.exceptions import Forbidden, VaultError

from hpcwaas.common.metrics import Gauge
from hpcwaas.core.ports.vault import NotDone
from hpcwaas.errors import ServiceError
from hpcwaas.vault.failures import Forbidding, Refused, answered, final, translated
from hpcwaas.vault.health import STATES, health
from hpcwaas.vault.login import Clients, Lease, Login, lease_of

_LOGGER = logging.getLogger(__name__)
_EXPIRES = Gauge(
    "vault_token_expires_timestamp_seconds",
    "When the token of the vault that ends first has to have been renewed, in seconds since 1970. None is told while "
    "there is no token, or one that never ends.",
    least=True,
    identity=("service", "key reader"),
)
_T = TypeVar("_T")
_AGAIN = 1.0
"""Seconds after which the vault is tried again while it can't be used."""
_REFUSED_AGAIN, _REFUSED_LONGEST = 5.0, 60.0
"""Seconds after which a refused login is tried again; doubled every time. Vault locks roles that fail too often."""
_AWAY = "The vault can't be used at the moment. Try again in a few seconds."
_FIRST = 5.0
"""Seconds that a request waits for the first login after the start."""


class VaultToken:
    """One token for all threads of a process. A thread renews it; who meets a dead one replaces it.

    Args:
        login: gets a new token.
        identity: whose it is, in metrics.
    """

    def __init__(self, clients: Clients, login: Login, identity: str = "service") -> None:
        self._identity = identity
        self._clients = clients
        self._login = login
        self._lease: Lease | None = None
        self._problem: str | None = None
        self._told = _AWAY
        self._refusals = 0
        self._closed = False
        self._changed = threading.Condition()
        self._logging_in = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="vault token", daemon=True)

    def start(self) -> None:
        """Begins to log in and to renew."""
        self._thread.start()

    def close(self) -> None:
        """Ends it. The token is left to expire: other processes may hold the same."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def problem(self) -> str | None:
        """Why there is no token, or soon will be none; for operators."""
        return self._problem

    def call(self, task: Callable[[hvac.Client], _T]) -> _T:
        """Does something with a token that works.

        Args:
            task: may be called again when the token was dead or the connection was cut.

        Raises:
            VaultError: a refusal that the task has to understand (`InvalidRequest`, `InvalidPath`).
            ServiceError: the vault can't be used, or doesn't let the service do that.
        """
        lease = self._wait()
        with contextlib.suppress(Forbidden):
            return self._attempt(lease, task)
        # A dead token and a policy that forbids look the same; only the one is mended by a login.
        if not self._works(lease):
            with contextlib.suppress(Forbidden):
                return self._attempt(self._replaced(lease), task)
        raise Forbidding("The vault's policy doesn't let the service do that. Tell an operator.")

    def ready(self) -> None:
        """Makes sure, without a use of the token, that the vault is open and has let the service in.

        Raises:
            ServiceError: it isn't, or hasn't.
        """
        self._wait()
        with final():
            status = health(self._clients.client())
        if status in STATES:
            raise NotDone(f"The vault {STATES[status]}. Tell an operator.")

    def _attempt(self, lease: Lease, task: Callable[[hvac.Client], _T]) -> _T:
        client = self._clients.client(lease.token)

        def attempt() -> _T:
            with answered():
                return task(client)

        with translated():
            return self._clients.retried(attempt)

    def _wait(self) -> Lease:
        with self._changed:
            self._changed.wait_for(lambda: self._lease or self._problem or self._closed, _FIRST)
            if self._lease is None:
                raise NotDone(self._told)
            return self._lease

    def _works(self, lease: Lease) -> bool:
        try:
            with translated():
                self._clients.client(lease.token).auth.token.lookup_self()
        except Forbidden:
            return False
        return True

    def _replaced(self, dead: Lease) -> Lease:
        try:
            return self._new(dead)
        except ServiceError as error:
            self._failed(error)
            with self._changed:
                if self._lease is dead:
                    self._lease = None
                    self._note(None)
                self._changed.notify_all()
            raise NotDone(self._told) from None

    def _new(self, old: Lease | None) -> Lease:
        """Logs in, unless somebody else has replaced the old token meanwhile."""
        with self._logging_in:
            if self._lease is old or self._lease is None:
                self._set(self._login(self._clients))
            return self._lease or self._login(self._clients)

    def _set(self, lease: Lease) -> None:
        with self._changed:
            if self._problem:
                _LOGGER.info("the vault lets the service in again")
            self._lease, self._problem, self._told, self._refusals = lease, None, _AWAY, 0
            self._note(lease)
            self._changed.notify_all()

    def _failed(self, error: ServiceError) -> None:
        reason = error.reason if isinstance(error, Refused) else error.detail
        with self._changed:
            if reason != self._problem:
                _LOGGER.warning("the service gets no token of the vault and will try again: %s", reason)
            self._problem, self._told = reason, error.detail
            self._refusals += isinstance(error, Refused)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            try:
                pause = self._round()
            except Exception:  # a defect, or a disk that is full: the thread has to outlive it
                _LOGGER.exception("unexpected error while keeping the vault's token")
                pause = _AGAIN
            with self._changed:
                if self._closed:
                    return
                self._changed.wait(pause)

    def _round(self) -> float | None:
        """Does what is due.

        Returns:
            seconds until something is due again; None for never.
        """
        lease = self._lease
        pause: float | None = None
        try:
            if lease is None:
                self._new(None)
            elif lease.left() <= 0:
                self._prolong(lease)
        except ServiceError as error:
            self._failed(error)
            longest = min(_REFUSED_AGAIN * 2**self._refusals, _REFUSED_LONGEST)
            pause = longest if isinstance(error, Refused) else _AGAIN
        left = self._lease.left() if self._lease else math.inf
        pauses = [each for each in (pause, max(left, _AGAIN)) if each is not None and each != math.inf]
        return min(pauses, default=None)

    def _prolong(self, lease: Lease) -> None:
        renewed = self._renewed(lease)
        if renewed is None or renewed.seconds < lease.full / 2:
            # Near the end of its longest life a token is renewed for ever shorter times: take a new one while it works.
            self._new(renewed or lease)
        elif self._lease is renewed:
            self._set(renewed)

    def _renewed(self, lease: Lease) -> Lease | None:
        if not lease.renewable:
            return None
        try:
            with translated():
                auth = self._clients.client(lease.token).auth.token.renew_self()["auth"]
        except VaultError:  # whatever it refuses it for, the answer is a new login
            return None
        renewed = lease_of(auth, lease.full)
        with self._changed:
            if self._lease is not lease:  # a request found it dead, and has a new one
                return self._lease
            self._lease = renewed
            self._note(renewed)
        return renewed

    def _note(self, lease: Lease | None) -> None:
        left = lease.since + lease.seconds - time.monotonic() if lease and lease.seconds else None
        _EXPIRES.put(0.0 if left is None else time.time() + left, self._identity)
