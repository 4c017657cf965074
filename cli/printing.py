"""All that is printed: results on stdout, everything else on stderr."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from . import literals
from .text import clean, compact, one_line, to_json

if TYPE_CHECKING:
    from .errors import WaasError


STYLES = {
    "RUNNING": "cyan",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "CANCELLING": "yellow",
    "CANCELLED": "yellow",
    "ok": "green",
    "warning": "yellow",
    "failed": "red",
    "skipped": "dim",
}
_NARROWEST = 10


def never_fail_to_encode() -> None:
    """Shows characters that the encoding of stdout or stderr lacks as `?`, such as half of a surrogate pair."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def line(message: str) -> None:
    """One line of a result in text form."""
    click.echo(clean(message))


def json(value: Any) -> None:
    """A result for programs: one line in a pipe, indented for a reader at a terminal."""
    if sys.stdout.isatty():
        # ASCII: what could steer the terminal is escaped.
        click.echo(literals.dumps(value, ascii_only=True, indent=2))
    else:
        click.echo(to_json(value, encoding=sys.stdout.encoding))


def data(value: Any, form: str, *, stream: bool = False) -> None:
    """A result for programs.

    Args:
        form: `json`; `jsonl`, in which each item of a list is a line of JSON; `yaml`.
        stream: whether others like it may follow, so that it has to be told apart from them.
    """
    if form == "jsonl":
        for item in value if isinstance(value, list) else [value]:
            click.echo(to_json(item, encoding="ascii" if sys.stdout.isatty() else sys.stdout.encoding))
    elif form == "yaml":
        from .yaml_text import dump

        encoding = (sys.stdout.encoding or "ascii").lower()
        ascii_only = sys.stdout.isatty() or not encoding.startswith("utf")
        click.echo(("---\n" if stream else "") + dump(value, ascii_only=ascii_only), nl=False)
    else:
        json(value)


def cell(value: object) -> str:
    """A value in the cell of a table."""
    return "" if value is None else compact(value)


def note(message: str, *, as_json: bool) -> None:
    """Something beside the result, on stderr."""
    click.echo(literals.dumps({"note": message}, ascii_only=True) if as_json else clean(message), err=True)


def error(failure: WaasError, *, as_json: bool) -> None:
    """An error, on stderr: for programs an object `{"error", "exit_code", "hint"?, "problem"?}` in one line."""
    if as_json:
        members: dict[str, Any] = {"error": failure.message, "exit_code": int(failure.code)}
        extras = {"hint": failure.hint, "problem": failure.problem}
        members |= {key: value for key, value in extras.items() if value}
        click.echo(literals.dumps(members, ascii_only=True), err=True)
        return
    listed = (failure.problem or {}).get("inputs")
    wrong = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    # The service's sentence may consist of those about the inputs, which follow one a line.
    repeated = wrong and all(str(each.get("detail")) in failure.message for each in wrong)
    click.echo(clean("Error: the inputs are wrong:" if repeated else f"Error: {failure.message}"), err=True)
    for each in wrong:
        click.echo(clean(f"  - {_input_problem(each)}"), err=True)
    if failure.hint:
        click.echo(clean(failure.hint), err=True)


def _input_problem(wrong: dict[str, Any]) -> str:
    """One line about one wrong input."""
    detail = one_line(wrong.get("detail"))
    name = one_line(wrong.get("input"))
    said = detail if name in detail else f"{name}: {detail}"
    for key, words in (("given", "given: {}"), ("expected", "expected: {}"), ("suggestion", "did you mean {}?")):
        value = one_line(wrong.get(key))
        # The service's own sentence often says it already.
        if value and value not in detail:
            said += f" ({words.format(value)})"
    return said


def section(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table with a title above it, which says so when there are no rows."""
    line(f"\n{title}:" if rows else f"\n{title}: none")
    if rows:
        table(columns, rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, brief: bool = False) -> None:
    """A table: drawn at a terminal; elsewhere a line for each row, tabs between the cells, without the headings.

    Args:
        brief: whether columns are left out at a terminal that only repeat an earlier one, or are empty.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in cells:
            click.echo("\t".join(row))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    content = list(zip(*cells, strict=True))
    kept = [
        index for index, column in enumerate(content) if not brief or (any(column) and column not in content[:index])
    ]
    console = Console(highlight=False)
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    words = [[len(word) for cell in (columns[index], *content[index]) for word in cell.split()] for index in kept]
    narrowest = [min(max(lengths, default=0), _NARROWEST) for lengths in words]
    whole = max(map(len, content[0]), default=0) + sum(narrowest[1:]) + 2 * len(kept) <= console.width
    for index, width in zip(kept, narrowest, strict=True):
        # Ids are in the first column and must stay whole to be copied; dates in the others where there is room.
        drawn.add_column(columns[index], overflow="fold", no_wrap=index == 0, min_width=width if whole else None)
    for row in cells:
        drawn.add_row(*(Text(row[index], STYLES.get(row[index], "")) for index in kept))
    console.print(drawn)
