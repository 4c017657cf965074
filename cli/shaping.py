"""Which columns of a list are shown, and in which order its items stand. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from . import literals
from .errors import UsageError

Cell: TypeAlias = str | Callable[[Any], object]
Columns: TypeAlias = Mapping[str, Cell]
"""The columns of a table by their headings: the member of an item that is shown, or what makes the cell of an item."""


def words(option: object) -> tuple[str, ...]:
    """The names in an option such as `id, status`."""
    return tuple(name for each in str(option or "").split(",") if (name := each.strip()))


def value(item: Any, cell: Cell) -> object:
    """What stands in a cell. Dots in the name of a member lead into it: `limits.executions`."""
    if callable(cell):
        return cell(item)
    if isinstance(item, dict) and cell in item:
        return item[cell]
    for part in cell.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return item


def chosen(names: Sequence[str], columns: Columns, items: Sequence[Any], *, as_written: bool) -> Columns:
    """The columns of these names: of headings, or of members of the items.

    Args:
        as_written: whether the values are for programs: then a member beats a heading of the same name.

    Raises:
        UsageError: there is no such column.
    """
    return {name: _cell(name, columns, items, prefer_member=as_written) for name in names}


def picked(found: Any, names: Sequence[str], columns: Columns) -> Any:
    """The named columns of an object, or of each of a list of objects.

    Raises:
        UsageError: there is no such column.
    """
    items = found if isinstance(found, list) else [found]
    cells = chosen(names, columns, items, as_written=True)
    made = [{name: value(item, cell) for name, cell in cells.items()} for item in items]
    return made if isinstance(found, list) else made[0]


def ordered(items: Sequence[Any], names: Sequence[str], columns: Columns) -> list[Any]:
    """The items in the order of these members, downwards where a `-` precedes. What has no value comes last.

    Raises:
        UsageError: there is no such member.
    """
    found = list(items)
    for name in reversed(names):
        downwards, member = name.startswith("-"), name.lstrip("-")
        cell = _cell(member, columns, items, prefer_member=True)
        if callable(cell):
            raise UsageError(
                f"The list can't be sorted by {member}, which is made for readers.", hint=_known({}, items)
            )
        given = [item for item in found if value(item, cell) is not None]
        given.sort(key=lambda item: _rank(value(item, cell)), reverse=downwards)
        found = given + [item for item in found if value(item, cell) is None]
    return found


def _rank(given: object) -> tuple[int, float, str]:
    if isinstance(given, bool | int | float):
        return 0, float(given), ""
    return 1, 0.0, given if isinstance(given, str) else literals.dumps(given)


def _plain(name: str) -> str:
    return "_".join(name.lower().replace("-", "_").split())


def _cell(name: str, columns: Columns, items: Sequence[Any], *, prefer_member: bool) -> Cell:
    heading = next((columns[each] for each in columns if _plain(each) == _plain(name)), None)
    is_member = any(_has(item, name) for item in items)
    if is_member and (prefer_member or heading is None):
        return name
    if heading is not None:
        return heading
    if not items:
        return name  # nothing tells which members there are
    raise UsageError(f'There is no column "{name}".', hint=_known(columns, items))


def _has(item: Any, name: str) -> bool:
    """Whether an item has a member, which may be null."""
    if isinstance(item, dict) and name in item:
        return True
    first, dot, rest = name.partition(".")
    if not isinstance(item, dict) or first not in item:
        return False
    # What is null now may have members another time.
    return bool(dot) and (item[first] is None or _has(item[first], rest))


def _known(columns: Columns, items: Iterable[Any]) -> str:
    members = dict.fromkeys(key for item in items if isinstance(item, dict) for key in item)
    headings = [_plain(each) for each in columns if _plain(each) not in members]
    return f"There are: {', '.join([*members, *headings])}."
