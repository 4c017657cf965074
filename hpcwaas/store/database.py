"""The database: connections, transactions, its schema's version, and the one place where its errors become ours."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from hpcwaas.core.models import Check
from hpcwaas.errors import BadRequest, ConfigurationError, Conflict, Unavailable
from hpcwaas.store.models import Base

_LOGGER = logging.getLogger(__name__)
_BUSY_SECONDS = 10.0
"""How long a transaction waits for its turn on SQLite before it counts as unavailable."""


class Database:
    """A database with the service's schema. Made once in each process (never carried over a fork), used by all threads.

    Args:
        url: SQLAlchemy URL. An SQLite file that doesn't exist is made, readable by its owner only.

    Raises:
        ConfigurationError: the URL can't be used.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._writing = self._engine.execution_options(hpcwaas_writing=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that sees one moment of the database and changes nothing.

        Raises:
            Unavailable: locked for too long, full, broken or unreachable.
        """
        with _translated(None), Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self, taken: str | None = None) -> Iterator[Session]:
        """A transaction that is committed at the end, or rolled back by any exception.

        Args:
            taken: what to say when a key or name that must be unique exists already.

        Raises:
            Conflict: such a key or name exists already.
            Unavailable: as for `read`.
        """
        with _translated(taken), Session(self._writing) as session, session.begin():
            yield session

    def upgrade(self) -> None:
        """Brings the schema to this version's. Processes that start at once take turns; all but one find nothing to do.

        Raises:
            ConfigurationError: as for `check_upgradable`.
            Unavailable: as for `read`.
        """
        # One transaction around everything: on SQLite it is exclusive from its first moment, so nobody else migrates
        # meanwhile, and a crash half-way leaves the old schema.
        with _translated(None), self._writing.begin() as connection:
            _check_ours(connection)
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def check_upgradable(self) -> None:
        """Finds out whether `upgrade` would work, and changes nothing.

        Raises:
            ConfigurationError: a later version of the service has upgraded it, or it is somebody else's.
            Unavailable: as for `read`.
        """
        with _translated(None), self._engine.connect() as connection:
            _check_ours(connection)

    def current(self) -> str | None:
        """The revision of the schema in the database; None when there is none yet."""
        with _translated(None), self._engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def is_current(self) -> bool:
        """Whether the schema in the database is the one that this version works with."""
        return self.current() == self._head

    def check(self) -> Check:
        """State of the database."""
        started = time.perf_counter()
        try:
            problems = () if self.is_current() else ("The schema is of another version: run `hpcwaas-api db upgrade`.",)
        except (Unavailable, ConfigurationError) as error:
            problems = (error.detail,)
        return Check("store", "failed" if problems else "ok", time.perf_counter() - started, problems)

    def close(self) -> None:
        """Closes the connections of this process."""
        self._engine.dispose()

    @cached_property
    def _head(self) -> str | None:
        return ScriptDirectory.from_config(_alembic()).get_current_head()


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", "hpcwaas.store:migrations")
    return config


def _check_ours(connection: Connection) -> None:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        taken = sorted(Base.metadata.tables.keys() & set(inspect(connection).get_table_names()))
        if taken:
            raise ConfigurationError(
                "store.url", f"the database belongs to another program: it has a table {taken[0]} that isn't ours"
            )
    elif revision not in {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}:
        raise ConfigurationError(
            "store.url", f"the database has a schema that this version doesn't know ({revision}): a later one made it"
        )


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        sqlite = parsed.get_backend_name() == "sqlite"
        # hide_parameters: what users send must not reach the log through an error's text.
        engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": _BUSY_SECONDS} if sqlite else {})
    except (ArgumentError, ImportError) as error:  # the error's own text may hold the URL's password
        raise ConfigurationError(
            "store.url",
            "expected an SQLAlchemy URL with an installed driver, such as sqlite:////var/lib/hpcwaas/store.db",
        ) from error
    if sqlite:
        _create_private(parsed)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _create_private(url: URL) -> None:
    """Makes a missing SQLite file with mode 0600, which its `-wal` and `-shm` take over."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigurationError("store.url", "expected the path of a file: sqlite:////var/lib/hpcwaas/store.db")
    try:
        # O_EXCL also because closing a descriptor of an existing file would drop this process's locks on it.
        os.close(os.open(url.database, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError("store.url", f"can't make the file {url.database}: {error.strerror}") from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver at the first change
    connection.execute("PRAGMA foreign_keys = ON")
    _use_wal(connection)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Readers and a writer don't wait for each other then. The file remembers it, so only the first ones do something;
    while two of them do it at once, SQLite refuses one without waiting."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its turn at once: one that reads first and asks for the lock later is refused without waiting
    # ("database is locked") whenever somebody else wrote in between.
    writing = connection.get_execution_options().get("hpcwaas_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def _translated(taken: str | None) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if taken is None:
            raise
        raise Conflict(taken) from error
    except (DBAPIError, PoolTimeout) as error:
        if getattr(getattr(error, "orig", None), "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            raise ConfigurationError("store.url", "the file isn't an SQLite database") from error
        _LOGGER.error("The database can't be used: %s", getattr(error, "orig", error))  # noqa: TRY400 # no trace needed
        raise Unavailable("The service's database can't be used at the moment.") from error
    except UnicodeEncodeError as error:  # half a surrogate pair, which JSON can spell and no database stores
        raise BadRequest("A text in the request isn't valid Unicode.") from error
