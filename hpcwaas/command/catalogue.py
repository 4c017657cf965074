"""The commands `hpcwaas-api catalogue …`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from hpcwaas.command.common import harmless, read_settings, reporting, settings_flags, table

# What the commands need is imported inside them: `--help` answers at once.
if TYPE_CHECKING:
    from hpcwaas.configuration.settings import Settings
    from hpcwaas.core.models import Access

_COLUMNS = ("workflow", "may be run by", "state")


@click.group(short_help="Look at what is published.")
def catalogue() -> None:
    """Look at what is published."""


@catalogue.command()
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", help="Form of the list.")
@settings_flags
def access(output: str) -> None:
    """Print who may run what, what isn't published and why, and what publishers should know of their workflows.

    The catalogue is read as it is now, and nothing is changed. The service follows within seconds.
    """
    with reporting():
        found = _read(read_settings().settings)
        click.echo(json.dumps([_json(item) for item in found], indent=2) if output == "json" else _text(found))


def _read(settings: Settings) -> Sequence[Access]:
    if settings.alien_config is not None:
        from hpcwaas.engines.alien4cloud import access as alien4cloud

        return alien4cloud.read_access(settings.alien_config)
    from hpcwaas.engines.cwl.workflows import access as cwl

    return cwl.read_access(settings.cwl, settings.data_dir)


def _json(item: Access) -> dict[str, Any]:
    return {
        "id": item.id,
        "published": item.published,
        "everybody": item.published and item.users is None and item.groups is None,
        "users": sorted(item.users or ()),
        "groups": sorted(item.groups or ()),
        "problem": item.problem,
        "warnings": list(item.warnings),
    }


def _text(found: Sequence[Access]) -> str:
    rows = [(item.id or "", _who(item), _state(item)) for item in found if item.id is not None]
    problems = [item.problem for item in found if item.problem]
    warnings = [warning for item in found for warning in item.warnings]
    return "\n".join(_parts(rows, problems, warnings))


def _parts(rows: list[tuple[str, str, str]], problems: list[str], warnings: list[str]) -> Iterator[str]:
    yield table(_COLUMNS, rows)
    for title, lines in (("Problems:", problems), ("Warnings:", warnings)):
        if lines:
            yield "\n".join(["", title, *(f"  {harmless(line)}" for line in lines)])


def _state(item: Access) -> str:
    if not item.published:
        return "not published"
    return "an earlier version is published" if item.problem else "published"


def _who(item: Access) -> str:
    if not item.published:
        return "nobody"
    if item.users is None and item.groups is None:
        return "everybody"
    names = [
        f"{word}{'' if len(those) == 1 else 's'} {', '.join(sorted(those))}"
        for word, those in (("user", item.users), ("group", item.groups))
        if those
    ]
    return "; ".join(names) or "nobody"
