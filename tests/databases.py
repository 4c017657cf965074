"""Databases for tests: SQLite files, or databases of the PostgreSQL server that `HPCWAAS_TEST_DATABASE` names."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from alembic import command
from psycopg import sql
from sqlalchemy import URL, MetaData, create_engine, make_url, select

from hpcwaas.store.database import Database, _alembic
from tests.postgresql import VARIABLE

POSTGRESQL = VARIABLE in os.environ
"""Whether tests run on PostgreSQL."""


def url_in(directory: Path, *, ready: bool = False) -> str:
    """URL of the one database that belongs to a directory. On PostgreSQL it is there when this returns.

    Args:
        ready: with the service's schema and nothing in it, as a copy: that is faster than making it.
    """
    if not POSTGRESQL:
        url = f"sqlite:///{directory / 'store.db'}"
        if ready:
            prepare(url)
        return url
    name = f"test_{hashlib.sha256(str(directory).encode()).hexdigest()[:16]}"
    with contextlib.suppress(psycopg.errors.DuplicateDatabase):
        _maintain("CREATE DATABASE {} TEMPLATE {}", name, _ready_database() if ready else "template1")
    return _url(name)


def prepare(url: str) -> None:
    """Makes a new SQLite file the service's, as a copy; leaves alone whatever there is already."""
    address = make_url(url)
    file = Path(address.database or "")
    if address.drivername == "sqlite" and not file.exists():
        file.touch(mode=0o600)
        file.write_bytes(_ready_file())


@contextlib.contextmanager
def fresh(directory: Path, *, ready: bool = False) -> Iterator[str]:
    """URL of a directory's own database, which is gone after the block.

    Args:
        ready: with the service's schema; else it is empty.
    """
    url = url_in(directory, ready=ready)
    try:
        yield url
    finally:
        if POSTGRESQL:
            _maintain("DROP DATABASE {} WITH (FORCE)", make_url(url).database or "")


def content(url: str) -> bytes:
    """All that a database holds, one value after another."""
    engine, tables = create_engine(url), MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        values = [value for table in tables.sorted_tables for row in connection.execute(select(table)) for value in row]
    engine.dispose()
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)


def upgrade_to(database: Database, revision: str) -> None:
    """Brings an empty database to the schema of an earlier version."""
    config = _alembic()
    with database._writing.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@functools.cache
def _ready_file() -> bytes:
    """What a new SQLite file with the service's schema holds."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "ready.db"
        _make_ready(f"sqlite:///{file}")
        return file.read_bytes()


@functools.cache
def _ready_database() -> str:
    """Name of a new database on PostgreSQL with the service's schema."""
    name = f"ready_{os.getpid()}"
    _maintain("CREATE DATABASE {}", name)
    _make_ready(_url(name))
    return name


def _make_ready(url: str) -> None:
    database = Database(url)
    database.upgrade()
    database.close()


def _server() -> URL:
    return make_url(os.environ[VARIABLE])


def _url(name: str) -> str:
    return _server().set(database=name).render_as_string(hide_password=False)


def _maintain(statement: str, *names: str) -> None:
    plain = _server().set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
