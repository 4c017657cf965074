"""The commands `hpcwaas-api catalogue …`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from hpcwaas.command.common import harmless, read_settings, reporting, settings_flags, table
from hpcwaas.errors import ServiceError

# What the commands need is imported inside them: `--help` answers at once.
if TYPE_CHECKING:
    from hpcwaas.configuration.settings import Settings
    from hpcwaas.core.publication_models import Access, Update
    from hpcwaas.core.workflow_ids import WorkflowIds

_COLUMNS = ("workflow", "may be run by", "state")


@click.group(short_help="Show and check what is published.")
def catalogue() -> None:
    """Show and check what is published."""


@catalogue.command()
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", help="Format of the list.")
@settings_flags
def access(output: str) -> None:
    """Print who may run which workflow, which ones aren't published and why, and warnings for publishers.

    This reads the catalogue as it is now, and changes nothing. The service follows a change within seconds.
    """
    with reporting():
        found, failures = _read(read_settings().settings)
        if found or not failures:
            click.echo(json.dumps([_json(item) for item in found], indent=2) if output == "json" else _text(found))
        for failure in failures:
            click.echo(f"hpcwaas-api: {failure}", err=True)
        if failures:
            sys.exit(1)


@catalogue.command()
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", help="Format of the list.")
@settings_flags
def update(output: str) -> None:
    """Fetch the Git repositories that `catalogue.yaml` names, where something of them is new.

    The service publishes within seconds what was fetched. What it published before stays where fetching fails.
    """
    with reporting():
        from hpcwaas.engines.registry import registry

        settings = read_settings().settings
        found = [
            item
            for name, section in settings.engines.items()
            for item in registry().update(name, section, settings.shared)
        ]
        if output == "json":
            click.echo(json.dumps([asdict(item) for item in found], indent=2))
        elif found:
            rows = [(item.url, item.reference, item.commit or "nothing", _change(item)) for item in found]
            click.echo(table(("repository", "published", "commit", "state"), rows))
        else:
            click.echo("The catalogue names no repositories.", err=True)
        problems = [item.problem for item in found if item.problem]
        for problem in problems:
            click.echo(f"hpcwaas-api: {harmless(problem)}.", err=True)
        if problems:
            sys.exit(1)


def _change(item: Update) -> str:
    if item.problem:
        return "not fetched"
    if item.before == item.commit:
        return "unchanged"
    return "new" if item.before is None else f"changed from {item.before[:12]}"


@catalogue.command(short_help="Find mistakes in workflows, before they are published.")
@click.argument("place", metavar="[DIR|FILE]", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", help="Format of the report.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@click.option("--watch", is_flag=True, help="Check again whenever a file changes, until you press Ctrl-C.")
@settings_flags
def check(place: Path | None, output: str, strict: bool, watch: bool) -> None:
    """Print what would be published, under which id, for whom, with which inputs, and every mistake with file and line.

    DIR is a catalogue, FILE one document of one. Without either it is the configured catalogue. Git repositories that
    it names are fetched into a temporary directory. Nothing is changed, and no workflow runs. Exits with 0 when all can
    be published, with 1 when something can't.
    """
    from hpcwaas.command import checked

    wrong = False
    with reporting(), TemporaryDirectory(prefix="hpcwaas-check-") as scratch:
        settings = read_settings().settings
        for _ in checked.watch(place, settings):
            wrong = checked.show(place, settings, Path(scratch), as_json=output == "json", strict=strict)
            if not watch:
                break
    sys.exit(1 if wrong else 0)


def _read(settings: Settings) -> tuple[Sequence[Access], Sequence[str]]:
    """What all engines publish, and why some don't tell."""
    from hpcwaas.core.publication_models import Access
    from hpcwaas.core.workflow_ids import WorkflowIds
    from hpcwaas.engines.registry import registry

    engines = settings.engines
    ids = WorkflowIds({name: registry().forms[name] for name in engines})
    found: list[Access] = []
    failures: list[str] = []
    for name, section in engines.items():
        try:
            items = registry().access(name, section, settings.shared)
        except ServiceError as error:
            failures.append(error.detail if len(engines) == 1 else f"engine {name}: {error.detail}")
            continue
        if items is None:
            note = f"The engine `{name}` can't tell this command who may run what it publishes."
            items = [Access(None, published=False, warnings=(note,))]
        found += [_known(item, name, ids) for item in items]
    return found, failures


def _known(item: Access, engine: str, ids: WorkflowIds) -> Access:
    """What an engine tells of a workflow, under the id by which users know it."""
    if item.id is None:
        return item
    clash = ids.clash(engine, item.id) if item.published else None
    return replace(item, id=ids.known_as(engine, item.id), warnings=(*item.warnings, *([clash] if clash else ())))


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
