"""What `hpcwaas-api catalogue check` prints."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from hpcwaas.command.common import harmless, table
from hpcwaas.configuration.settings import Settings
from hpcwaas.core.site_models import LOCAL
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.workflows.checking import Checked, Report, catalogue_of, check_catalogue
from hpcwaas.engines.cwl.workflows.entries import read_stamps

_PLACE = re.compile(r"(?P<file>(?!\w+://)[^\s:](?:[^\n]*?[^\s:])?):(?:(?P<line>\d+):)? (?P<detail>.*)", re.DOTALL)

LOOK_EVERY = 0.5
"""Seconds between two looks for a change."""


def show(place: Path | None, settings: Settings, scratch: Path, *, as_json: bool, strict: bool) -> bool:
    """Prints a report.

    Args:
        place: a catalogue, or a document; None for the configured catalogue.
        scratch: directory for what is fetched of repositories.

    Returns:
        whether something is wrong.

    Raises:
        Unavailable: it can't be read.
    """
    own = _settings(settings)
    if place is None:
        report = check_catalogue(own.catalogue, own, scratch, {LOCAL, *settings.sites}, settings.shared)
    else:
        report = check_catalogue(place, own, scratch)
    click.echo(json.dumps(_json(report), indent=2) if as_json else "\n".join(_text(report)))
    wrong = bool(report.problems) or any(item.problem for item in report.workflows)
    return wrong or (strict and any(item.warnings for item in report.workflows))


def watch(place: Path | None, settings: Settings) -> Iterator[None]:
    """Yields at once, and whenever a file of the catalogue isn't what it was: also of that which a document is a part
    of, since a document may refer to all that lies there, and when that was while the caller was busy."""
    own = _settings(settings)
    while True:
        before = _stamps(place or own.catalogue, own)
        yield
        while before == _stamps(place or own.catalogue, own):
            time.sleep(LOOK_EVERY)  # not every file system tells of changes


def _stamps(place: Path, settings: CWLSettings) -> object:
    try:
        return read_stamps(catalogue_of(place, settings))
    except OSError:
        return None


def _settings(settings: Settings) -> CWLSettings:
    own = settings.engines.get("cwl")
    return own if isinstance(own, CWLSettings) else CWLSettings()


def _json(report: Report) -> dict[str, Any]:
    return {
        "directory": str(report.directory),
        "workflows": [
            {
                "id": item.id,
                "source": item.source,
                "title": item.title,
                "published": item.problem is None,
                "everybody": item.problem is None and item.users is None and item.groups is None,
                "users": sorted(item.users or ()),
                "groups": sorted(item.groups or ()),
                "sites": None if item.sites is None else [*item.sites],
                "version": item.version,
                "inputs": [
                    {"name": each.name, "type": each.type, "required": each.required}
                    | ({"default": each.default} if each.has_default else {})
                    for each in item.inputs
                ],
                "problem": item.problem and _placed(item.problem),
                "warnings": [_placed(warning) for warning in item.warnings],
            }
            for item in report.workflows
        ],
        "problems": [_placed(problem) for problem in report.problems],
        "ignored": [{"path": item.path, "reason": item.reason} for item in report.ignored],
    }


def _placed(sentence: str) -> dict[str, Any]:
    """A sentence with its place apart."""
    match = _PLACE.fullmatch(sentence)
    if match is None or ("." not in match["file"] and not match["file"].endswith("/")):
        return {"file": None, "line": None, "detail": sentence}
    return {"file": match["file"], "line": int(match["line"]) if match["line"] else None, "detail": match["detail"]}


def _text(report: Report) -> Iterator[str]:
    for item in report.workflows:
        if item.problem is None:
            yield from _workflow(item)
    problems = [*report.problems, *(item.problem for item in report.workflows if item.problem)]
    warnings = sorted({warning for item in report.workflows for warning in item.warnings}, key=_order)
    for title, lines in (
        ("Problems:", problems),
        ("Warnings:", warnings),
        ("Not published, on purpose:", [f"{item.path}: {item.reason}" for item in report.ignored]),
    ):
        if lines:
            yield title
            yield from (f"  {harmless(line)}" for line in lines)
            yield ""
    published = sum(item.problem is None for item in report.workflows)
    counts = ((published, "workflow"), (len(problems), "problem"), (len(warnings), "warning"))
    yield ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)


def _order(sentence: str) -> tuple[str, int, str]:
    placed = _placed(sentence)
    return placed["file"] or "", placed["line"] or 0, sentence


def _source(item: Checked) -> str:
    return f"{item.source} (an id can't have all of this name)" if item.made else item.source


def _workflow(item: Checked) -> Iterator[str]:
    title = f": {' '.join(item.title.split())}" if item.title and item.title != item.id else ""
    yield harmless(f"{item.id}{title}")
    yield harmless(f"  for {_who(item)}; on {_where(item)}; {_source(item)}, version {(item.version or '')[:12]}")
    rows = [
        (each.name, each.type, "yes" if each.required else "no", json.dumps(each.default) if each.has_default else "")
        for each in item.inputs
    ]
    if rows:
        yield from (f"  {line}" for line in table(("input", "type", "required", "default"), rows).splitlines())
    yield ""


def _who(item: Checked) -> str:
    if item.users is None and item.groups is None:
        return "everybody"
    names = [*sorted(item.users or ()), *(f"the group {group}" for group in sorted(item.groups or ()))]
    return ", ".join(names) or "nobody"


def _where(item: Checked) -> str:
    return "all sites" if item.sites is None else ", ".join(item.sites) or "no site"
