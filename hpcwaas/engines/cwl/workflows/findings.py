"""What publishers should know of a workflow that is published: the same words in the service and in its checks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hpcwaas.core.models import JSON
from hpcwaas.core.site_models import LOCAL
from hpcwaas.engines.cwl.settings import LimitSettings
from hpcwaas.engines.cwl.workflows.metadata import Entry

_GONE = re.compile(r"[^:]+:(?:(?P<line>\d+):)? (?P<name>.+) does not exist")


def warnings_of(
    entry: Entry, description: Mapping[str, JSON], limits: LimitSettings, javascript: Iterable[str] = ()
) -> tuple[str, ...]:
    """Sentences, most of which begin with file and line.

    Args:
        description: as `describe.py` writes it.
        limits: of executions on this machine.
        javascript: what is wrong with its scripts.
    """
    look = description["lint"]
    said = _said(description["warnings"], look["findings"])
    too_much = _too_much(look["resources"], entry, limits)
    return tuple(dict.fromkeys([*look["findings"], *javascript, *too_much, *said, *description["dangers"]]))


def _said(warnings: Sequence[str], findings: Sequence[str]) -> Iterator[str]:
    """Warnings without those of which another one says the same, and where."""
    for warning in warnings:
        match = _GONE.fullmatch(warning)
        if match is None:
            yield warning
            continue
        name, placed = match["name"], match["line"] is not None
        if placed and name.startswith("/"):
            continue  # the machine that executes may have it, as another one says
        better = any(each.endswith(f" {name}, which does not exist") for each in findings)
        if not better and not placed:
            others = (each for each in map(_GONE.fullmatch, warnings) if each is not None)
            better = any(each["name"] == name and each["line"] for each in others)
        if not better:
            yield warning


def _too_much(resources: Sequence[Mapping[str, JSON]], entry: Entry, limits: LimitSettings) -> Iterator[str]:
    """What tools ask for beyond what executions on this machine get."""
    if entry.sites is not None and LOCAL not in entry.sites:
        return
    most = {
        "cores": min(limits.cores, entry.limits.cores or limits.cores),
        "memory": min(limits.memory, entry.limits.memory or limits.memory),
    }
    for each in resources:
        unit = each["unit"]
        if each["amount"] > most[unit]:
            asked, given = (_amount(value, unit) for value in (each["amount"], most[unit]))
            yield f"{each['place']}: asks for {asked}, and an execution on this machine gets {given} (`limits`)"


def _amount(value: float, unit: str) -> str:
    return f"{value / 2**20:g} MiB of memory" if unit == "memory" else f"{value:g} cores"
