"""Looking at many executions again and again, with few requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from .api import answers, calls
from .errors import NotFound, Unreachable, UsageError
from .follow import OVER
from .state import State
from .streams import News
from .urls import path

_SHORTEST_SECONDS, _LONGEST_SECONDS = 2.0, 30.0
_SLOWER = 1.5
_PATIENCE_SECONDS = 600.0
_MOST_IDS = 100
"""How many the service takes in one question."""


def over(execution: Mapping[str, Any]) -> bool:
    """Whether it has ended."""
    return str(execution.get("status")).upper() in OVER


def looks(
    state: State,
    ask: Callable[[], Sequence[Mapping[str, Any]]],
    news: News | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """What `ask` finds, again and again: soon after a change, and less and less often while nothing changes.

    When the service stops answering, it is asked for ten more minutes.

    Args:
        news: waits for a change, in place of some time.

    Raises:
        Unreachable: it didn't answer at first, or not for ten minutes.
    """
    pause = _SHORTEST_SECONDS
    before: Sequence[Any] | None = None
    lost: float | None = None
    while True:
        asked = None
        try:
            found = ask()
        except Unreachable as failure:
            now = clock()
            if before is None or (lost is not None and now - lost > _PATIENCE_SECONDS):
                raise
            if lost is None:
                lost = now
                state.note(f"{failure.message} Trying again for {_PATIENCE_SECONDS / 60:.0f} minutes.")
            asked = failure.retry_after
        else:
            if lost is not None:
                lost = None
                state.note("The service answers again.")
            yield found
            seen = [(each.get("id"), each.get("status"), each.get("reason")) for each in found]
            pause = _SHORTEST_SECONDS if seen != before else min(pause * _SLOWER, _LONGEST_SECONDS)
            before = seen
        seconds = min(max(asked or 0.0, pause), 2 * _LONGEST_SECONDS)
        if news is None or lost is not None:
            sleep(seconds)
        else:
            news.wait(seconds, _LONGEST_SECONDS)


class Whose(TypedDict, total=False):
    """Whose executions a list holds: the user's own, those of another, for operators, or those shared by others."""

    owner: str | None
    shared: bool


class Several:
    """Asks for some executions by their ids: the user's own in one request, others one by one.

    Args:
        ids: those that have ended are not asked for again.
        whose: who owns them; the user without any.
    """

    def __init__(self, state: State, ids: Sequence[str], **whose: Unpack[Whose]) -> None:
        self._client = state.client
        self._whose = whose
        self._ids = list(dict.fromkeys(ids))
        self._found: dict[str, Mapping[str, Any]] = {}
        self._alone: set[str] = set()
        """Those that aren't in the list."""

    def __call__(self) -> list[Mapping[str, Any]]:
        """All of them as they are now.

        Raises:
            NotFound: there is no such execution.
        """
        left = [each for each in self._ids if not over(self._found.get(each, {}))]
        listed = [each for each in left if each not in self._alone]
        for start in range(0, len(listed), _MOST_IDS):
            self._ask(listed[start : start + _MOST_IDS])
        for each in left:
            if each in self._alone:
                self._found[each] = self._one(each)
        return [self._found[each] for each in self._ids]

    def news(self) -> News:
        """What waits for changes of them."""
        if len(self._ids) == 1:
            return News(self._client, path("executions", self._ids[0], "events"))
        return News(self._client, "/executions/events", tells=lambda: not self._alone)

    def _ask(self, ids: list[str]) -> None:
        if len(ids) > 1:
            try:
                page = self._client.call(calls.list_executions(ids=ids, limit=_MOST_IDS, **self._whose))
            except (UsageError, NotFound):
                page = {"executions": []}  # the service is too old for it, or a word is no id
            found: dict[str, Mapping[str, Any]] = {str(each.get("id")): each for each in page.get("executions") or ()}
            self._found |= {each: found[each] for each in ids if each in found}
            self._alone |= {each for each in ids if each not in found}
        else:
            self._alone.update(ids)

    def _one(self, execution_id: str) -> answers.Execution:
        found = self._client.call(calls.get_execution(execution_id))
        if not found.get("id"):
            # That is how an older service says it.
            raise NotFound(f"There is no execution with the id {execution_id}.")
        return found
