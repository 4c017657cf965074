"""Which migrations services of earlier versions can go on with, and what that means to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from hpcwaas.errors import ConfigurationError
from hpcwaas.store import database as module
from hpcwaas.store.database import Database
from tests import databases


@contextmanager
def store(directory: Path, *, ready: bool = True) -> Iterator[tuple[Database, str]]:
    """A database, and its URL."""
    with databases.fresh(directory, ready=ready) as url, closing(Database(url)) as database:
        yield database, url


def has(url: str, revision: str) -> None:
    """Makes a database look as if a later version had upgraded it."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})
    engine.dispose()


def head() -> str:
    return str(module._head())[:4]


def test_a_later_schema_that_says_so_is_worked_with(tmp_path: Path) -> None:
    with store(tmp_path) as (database, url):
        for revision in (f"9000_{head()}", "9000_0001"):
            has(url, revision)
            assert (database.is_current(), database.check().status) == (True, "ok")
            database.check_upgradable()
            database.upgrade()
            assert database.current() == revision


def test_any_other_later_schema_is_refused(tmp_path: Path) -> None:
    with store(tmp_path) as (database, url):
        for revision in ("9000", "9000_8999", "x", "9000_x"):
            has(url, revision)
            assert (database.is_current(), database.check().status) == (False, "failed"), revision
            for attempt in (database.check_upgradable, database.upgrade):
                with pytest.raises(ConfigurationError, match="a later one made it"):
                    attempt()


def test_an_upgrade_says_whether_services_have_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store(tmp_path) as (_, url):
        for own, oldest, stop in (("9001", "9000", False), ("9001", "", True), ("9002", "9001", True)):
            has(url, "9000")
            monkeypatch.setattr(module, "_head", lambda own=own, oldest=oldest: f"{own}_{oldest}" if oldest else own)
            with closing(Database(url)) as later:
                assert (later.is_current(), later.needs_stop()) == (False, stop)


def columns(url: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What each table has."""
    engine = create_engine(url)
    found = inspect(engine)
    all_of_them = {
        (table, column["name"]): {
            "type": str(column["type"]),
            "nullable": column["nullable"],
            "default": column["default"],
        }
        for table in found.get_table_names()
        for column in found.get_columns(table)
    }
    engine.dispose()
    return all_of_them


def what_it_takes_away(directory: Path, before: str, after: str) -> set[tuple[str, str]]:
    """The columns by which a service of an earlier version would notice that a later one has upgraded the store."""
    with store(directory, ready=False) as (database, url):
        databases.upgrade_to(database, before)
        had = columns(url)
        with database._writing.begin() as connection:
            config = module._alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, after)
        there = columns(url)
    tables = {table for table, _ in had}
    new = {place: there[place] for place in there.keys() - had.keys() if place[0] in tables}
    needed = {place for place, column in new.items() if not column["nullable"] and column["default"] is None}
    return needed | {place for place in had if there.get(place) != had[place]}


def test_what_earlier_versions_go_on_with_only_adds(tmp_path: Path) -> None:
    """The two that don't claim it show that this would be found out."""
    walked = [each.revision for each in ScriptDirectory.from_config(module._alembic()).walk_revisions()]
    for number, revision in enumerate(each for each in walked if "_" in each):
        oldest = next(each for each in walked if each.startswith(revision.partition("_")[2]))
        directory = tmp_path / f"{number}"
        directory.mkdir()
        assert what_it_takes_away(directory, oldest, revision) == set(), revision
    for before, after, taken in (
        ("0008", "0009", set()),
        ("0011", "0012", {("shares", "owner"), ("shares", "status")}),
    ):
        directory = tmp_path / after
        directory.mkdir()
        found = what_it_takes_away(directory, before, after)
        assert (found >= taken, bool(found)) == (True, bool(taken))
