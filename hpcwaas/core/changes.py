"""How executions change while somebody looks on: one look of this process for all who look at the same."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from hpcwaas.core.engines import Engines
from hpcwaas.core.executions import Executions
from hpcwaas.core.models import Execution, ExecutionFilter
from hpcwaas.core.people import Principal
from hpcwaas.core.ports.records import ExecutionRecords
from hpcwaas.errors import ServiceError, Unavailable

_LOGGER = logging.getLogger(__name__)

_PAUSE = 0.5
"""Seconds between two looks."""
_REST = 4
"""How much longer than a look the pause behind it is at least, however much there is to look at."""
_AT_ONCE = 500
"""Executions that the store is asked for at once."""
_LOOKED_AT = 200
"""How many of a user's that haven't ended are looked at, as for their list."""
_RECENT = timedelta(seconds=60)
"""For how long an execution counts as new: until then every process has stored what it began by then."""
_KEPT = 120.0
"""Seconds for which the end of an execution is told to those who look at all of a user's: the slowest has it then."""
_MOST_MISSED = 1000

Show: TypeAlias = Callable[[Execution], str]
"""Makes the text that is told of an execution."""


class Seen(NamedTuple):
    """An execution as it was seen.

    Attributes:
        text: what is told of it.
        mark: the same in all processes for the same text; who was told it need not be told again.
    """

    execution: Execution
    text: str
    mark: bytes


def seen(execution: Execution, show: Show) -> Seen:
    """Looks at an execution.

    Args:
        show: makes what is told of it.
    """
    text = show(execution)
    stale = execution.state.stale_since is not None
    # Since when its engine is silent each process has found out for itself.
    fixed = show(replace(execution, state=replace(execution.state, stale_since=_STALE))) if stale else text
    return Seen(execution, text, hashlib.blake2b(fixed.encode(errors="replace"), digest_size=6).digest())


_STALE = datetime(1970, 1, 1, tzinfo=UTC)
_Name: TypeAlias = tuple[str | None, frozenset[str] | None]


@dataclass(eq=False, slots=True)
class Topic:
    """What several look at.

    Attributes:
        wakes: of those who do.
        read_at: when the latest look began.
    """

    wakes: dict[object, Callable[[], None]] = field(default_factory=dict)
    read_at: float = 0.0

    def wake(self) -> None:
        """Tells all that there is news."""
        for wake in tuple(self.wakes.values()):
            wake()


@dataclass(eq=False, slots=True)
class One(Topic):
    """An execution.

    Attributes:
        name: its id.
        latest: as it was seen last.
        gone: whether it isn't there any more.
    """

    name: str = ""
    latest: Seen | None = None
    gone: bool = False


@dataclass(eq=False, slots=True)
class Those(Topic):
    """The executions of a user, or those that others share with them.

    Attributes:
        whose: finds them.
        latest: those that haven't ended, are new, or have ended lately, by their ids.
    """

    whose: ExecutionFilter = field(default_factory=ExecutionFilter)
    latest: Mapping[str, Seen] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)


class Changes:
    """Looks at what somebody looks at, in one thread, which is there as long as somebody does.

    Args:
        show: makes what is told of an execution that is looked at alone.
        show_listed: the same for one among others.
    """

    def __init__(
        self, engines: Engines, executions: Executions, records: ExecutionRecords, show: Show, show_listed: Show
    ) -> None:
        self._engines = engines
        self._executions = executions
        self._records = records
        self._show = show
        self._show_listed = show_listed
        self._ones: dict[str, One] = {}
        self._those: dict[_Name, Those] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._problem: ServiceError | None = None

    def check(self) -> None:
        """Raises what keeps this process from looking, if anything does: a `ServiceError`."""
        if (problem := self._problem) is not None:
            raise Unavailable(problem.detail)

    def see(self, execution: Execution) -> Seen:
        """An execution as it was just read, and as who looks at it alone is told of it."""
        return seen(execution, self._show)

    def one(self, first: Seen, key: object, wake: Callable[[], None]) -> One:
        """Begins to look at an execution.

        Args:
            first: as it was just seen.
            key: by which `leave` ends it.
            wake: is called when it has changed.
        """
        with self._lock:
            topic = self._ones.setdefault(first.execution.id, One(name=first.execution.id))
            topic.read_at = time.monotonic()
            news = topic.latest is not None and topic.latest.mark != first.mark
            topic.latest = first
            topic.wakes[key] = wake
            self._begin()
        if news:
            topic.wake()
        return topic

    def those(self, principal: Principal, key: object, wake: Callable[[], None], *, shared: bool) -> Those:
        """Begins to look at all of a user's executions.

        Args:
            shared: at those that others share with them instead.
        """
        whose = ExecutionFilter(shared_with=principal) if shared else ExecutionFilter(owner=principal.subject)
        name = _name(whose)
        with self._lock:
            known = self._those.get(name)
        topic = known or Those(whose=whose)
        if known is None:
            self._look_at_those(topic)
        with self._lock:
            topic = self._those.setdefault(name, topic)
            topic.wakes[key] = wake
            self._begin()
        return topic

    def leave(self, topic: One | Those, key: object) -> None:
        """Ends what was begun with this key. Harmless when repeated."""
        with self._lock:
            topic.wakes.pop(key, None)
            if topic.wakes:
                return
            if isinstance(topic, One):
                if self._ones.get(topic.name) is topic:
                    del self._ones[topic.name]
            elif self._those.get(_name(topic.whose)) is topic:
                del self._those[_name(topic.whose)]

    def missed(self, topic: Those, ids: Collection[str], since: datetime) -> tuple[Mapping[str, Seen], bool]:
        """What isn't looked at any more, for somebody who was away.

        Args:
            ids: of those that hadn't ended when they left.
            since: when they did.

        Returns:
            these and what was begun since then, by ids, and whether that is all.
        """
        found: dict[str, Seen] = {}
        away = replace(topic.whose, ids=[each for each in ids if each not in topic.latest])
        begun = replace(topic.whose, created_after=since - _RECENT)
        listed, more = self._records.page(begun, _MOST_MISSED)
        for execution in (*(self._records.page(away, _AT_ONCE)[0] if away.ids else ()), *listed):
            if execution.id not in topic.latest:
                found[execution.id] = seen(execution, self._show_listed)
        return found, more is None

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="changes", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                ones, those = dict(self._ones), tuple(self._those.values())
                if not ones and not those:
                    self._thread = self._problem = None
                    return
            began = time.monotonic()
            problem: ServiceError | None = None
            try:
                self._look_at_ones(ones)
                for topic in those:
                    self._look_at_those(topic)
            except ServiceError as error:
                problem = error
            except Exception:  # a defect must not end all looks for good
                _LOGGER.exception("unexpected error while executions were looked at")
            if (problem is None) is not (self._problem is None):
                self._problem = problem
                for each in (*ones.values(), *those):
                    each.wake()
            pause.wait(max(_PAUSE, _REST * (time.monotonic() - began)))

    def _look_at_ones(self, ones: Mapping[str, One]) -> None:
        for some in _some(ones):
            began = time.monotonic()
            stored = {execution.id: execution for execution in self._records.those(some)}
            for execution in self._fresh(stored.values()):
                topic = ones[execution.id]
                looked = seen(execution, self._show)
                with self._lock:
                    news = topic.read_at <= began and (topic.latest is None or topic.latest.mark != looked.mark)
                    if news:
                        topic.latest, topic.read_at = looked, began
                if news:
                    topic.wake()
            for execution_id in some:
                topic = ones[execution_id]
                if execution_id not in stored and not topic.gone:
                    topic.gone = True
                    topic.wake()

    def _fresh(self, stored: Collection[Execution]) -> Sequence[Execution]:
        """These as they stand now, as far as their engines tell in time."""
        found: list[Execution] = []

        def look(execution: Execution) -> None:
            with suppress(ServiceError):  # a defect of one must not hide the others
                found.append(self._executions.refresh(execution))

        self._engines.apart([it for it in stored if not it.settled], look)
        return [*found, *(it for it in stored if it.settled)]

    def _look_at_those(self, topic: Those) -> None:
        began, now = time.monotonic(), datetime.now(UTC)
        whose = topic.whose
        latest: dict[str, Seen] = {}
        unfinished = self._records.unfinished(whose.owner, whose.shared_with, _LOOKED_AT)
        looked = {execution.id: execution for execution in (*unfinished, *self._fresh(unfinished))}
        for execution in looked.values():
            latest[execution.id] = seen(execution, self._show_listed)
        recent = self._records.page(replace(whose, created_after=now - _RECENT), _LOOKED_AT)[0]
        for execution in recent:
            if execution.id not in latest:
                latest[execution.id] = seen(execution, self._show_listed)
        missing = [known for known in topic.latest if known not in latest]
        for some in _some(missing):
            for execution in self._records.page(replace(whose, ids=some), _AT_ONCE)[0]:
                if not execution.state.status.over:  # one of more than are looked at
                    topic.ended.pop(execution.id, None)
                elif began - topic.ended.setdefault(execution.id, began) >= _KEPT:
                    continue
                latest[execution.id] = seen(execution, self._show_listed)
        with self._lock:
            topic.ended = {known: at for known, at in topic.ended.items() if known in latest}
            news = _marks(latest) != _marks(topic.latest)
            topic.latest, topic.read_at = latest, began
        if news:
            topic.wake()


def _name(whose: ExecutionFilter) -> _Name:
    user = whose.shared_with
    return (whose.owner, None) if user is None else (user.subject, user.groups)


def _some(ids: Collection[str]) -> Iterator[Sequence[str]]:
    """The ids, as many at once as the store is asked for."""
    every = list(ids)
    return (every[at : at + _AT_ONCE] for at in range(0, len(every), _AT_ONCE))


def _marks(found: Mapping[str, Seen]) -> Mapping[str, bytes]:
    return {name: each.mark for name, each in found.items()}
