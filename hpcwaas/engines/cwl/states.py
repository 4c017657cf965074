"""States of executions as their files tell them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from cachetools import LRUCache

from hpcwaas.core.models import JSON, ExecutionState, Status
from hpcwaas.engines.cwl.sites.base import Stamp
from hpcwaas.engines.cwl.sites.directory import SiteDirectory
from hpcwaas.engines.cwl.storage import outputs, spool, stored
from hpcwaas.errors import Unavailable

_CACHED_STATES = 512
_CACHED_OUTPUTS = 64 << 10
"""Bytes of the largest output object that is kept in memory."""

_TRIES, _AGAIN = 20, 0.05
_LATE = 600.0
"""Seconds in which what an execution leaves may come later than its end."""

T = TypeVar("T")


class States:
    """What is known of executions that have begun.

    Args:
        shared: whether other machines write the files, too. A network file system may show one for a moment as it
            never was: as missing while it is replaced, or as long as it was before. So what would mean that something
            is lost is looked at again.
    """

    def __init__(self, sites: SiteDirectory, *, shared: bool) -> None:
        self._sites = sites
        self._tries = _TRIES if shared else 1
        self._states: LRUCache[str, tuple[Stamp, ExecutionState]] = LRUCache(_CACHED_STATES)
        self._lock = threading.Lock()

    def stamp(self, reference: str) -> Stamp | None:
        """Of the state; None when the execution hasn't begun."""
        site, execution_id = self._sites.of(reference)

        def sure(stamp: Stamp | None) -> bool:
            return stamp is not None or (self._known(reference) is None and site.unbegun(execution_id) is not None)

        return self.steadily(lambda: site.stamp(execution_id, spool.STATE), sure)

    def begun(self, reference: str, stamp: Stamp) -> ExecutionState:
        """The state of an execution.

        Raises:
            Unavailable: it can't be read just now.
        """
        known = self._known(reference)
        if known and known[0] == stamp:
            return known[1]
        stamp, content = self.steadily(lambda: self._content(reference, stamp), lambda it: it[0][2] == len(it[1]))
        if self._tries > 1 and stamp[2] != len(content):
            raise Unavailable("The state of the execution can't be read just now.")
        state = stored.decode_state(content)
        if state.status.over:
            ended = stamp[1] / 1e9
            late = state.status is Status.SUCCEEDED and time.time() - ended < _LATE
            kept = self.steadily(lambda: self._outputs(reference), lambda it: it is not None or not late) or {}
            state = replace(
                state,
                ended_at=state.ended_at or datetime.fromtimestamp(ended, UTC),
                outputs={name: outputs.show(value, name) for name, value in kept.items()},
            )
            site, execution_id = self._sites.of(reference)
            size = site.stamp(execution_id, spool.OUTPUT_OBJECT)
            if size and size[2] > _CACHED_OUTPUTS:
                return state
        with self._lock:
            self._states[reference] = (stamp, state)
        return state

    def forget(self, reference: str) -> None:
        """Has an execution be looked at anew."""
        with self._lock:
            self._states.pop(reference, None)

    def outputs(self, reference: str) -> Mapping[str, JSON]:
        """What an execution has left, as it was declared; nothing when that can't be told."""
        return self.steadily(lambda: self._outputs(reference), lambda it: it is not None) or {}

    def _known(self, reference: str) -> tuple[Stamp, ExecutionState] | None:
        with self._lock:
            return self._states.get(reference)

    def _content(self, reference: str, stamp: Stamp) -> tuple[Stamp, bytes]:
        site, execution_id = self._sites.of(reference)
        return site.stamp(execution_id, spool.STATE) or stamp, site.read(execution_id, spool.STATE)

    def _outputs(self, reference: str) -> Mapping[str, JSON] | None:
        site, execution_id = self._sites.of(reference)
        try:
            kept = json.loads(site.read(execution_id, spool.OUTPUT_OBJECT))
        except ValueError:  # none, or a disk that did not keep it whole
            return None
        return kept if isinstance(kept, dict) else None

    def steadily(self, look: Callable[[], T], good: Callable[[T], bool]) -> T:
        """What is seen, looked at again for a second where other machines write and it isn't good."""
        found = look()
        for _ in range(self._tries - 1):
            if good(found):
                break
            time.sleep(_AGAIN)
            found = look()
        return found
