"""Queries that find the executions of a list. Each reads as much of an index as it finds, whatever else there is.

A database that has to choose an index for "in one of these states, newest first" reads all rows of an owner, or all
that there are. So each state has a part of its own here that leaves nothing to choose: its index has what is compared
first, and then the order. A page is what comes first of all parts.

Queries are kept by the names of their parameters: it takes longer to make one than to execute it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    String,
    bindparam,
    func,
    literal,
    or_,
    select,
    true,
    union,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased, defer
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import TableValuedAlias

from hpcwaas.core.models import ExecutionFilter, Status
from hpcwaas.store.columns import UTCDateTime
from hpcwaas.store.models import ExecutionRow, ExecutionSourceRow, ShareRow
from hpcwaas.store.paging import Column, Position, after

_FIRST = datetime.min.replace(tzinfo=UTC)
"""Before all executions."""


class _Table(NamedTuple):
    """The columns by which executions are found in a table."""

    id: Column
    created_at: Column
    owner: Column
    workflow_id: Column
    status: Column


_EXECUTIONS = _Table(*(getattr(ExecutionRow, name) for name in _Table._fields))
_SHARES = _Table(ShareRow.execution_id, *(getattr(ShareRow, name) for name in _Table._fields[1:]))
_TAKERS = _EXECUTIONS._replace(
    id=ExecutionSourceRow.execution_id, created_at=ExecutionSourceRow.created_at, owner=ExecutionSourceRow.owner
)


def listed(
    wanted: ExecutionFilter,
    limit: int | None = None,
    before: Position | None = None,
    unread: Collection[str] = (),
    *,
    lateral: bool = False,
) -> tuple[Select[ExecutionRow], Mapping[str, Any]]:
    """The query for executions that fit a filter, and its parameters.

    Args:
        limit: so many, newest first; None for all, in no order.
        before: those that come after this place.
        unread: columns that aren't needed.
        lateral: whether the database knows lateral joins.
    """
    if wanted.created_before is not None:
        # One bound: of two a database may begin at the farther one.
        before = min(before or Position(wanted.created_before), Position(wanted.created_before))
    statuses = wanted.statuses
    if statuses is None and wanted.workflow_id is not None and wanted.shared_with is None:
        statuses = tuple(Status)
    values: dict[str, Any] = {
        "owner": wanted.owner,
        "workflow_id": wanted.workflow_id,
        "inputs_from": wanted.inputs_from,
        "created_after": wanted.created_after,
        "limit": limit,
    }
    if before is not None:
        values |= before._asdict()
    if wanted.ids is not None:
        values |= {"ids": list(wanted.ids), "named": len(wanted.ids)}
    if wanted.shared_with is not None:
        values["user"] = wanted.shared_with.subject
        if wanted.shared_with.groups:
            values["groups"] = json.dumps(sorted(wanted.shared_with.groups))
            values["passed"] = None if limit is None else max(limit - 1, 0)
    if statuses is not None:
        # Without any state there is no such execution.
        values |= _numbered("status", [status.value for status in statuses] or [""])
    values = {name: value for name, value in values.items() if value is not None}
    return _query(tuple(values), tuple(unread), lateral), values


def _numbered(name: str, values: Collection[str]) -> dict[str, Any]:
    return {f"{name}{number}": value for number, value in enumerate(sorted(set(values)))}


@lru_cache(maxsize=1000)
def _query(given: tuple[str, ...], unread: tuple[str, ...], lateral: bool) -> Select[ExecutionRow]:
    """The query that has these parameters."""
    parts = [_newest(part, table.created_at, table.id, given) for table, part in _parts(given, lateral)]
    if len(parts) > 1:
        # What several shares let in to is found once.
        together = union if "user" in given else union_all
        found = together(*(select(part.subquery()) for part in parts)).subquery()
        parts = [_newest(select(found), found.c.created_at, found.c.id, given)]
    first = parts[0].subquery()
    query = select(ExecutionRow).join(first, first.c.id == ExecutionRow.id)
    query = query.options(*(defer(getattr(ExecutionRow, name)) for name in unread))
    return _newest(query, first.c.created_at, first.c.id, given)


def _newest(query: Select[Any], created_at: Column, row_id: Column, given: Sequence[str]) -> Select[Any]:
    if "limit" not in given:
        return query
    return query.order_by(created_at.desc(), row_id.desc()).limit(bindparam("limit", type_=Integer))


def _parts(given: Sequence[str], lateral: bool) -> Iterator[tuple[_Table, Select[Any]]]:
    """For each part where it is found, and the ids and moments of all that belongs to it."""
    statuses = _named("status", given)
    if "ids" in given:
        # The limit lets no database begin with all of an owner's.
        named = select(*_EXECUTIONS).where(ExecutionRow.id.in_(bindparam("ids", expanding=True)))
        named = named.limit(bindparam("named", type_=Integer))
        table = _Table(*named.subquery().c)
        yield table, _select(table, given, statuses).where(*_taking(table, given), *_let_in(table, given))
    elif "inputs_from" in given:
        part = _select(_TAKERS, given, statuses).where(*_let_in(_TAKERS, given))
        part = part.where(ExecutionSourceRow.source_id == bindparam("inputs_from"))
        yield _TAKERS, part.join(ExecutionRow, ExecutionRow.id == ExecutionSourceRow.execution_id)
    elif "user" in given:
        foreign = ShareRow.owner != bindparam("user")
        theirs = (ShareRow.kind == "user") & (ShareRow.name == bindparam("user"))
        # By workflow the index has no states: they are passed over as it is read.
        for of_one in [statuses] if "workflow_id" in given else _each(statuses):
            yield _SHARES, _select(_SHARES, given, of_one).where(theirs, foreign)
            if "groups" in given:
                yield _of_groups(given, of_one, lateral)
    else:
        for of_one in _each(statuses):
            yield _EXECUTIONS, _select(_EXECUTIONS, given, of_one)


def _of_groups(
    given: Sequence[str], statuses: Sequence[BindParameter[str]], lateral: bool
) -> tuple[_Table, Select[Any]]:
    """The query for what is shared with groups: one, however many they are. Of each group it reads what is as new as
    the last one that may be on the page."""
    group = _groups()
    one = aliased(ShareRow)
    of_one = _Table(one.execution_id, *(getattr(one, name) for name in _Table._fields[1:]))
    belongs = (one.kind == "group") & (one.name == group.c.value) & (one.owner != bindparam("user"))
    of_group = _newest(_select(of_one, given, statuses).where(belongs), of_one.created_at, of_one.id, given)
    if lateral:
        # Without an offset it would be joined as a whole.
        each = of_group.offset(0).correlate(group).lateral()
        found = select(each.c.id, each.c.created_at).join_from(group, each, true()).distinct()
        return _SHARES._replace(id=each.c.id, created_at=each.c.created_at), found
    of_all = (ShareRow.kind == "group") & (ShareRow.name == group.c.value) & (ShareRow.owner != bindparam("user"))
    since: ColumnElement[Any] = literal(_FIRST, UTCDateTime)
    if "created_after" in given:
        since = bindparam("created_after", type_=UTCDateTime)
    if "limit" in given:
        newest = of_group.with_only_columns(of_one.created_at).limit(1).offset(bindparam("passed", type_=Integer))
        since = func.coalesce(newest.correlate(group).scalar_subquery(), since, type_=UTCDateTime)
    # One bound: of two a database may begin at the farther one.
    rest = [name for name in given if name != "created_after"]
    # What is shared with several groups is counted once.
    return _SHARES, _select(_SHARES, rest, statuses).join(group, of_all & (ShareRow.created_at >= since)).distinct()


def _groups() -> TableValuedAlias:
    return _Names(bindparam("groups", type_=String)).table_valued("value")


class _Names(FunctionElement[str]):
    """The texts of a list in JSON, as a table. So a query is the same for any number of them."""

    name = "names"
    inherit_cache = True


@compiles(_Names, "sqlite")
def _on_sqlite(names: _Names, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(names.clauses, **options)})"


@compiles(_Names, "postgresql")
def _on_postgresql(names: _Names, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(names.clauses, **options)} AS json))"


def _select(table: _Table, given: Sequence[str], statuses: Sequence[BindParameter[str]]) -> Select[Any]:
    """The query for ids and moments, by what is chosen of the columns of a table."""
    query = select(table.id.label("id"), table.created_at.label("created_at"))
    query = query.where(
        *(getattr(table, name) == bindparam(name) for name in ("owner", "workflow_id") if name in given)
    )
    if statuses:
        query = query.where(or_(*(table.status == status for status in statuses)))
    if "created_after" in given:
        query = query.where(table.created_at >= bindparam("created_after"))
    if "moment" in given:
        query = query.where(after(table.created_at, table.id))
    return query


def _named(name: str, given: Sequence[str]) -> list[BindParameter[str]]:
    """The numbered parameters of a name."""
    return [bindparam(each) for each in given if each.startswith(name)]


def _each(statuses: Sequence[BindParameter[str]]) -> Sequence[Sequence[BindParameter[str]]]:
    return [[status] for status in statuses] or [[]]


def _taking(table: _Table, given: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """The condition that executions took outputs of the one that is wanted."""
    if "inputs_from" in given:
        source = ExecutionSourceRow
        yield _there(
            select(source.owner).where(source.execution_id == table.id, source.source_id == bindparam("inputs_from"))
        )


def _let_in(table: _Table, given: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """The conditions that somebody else shares executions with the user."""
    if "user" in given:
        yield table.owner != bindparam("user")
        theirs = (ShareRow.kind == "user") & (ShareRow.name == bindparam("user"))
        if "groups" in given:
            theirs |= (ShareRow.kind == "group") & ShareRow.name.in_(select(_groups().c.value))
        yield _there(select(ShareRow.owner).where(ShareRow.execution_id == table.id, theirs))


def _there(query: Select[Any]) -> ColumnElement[bool]:
    # Looked for in an index for each execution. EXISTS can be made a join, which reads all shares of a user.
    return query.limit(1).scalar_subquery().is_not(None)
