"""The simulated Alien4Cloud's log index: searches with its caps, its sorting and its facets."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

JSON: TypeAlias = Any
Line: TypeAlias = dict[str, Any]

CAP = 1000
WINDOW = 10000
FACETS = (
    "executionId",
    "instanceId",
    "level",
    "operationName",
    "interfaceName",
    "type",
    "nodeId",
    "workflowId",
    "taskId",
)
FIELDS = {*FACETS, "deploymentId", "deploymentPaaSId", "timestamp", "rawtimestamp"}


class WindowTooLarge(Exception):
    """A page would reach beyond the first 10000 results."""

    def __init__(self, end: int) -> None:
        super().__init__(
            f"Result window is too large, from + size must be less than or equal to: [{WINDOW}] but was [{end}]."
        )


class _View:
    """The lines that match a filter, with their facets; looks at every line once, however often it is asked."""

    def __init__(self, source: Sequence[Line], request: Mapping[str, JSON]) -> None:
        self._source = source
        self._filters = {
            name: {str(value) for value in values}
            for name, values in (request.get("filters") or {}).items()
            if name in FIELDS
        }
        self._words = (request.get("query") or "").lower().split()
        self._first = request.get("fromDate") or 0
        self._last = request.get("toDate") or float("inf")
        self._seen = 0
        self._counts: dict[str, Counter[str | None]] = defaultdict(Counter)
        self.lines: list[Line] = []

    def refresh(self) -> None:
        """Takes in the lines written since the last time."""
        fields = [name for name in FACETS if name not in self._filters]
        for line in self._source[self._seen :]:
            if self._matches(line):
                self.lines.append(line)
                for name in fields:
                    self._counts[name][line.get(name)] += 1
        self._seen = len(self._source)

    def facets(self) -> JSON:
        """The ten most frequent values of every field that isn't filtered on; lines without a value come last."""
        facets = {}
        for name, counts in self._counts.items():
            valued = sorted((-count, value) for value, count in counts.items() if value is not None)[:10]
            facets[name] = [{"facetValue": value, "count": -count} for count, value in valued]
            if None in counts:
                facets[name].append({"facetValue": None, "count": counts[None]})
        return facets

    def _matches(self, line: Line) -> bool:
        return (
            all(str(line.get(name)) in values for name, values in self._filters.items())
            and self._first <= line["timestamp"] <= self._last
            and all(word in line["content"].lower() for word in self._words)
        )


class Logs:
    """All log lines of all executions, in the order of their writing."""

    def __init__(self) -> None:
        self._all: list[Line] = []
        self._executions: dict[str, list[Line]] = defaultdict(list)
        self._views: dict[str, _View] = {}

    def append(self, line: Line) -> None:
        """Stores a line under a new random id."""
        line["id"] = f"{random.getrandbits(100):025x}"[:20]
        self._all.append(line)
        self._executions[line["executionId"]].append(line)

    def search(self, request: Mapping[str, JSON]) -> JSON:
        """A page of the lines that match.

        Raises:
            WindowTooLarge: the page reaches beyond the 10000th line.
            ValueError: a negative `from` or `size`.
        """
        start, size = request.get("from") or 0, request.get("size")
        size = 50 if size is None else min(size, CAP)
        for name, value in (("from", start), ("size", size)):
            if value < 0:
                raise ValueError(f"[{name}] parameter cannot be negative")
        if start + size > WINDOW:
            raise WindowTooLarge(start + size)
        view = self._view(request)
        page = _sorted(view.lines, request)[start : start + size]
        return {
            "types": ["paasdeploymentlog"] * len(page),
            "data": page,
            "queryDuration": 1,
            "totalResults": len(view.lines) if page else 0,
            "from": start,
            "to": start + len(page) - 1 if page else 0,
            "facets": view.facets() if page else {},
        }

    def _view(self, request: Mapping[str, JSON]) -> _View:
        key = json.dumps([request.get(name) for name in ("filters", "query", "fromDate", "toDate")], sort_keys=True)
        view = self._views.get(key)
        if view is None:
            executions: list[str] = (request.get("filters") or {}).get("executionId") or []
            source = self._executions[executions[0]] if len(executions) == 1 else self._all
            view = self._views[key] = _View(source, request)
        view.refresh()
        return view


def _sorted(lines: Sequence[Line], request: Mapping[str, JSON]) -> Sequence[Line]:
    """Lines in the order asked for; a field that doesn't exist gives an order of the index's own."""
    configuration = request.get("sortConfiguration") or {"sortBy": "timestamp", "ascending": False}
    field = configuration.get("sortBy")
    descending = not configuration.get("ascending", True)
    if field not in FIELDS and field != "content":
        return sorted(lines, key=lambda line: str(line["id"]))
    return sorted(lines, key=lambda line: line.get(field) or "", reverse=descending)
