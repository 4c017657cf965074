"""The event streams: what they send, and where they go on."""

from __future__ import annotations

import abc
import base64
import random
import struct
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from cachetools import TTLCache

from hpcwaas.api import events, problems, views
from hpcwaas.api.streaming import Part
from hpcwaas.core import policy
from hpcwaas.core.changes import Changes, Seen, Those
from hpcwaas.core.executions import Executions
from hpcwaas.core.logs import Logs
from hpcwaas.core.models import Execution, Level
from hpcwaas.core.people import Principal
from hpcwaas.errors import Gone, NotFound, ServiceError

_PAGE = 200
"""Entries of a log that are sent at once."""

_MOST_TOLD = 200
"""Executions that an id tells of: a reverse proxy takes headers of 8 KB."""

_SHARED_FOR = 0.1
"""Seconds for which a part of a log is kept for others who read on from the same place."""

_GONE = "The execution was deleted, or isn't shared with you any more."
_Pages: TypeAlias = TTLCache[tuple[str, Level, bool, int, int | None], tuple[bytes, int, int | None]]


class Streamed:
    """What streams read from."""

    def __init__(self, executions: Executions, logs: Logs, changes: Changes) -> None:
        self.executions = executions
        self.logs = logs
        self.changes = changes
        self.pages: _Pages = TTLCache(1024, _SHARED_FOR)
        self.lock = threading.Lock()

    def position(self, principal: Principal, execution_id: str, levels: Level, index: int, total: int) -> int:
        """The place in a log, counted in entries of some levels, behind the entry with an index.

        Args:
            total: entries of these levels that there are.
        """
        low, high = 0, min(index + 1, total)
        while low < high:  # an entry's place is never beyond its index
            middle = (low + high) // 2
            found = self.logs.read(principal, execution_id, levels, middle, 1).page.entries
            if found and found[0].index <= index:
                low = middle + 1
            else:
                high = middle
        return low


class _Stream(abc.ABC):
    """What all streams have in common: news, the end, and trouble behind the service.

    Attributes:
        retry: milliseconds after which a client connects again; not all at the same moment.
    """

    heartbeat = events.HEARTBEAT

    def __init__(self, streamed: Streamed, principal: Principal) -> None:
        self._streamed = streamed
        self.principal = principal
        self.retry = random.randint(1000, 3000)  # noqa: S311 - so that not all come back at once
        self._give_back: Callable[[], None] | None = streamed.logs.hold(principal)
        self._wake: Callable[[], None] | None = None
        self._trouble = False

    def on_news(self, wake: Callable[[], None]) -> None:
        """See `hpcwaas.api.streaming.Stream`."""
        self._wake = wake
        wake()

    def news(self) -> None:
        """There may be more. May be called from any thread."""
        if self._wake is not None:
            self._wake()

    def more(self, *, beat: bool) -> Part:
        """See `hpcwaas.api.streaming.Stream`."""
        try:
            self._streamed.changes.check()
            part = self._more(anew=beat or self._trouble)
        except (NotFound, Gone) as error:
            return Part(self._end("gone", error.detail if isinstance(error, Gone) else _GONE), over=True)
        except ServiceError as error:
            if self._trouble:
                return Part(b"")
            self._trouble = True
            return Part(events.document("problem", problems.summary(error)))
        if not self._trouble:
            return part
        self._trouble = False
        return part._replace(content=events.document("recovered", {}) + part.content)

    def withdrawn(self, reason: str) -> bytes:
        """See `hpcwaas.api.streaming.Stream`."""
        return self._end("withdrawn", reason)

    def close(self) -> None:
        """See `hpcwaas.api.streaming.Stream`."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            self._leave()
            give_back()

    def known_to_its_end(self) -> bool:
        """Whether nothing more comes for who knows of the end."""
        return False

    @abc.abstractmethod
    def _more(self, *, anew: bool) -> Part:
        """What is to be sent now.

        Args:
            anew: whether to look at all, since nobody tells of some changes.
        """

    @abc.abstractmethod
    def _leave(self) -> None:
        """Nobody is to be woken any more."""

    def _end(
        self, reason: str, detail: str | None, execution: Execution | None = None, known: str | None = None
    ) -> bytes:
        data = {"reason": reason, "status": execution and execution.state.status.value, "detail": detail}
        return events.document("end", data, known)


class ExecutionStream(_Stream):
    """How an execution changes.

    Args:
        execution: as it is now.
        known: the mark of what a client knows of it; None when it knows nothing.
    """

    def __init__(self, streamed: Streamed, principal: Principal, execution: Execution, known: str | None) -> None:
        super().__init__(streamed, principal)
        self._id = execution.id
        self._told = known
        first = streamed.changes.see(execution)
        self._topic = streamed.changes.one(first, self, self.news)

    def known_to_its_end(self) -> bool:
        """See `_Stream`."""
        latest = self._topic.latest
        return latest is not None and latest.execution.state.status.over and _mark(latest) == self._told

    def _more(self, *, anew: bool) -> Part:
        self._check(anew=anew)
        content = self._state(with_id=True)
        return self._ended(content) if self._over() else Part(content)

    def _check(self, *, anew: bool) -> None:
        """Refuses who may not see it any more.

        Raises:
            NotFound: it isn't there for them.
        """
        if self._topic.gone:
            raise NotFound(_GONE)
        if anew:
            self._streamed.executions.find(self.principal, self._id)

    def _over(self) -> bool:
        latest = self._topic.latest
        return latest is not None and latest.execution.state.status.over

    def _state(self, *, with_id: bool) -> bytes:
        """The event that tells how it stands, unless its client knows."""
        latest = self._topic.latest
        if latest is None or _mark(latest) == self._told:
            return b""
        self._told = _mark(latest)
        return events.event("execution", latest.text, self._told if with_id else None)

    def _ended(self, content: bytes) -> Part:
        assert self._topic.latest is not None  # noqa: S101 - else it would not be over
        execution = self._topic.latest.execution
        return Part(content + self._end("over", execution.state.reason, execution, f"{self._told}-end"), over=True)

    def _leave(self) -> None:
        self._streamed.changes.leave(self._topic, self)


class LogStream(ExecutionStream):
    """The log of an execution, and how it changes.

    Args:
        start: the place of the first entry, counted in entries of these levels.
        after: the index of the last entry that a client has got; None when it has got none.
    """

    def __init__(
        self, streamed: Streamed, principal: Principal, execution_id: str, levels: Level, start: int, after: int | None
    ) -> None:
        super().__init__(streamed, principal, streamed.executions.get(principal, execution_id), None)
        self._levels = levels
        self._next = start
        self._after = after
        self._operator = policy.is_operator(principal)
        self._unwatch: Callable[[], None] | None = None
        self._grown = True

    def known_to_its_end(self) -> bool:
        """See `_Stream`."""
        page = self._streamed.logs.read(self.principal, self._id, self._levels, self._next, 0).page
        return page.over and page.total <= self._next

    def _more(self, *, anew: bool) -> Part:
        self._check(anew=anew)
        content = self._state(with_id=False)
        if not (self._grown or anew or self._unwatch is None):
            return Part(content)
        self._grown = False  # first: what comes from here on, is news
        before = self._next
        entries, over = self._entries()
        again = self._next > before
        if over and not self._over():
            # The log is complete before the look at all executions has come round.
            first = self._streamed.changes.see(self._streamed.executions.get(self.principal, self._id))
            self._streamed.changes.one(first, self, self.news)
            content += self._state(with_id=False)
        if over:
            last = "end" if self._after is None else f"{self._after}-end"
            execution = self._topic.latest.execution if self._topic.latest else None
            reason = execution.state.reason if execution else None
            return Part(content + entries + self._end("over", reason, execution, last), over=True)
        self._grown |= again
        return Part(content + entries, again=again)

    def _entries(self) -> tuple[bytes, bool]:
        """What is new in the log, and whether that was all for ever."""
        operator = policy.is_operator(self.principal)
        if operator is not self._operator and self._after is not None:  # other entries are for them now
            page = self._streamed.logs.read(self.principal, self._id, self._levels, 0, 0).page
            self._next = self._streamed.position(self.principal, self._id, self._levels, self._after, page.total)
        self._operator = operator
        place = (self._id, self._levels, operator, self._next, self._after)
        with self._streamed.lock:
            shared = self._streamed.pages.get(place)
        if shared is not None:
            content, self._next, self._after = shared
            return content, False
        view = self._streamed.logs.read(self.principal, self._id, self._levels, self._next, _PAGE)
        page, after = view.page, self._after
        # What a client has got may be ahead of what this machine knows of the log.
        new = [entry for entry in page.entries if after is None or entry.index > after]
        content = b"".join(events.event("log", views.log_entry(entry), str(entry.index)) for entry in new)
        self._next += len(page.entries)
        self._after = new[-1].index if new else after
        if page.entries:
            with self._streamed.lock:
                self._streamed.pages[place] = (content, self._next, self._after)
            return content, False
        self._watch_on(None if page.over else view.watch)
        return content, page.over

    def _watch_on(self, watch: Callable[[Callable[[], None]], Callable[[], None]] | None) -> None:
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if watch is not None:
            self._unwatch = watch(self._more_of_log)

    def _more_of_log(self) -> None:
        self._grown = True
        self.news()

    def _leave(self) -> None:
        self._watch_on(None)
        super()._leave()


@dataclass(frozen=True, slots=True)
class Place:
    """What somebody knows who reads a stream of all executions.

    Attributes:
        at: when they learnt it.
        known: marks of the executions that they know and that may still change, by their ids.
    """

    at: datetime
    known: Mapping[str, bytes]

    def text(self) -> str:
        """It, as the id of an event."""
        parts = [struct.pack(">Q", int(self.at.timestamp() * 1000))]
        parts += [uuid.UUID(name).bytes + mark for name, mark in self.known.items()]
        return base64.urlsafe_b64encode(b"".join(parts)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Place | None:
        """What the id of an event says; None when it is none."""
        try:
            content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            at = datetime.fromtimestamp(struct.unpack(">Q", content[:8])[0] / 1000, UTC)
        except (ValueError, struct.error, OverflowError, OSError):
            return None
        size = 16 + _MARK
        if (len(content) - 8) % size or len(content) > 8 + size * _MOST_TOLD:
            return None
        known = (content[start : start + size] for start in range(8, len(content), size))
        return cls(at, {str(uuid.UUID(bytes=each[:16])): each[16:] for each in known})


_MARK = 6
"""Bytes of a mark."""


class AllStream(_Stream):
    """How the executions of a user change, or those that others share with them.

    Args:
        place: what they know already; None when they know nothing.
    """

    def __init__(self, streamed: Streamed, principal: Principal, place: Place | None, *, shared: bool) -> None:
        super().__init__(streamed, principal)
        self._shared = shared
        self._away = place
        self._known: dict[str, bytes] = dict(place.known) if place else {}
        self._over: set[str] = set()
        self._topic: Those | None = None
        try:
            self._topic = self._looked_at()
        except BaseException:
            self.close()
            raise

    def _looked_at(self) -> Those:
        return self._streamed.changes.those(self.principal, self, self.news, shared=self._shared)

    def _more(self, *, anew: bool) -> Part:
        topic = self._topic
        user = None if topic is None else topic.whose.shared_with
        if topic is None or (anew and user is not None and user.groups != self.principal.groups):
            self._leave()
            self._topic = topic = self._looked_at()
        latest = topic.latest
        missed: Mapping[str, Seen] = {}
        complete = True
        if self._away is not None:
            missed, complete = self._streamed.changes.missed(topic, self._known, self._away.at)
            self._away = None
        news = [each for name, each in {**missed, **latest}.items() if self._known.get(name) != each.mark]
        content = b""
        for each in sorted(news, key=lambda it: (it.execution.created_at, it.execution.id)):
            name = each.execution.id
            self._known[name] = each.mark
            (self._over.add if each.execution.state.status.over else self._over.discard)(name)
            content += events.event("execution", each.text, self._place())
        for name in self._known.keys() - latest.keys():
            del self._known[name]
            if name not in missed and name not in self._over:
                content += events.document("removed", {"id": name}, self._place())
        self._over &= self._known.keys()
        if not complete:
            detail = "More executions have changed than are told here: read the list."
            content += events.document("missed", {"detail": detail})
        return Part(content)

    def _place(self) -> str:
        """The id of an event behind which a client knows all that this stream has told."""
        known = sorted(self._known.items(), key=lambda it: it[0] in self._over)
        return Place(datetime.now(UTC), dict(known[:_MOST_TOLD])).text()

    def _leave(self) -> None:
        if self._topic is not None:
            self._streamed.changes.leave(self._topic, self)


def _mark(seen: Seen) -> str:
    return base64.urlsafe_b64encode(seen.mark).decode()
