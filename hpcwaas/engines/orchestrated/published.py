"""A list of what a server publishes, read at once for all of it and kept for some seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Generic, TypeVar

from cachetools import LRUCache

from hpcwaas.common.cached import PATIENCE, Cached, Held, Run
from hpcwaas.core.models import Workflow
from hpcwaas.core.ports.engine import Permitted, everything
from hpcwaas.core.publication_models import Access
from hpcwaas.engines.orchestrated.kept_listing import KeptListing
from hpcwaas.errors import NotFound, ServiceError

_LOGGER = logging.getLogger(__name__)

_SERVED_WHILE_REFRESHED = 6
"""Times `fresh` for which a list is served while a newer one is fetched. An older one is waited for."""

_LOOK_AGAIN = 1.0
"""Seconds after which an unknown id is looked for in a new list: it may just have been published."""

_REMEMBERED = 512

K = TypeVar("K")
T = TypeVar("T")


class PublishedList:
    """The workflows that a server publishes.

    Args:
        server: its name.
        read: asks it for all of them, by their ids in order, and for why others aren't published.
        fresh: seconds for which the list counts as fresh.
        run: for what nobody waits for.
        kept: keeps the list for the next process, which may begin while the server is down.

    Attributes:
        problems: why something isn't published, as the last reading found it.
    """

    def __init__(
        self,
        server: str,
        read: Callable[[], tuple[Mapping[str, Workflow], Sequence[str]]],
        fresh: float,
        run: Run,
        kept: KeptListing | None = None,
    ) -> None:
        self._read = read
        self._fresh = fresh
        self._run = run
        self._kept = kept
        self._cached: Cached[Mapping[str, Workflow]] = Cached(server, self._fetch, run)
        if kept is not None and (earlier := kept.load()) is not None:
            self._cached.put(self._as_kept(earlier[0]), earlier[1])
        self.problems: Sequence[str] = ()
        self._told = False

    def workflows(self) -> Sequence[Workflow]:
        """All of them, in order of their ids."""
        return list(self._held().value.values())

    def stale_since(self) -> datetime | None:
        """When what is served was read, if the server has been asked for newer since and didn't answer."""
        held = self._cached.peek()
        if held is None or not (held.failed or held.age > self._fresh * _SERVED_WHILE_REFRESHED + PATIENCE):
            return None
        return datetime.now(UTC) - timedelta(seconds=held.age)

    def workflow(self, workflow_id: str, permitted: Permitted = everything) -> Workflow:
        """One of them that is permitted.

        Raises:
            NotFound: there is none of this id.
        """
        held = self._held()
        found = held.value.get(workflow_id)
        # What isn't permitted is looked for once more, too: it takes the time of what is unknown.
        if (found is None or not permitted(found)) and held.age > _LOOK_AGAIN:
            found = self._cached.get(_LOOK_AGAIN, _LOOK_AGAIN).value.get(workflow_id)
        if found is None or not permitted(found):
            raise NotFound("There is no such workflow.")
        return found

    def withheld(self) -> Sequence[Access]:
        """Why something isn't published, or can't be told at present; for operators."""
        try:
            # What another process has kept doesn't say it.
            self._cached.get(_LOOK_AGAIN if self._told else 0.0, _LOOK_AGAIN if self._told else 0.0)
        except ServiceError as error:
            return [Access(None, published=False, problem=error.detail)]
        return [Access(None, published=False, problem=problem) for problem in self.problems]

    def at_hand(self) -> Mapping[str, Workflow]:
        """What was read last; empty when nothing was."""
        held = self._cached.peek()
        return {} if held is None else held.value

    def _as_kept(self, workflows: Mapping[str, Workflow]) -> Mapping[str, Workflow]:
        """What another process has kept, as far as it still holds."""
        return workflows

    def _held(self) -> Held[Mapping[str, Workflow]]:
        return self._cached.get(self._fresh, self._fresh * _SERVED_WHILE_REFRESHED)

    def _fetch(self) -> Mapping[str, Workflow]:
        began = time.perf_counter()
        workflows, problems = self._read()
        for problem in sorted({*problems} - {*self.problems}):
            _LOGGER.warning("%s", problem)
        self.problems = tuple(problems)
        self._told = True
        _LOGGER.debug("read %s workflows in %.0f ms", len(workflows), (time.perf_counter() - began) * 1000)
        if self._kept is not None:
            self._run(partial(self._kept.save, workflows))
        return workflows


def access_of(published: PublishedList) -> Sequence[Access]:
    """Who may run what is published, and what isn't, for operators."""
    found = [Access(it.id, it.authorized_users, it.authorized_groups) for it in published.workflows()]
    return [*found, *(Access(None, published=False, problem=problem) for problem in published.problems)]


class Remembered(Generic[K, T]):
    """What a server says of single things, each for some seconds.

    Args:
        server: its name.
        ask: asks it for one; `NotFound` when it is gone.
        fresh: seconds for which an answer counts as fresh.
    """

    def __init__(self, server: str, ask: Callable[[K], T], fresh: float, run: Run) -> None:
        self._server = server
        self._ask = ask
        self._fresh = fresh
        self._run = run
        self._cached: LRUCache[K, Cached[T]] = LRUCache(_REMEMBERED)
        self._lock = threading.Lock()

    def get(self, key: K) -> T:
        """What the server says of it.

        Raises:
            NotFound: it is gone.
        """
        with self._lock:
            cached = self._cached.get(key)
            if cached is None:
                cached = self._cached[key] = Cached(self._server, partial(self._ask, key), self._run)
        held = cached.get(self._fresh, self._fresh)
        if isinstance(cached.failure, NotFound):  # what was there is gone, not just out of reach
            raise NotFound(cached.failure.detail)
        return held.value


def ahead(executor: Executor, function: Callable[[], T]) -> Future[T]:
    """Begins what the caller will wait for, as a part of the same call of a user."""
    return executor.submit(copy_context().run, function)
