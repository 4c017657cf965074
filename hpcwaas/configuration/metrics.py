"""The metrics for people: the table of all there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpcwaas.common.metrics import OTHER, Family, Histogram
from hpcwaas.engines.registry import BUILT_IN, registry

_HEAD = f"""# Metrics

What `/metrics` tells when `metrics.token` is set: see [Watch the service](../how-to/watch.md). This page is made by
`hpcwaas-api metrics`.

The labels of each figure have the values that are named here, and every one of them is there from the start, at 0.
Values in angle brackets follow from the settings and the contract; what wasn't known at the start counts as `{OTHER}`.
All worker processes of a service are added up. Counters begin at 0 when the service is started.

| metric | type | labels | what it tells |
| --- | --- | --- | --- |
"""

_FROM_SETTINGS = {
    "cache": "`credentials`, <servers>",
    "dependency": "<checks of /health/ready>",
    "engine": "<active engines>",
    "operation": "<operations of the contract>",
    "site": "<sites>",
    "status": "<statuses of the operation>",
    "upstream": "<engines>, `vault`, `identity provider`",
    "version": "<version>",
    "worker": "<numbers of the worker processes>",
}


def table() -> str:
    """The table, in Markdown."""
    for entry in BUILT_IN:
        registry().load(entry.name)  # what it counts is declared there
    return _HEAD + "".join(sorted(map(_row, Family.all)))


def _row(family: Family) -> str:
    name = family.name + ("_total" if family.kind == "counter" else "")
    labels = "; ".join(f"`{label}`: {_values(label, known)}" for label, known in family.labels.items())
    return f"| `{name}` | {family.kind} | {labels} | {''.join(_text(family))} |\n"


def _values(label: str, known: Sequence[str] | None) -> str:
    if known and label != "version":
        return ", ".join(f"`{value}`" for value in known)
    return _FROM_SETTINGS[label].replace("<", "&lt;").replace(">", "&gt;")


def _text(family: Family) -> Iterator[str]:
    yield family.text
    if isinstance(family, Histogram):
        yield f" Buckets: {', '.join(f'{bound:g}' for bound in family.bounds)} seconds."
