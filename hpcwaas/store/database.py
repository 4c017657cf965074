"""The database: connections, transactions, its schema's version, and the one place where its errors become ours."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from hpcwaas.core.models import Check
from hpcwaas.errors import BadRequest, ConfigurationError, Conflict, Unavailable
from hpcwaas.store import postgresql, sqlite
from hpcwaas.store.models import Base

NOT_EMPTY = "the database isn't empty: name another one, or remove what is in it"

REVISION = "alembic_version"
"""The table that says which schema there is."""

_LOGGER = logging.getLogger(__name__)


class Database:
    """A database with the service's schema. Made once in each process (never carried over a fork), used by all threads.

    Args:
        url: SQLAlchemy URL of SQLite or PostgreSQL. An SQLite file that doesn't exist is made, readable by its owner
            only.

    Attributes:
        lateral: whether it knows lateral joins.

    Raises:
        ConfigurationError: the URL can't be used.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._shared = self._engine.dialect.name == "postgresql"
        self.lateral = self._shared
        self._reading = postgresql.reading(self._engine) if self._shared else self._engine
        self._writing = self._engine.execution_options(**{sqlite.WRITING: True})
        self._passing = self._writing.execution_options(**{sqlite.PASSING: True})
        self._commits = None if self._shared else sqlite.Commits(self._engine)
        self._turn: AbstractContextManager[object] = nullcontext() if self._shared else sqlite.Turn()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that sees one moment of the database and changes nothing.

        Raises:
            Unavailable: locked for too long, full, broken or unreachable.
        """
        with _translated(None), Session(self._reading) as session:
            yield session

    @contextmanager
    def write(self, taken: str | None = None, *, lasting: bool = True) -> Iterator[Session]:
        """A transaction that is committed at the end, or rolled back by any exception.

        On SQLite nobody else writes meanwhile. On PostgreSQL others do: a row that was read can be another one by the
        next statement, unless it was read `with_for_update`, and statements see what others have committed before
        them. So what depends on a row either takes hold of it, always in the same order, or is one statement.

        Args:
            taken: what to say when a key or name that must be unique exists already.
            lasting: whether a loss of power must not undo it from now on. What may be undone takes no time on the disk;
                it lasts as soon as anything does that was written later.

        Raises:
            Conflict: such a key or name exists already.
            BadRequest: the database can't store a value.
            Unavailable: as for `read`.
        """
        engine = self._writing if lasting else self._passing
        with _translated(taken), self._turn, Session(engine) as session, session.begin():
            if self._shared and not lasting:
                postgresql.let_pass(session.connection())
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One moment of the database, however long it takes to read.

        Raises:
            ConfigurationError, Unavailable: as for `check_upgradable`.
        """
        with _translated(None), self._reading.connect() as connection, connection.begin():
            if self._shared:
                postgresql.take_time(connection)
            _check_ours(connection)
            yield connection

    @contextmanager
    def filling(self, revision: str) -> Iterator[Connection]:
        """A transaction in an empty database that has the schema of some version in the block, and that of this one
        after it.

        Raises:
            ConfigurationError: it isn't empty, or this version doesn't know the schema.
            Unavailable: as for `read`.
        """
        with _translated(None), self._writing.begin() as connection:
            if self._shared:
                postgresql.take_turn(connection)
                postgresql.take_time(connection)
            if not _is_empty(connection):
                raise ConfigurationError("store.url", NOT_EMPTY)
            tables = MetaData()
            tables.reflect(connection)
            tables.drop_all(connection)
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            yield connection
            command.upgrade(config, "head")

    def commits(self) -> int | None:
        """A number that is another one whenever something was committed since the last time, by whatever process. None
        on PostgreSQL, where to ask costs as much as to look.

        Raises:
            Unavailable: as for `read`.
        """
        if self._commits is None:
            return None
        try:
            return self._commits.number()
        except sqlite3.Error as error:
            raise _unavailable(str(error)) from error

    def is_empty(self) -> bool:
        """Whether no service has used it.

        Raises:
            ConfigurationError, Unavailable: as for `check_upgradable`.
        """
        with _translated(None), self._reading.connect() as connection:
            _check_ours(connection)
            return _is_empty(connection)

    @staticmethod
    def knows(revision: str) -> bool:
        """Whether this version can upgrade from a schema, or has it."""
        return revision in _revisions()

    def upgrade(self) -> None:
        """Brings the schema to this version's. Processes that start at once take turns; all but one find nothing to do.

        Raises:
            ConfigurationError: as for `check_upgradable`.
            Unavailable: as for `read`.
        """
        # One transaction around everything: a crash half-way leaves the old schema. On SQLite it is exclusive from its
        # first moment.
        with _translated(None), self._writing.begin() as connection:
            if self._shared:
                postgresql.take_turn(connection)
            _check_ours(connection)
            if MigrationContext.configure(connection).get_current_revision() not in {None, *_revisions()}:
                return  # a later one, with which this version works
            if self._shared and MigrationContext.configure(connection).get_current_revision() != self._head:
                postgresql.take_tables(connection, inspect(connection).get_table_names())
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def check_upgradable(self) -> None:
        """Finds out whether `upgrade` would work, and changes nothing.

        Raises:
            ConfigurationError: a later version of the service has upgraded it, or it is somebody else's.
            Unavailable: as for `read`.
        """
        with _translated(None), self._reading.connect() as connection:
            _check_ours(connection)

    def current(self) -> str | None:
        """The revision of the schema in the database; None when there is none yet."""
        with _translated(None), self._reading.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def is_current(self) -> bool:
        """Whether the schema in the database is one that this version works with: its own, or a later one that says
        so."""
        current = self.current()
        return current == self._head or (current is not None and _goes_with(current, self._head))

    def needs_stop(self) -> bool:
        """Whether services that work with the present schema can't go on when it is upgraded."""
        current = self.current()
        return current not in (None, self._head) and not _goes_with(self._head or "", current)

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
        if self._commits is not None:
            self._commits.close()
        self._engine.dispose()

    @cached_property
    def _head(self) -> str | None:
        return _head()


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
    elif revision not in _revisions() and not _goes_with(revision, _head()):
        raise ConfigurationError(
            "store.url", f"the database has a schema that this version doesn't know ({revision}): a later one made it"
        )


def _head() -> str | None:
    return ScriptDirectory.from_config(_alembic()).get_current_head()


def _goes_with(revision: str, earlier: str | None) -> bool:
    """Whether a version of the service whose schema is an earlier one works with a schema, too: `0014_0012` is the
    14th, with which those work whose own is the 12th or a later one."""
    number, _, oldest = revision.partition("_")
    own = (earlier or "").partition("_")[0]
    return bool(own) and (oldest or number) <= own <= number


def _revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}


def _is_empty(connection: Connection) -> bool:
    """Whether our tables have no rows, or aren't there."""
    if MigrationContext.configure(connection).get_current_revision() is None:
        return True
    tables = MetaData()
    tables.reflect(connection, only=lambda name, _: name != REVISION)
    return not any(connection.execute(select(table).limit(1)).first() for table in tables.sorted_tables)


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return sqlite.make_engine(parsed)
        if parsed.get_backend_name() in ("postgresql", "postgres"):
            return postgresql.make_engine(postgresql.normalized(parsed))
    except ImportError:
        raise ConfigurationError(
            "store.url", "the driver isn't installed: for PostgreSQL, `pip install 'hpcwaas[postgresql]'`"
        ) from None
    except (ArgumentError, ValueError):
        pass  # the error's own text may hold the URL's password
    raise ConfigurationError(
        "store.url",
        "expected an SQLAlchemy URL of SQLite or PostgreSQL, such as sqlite:////var/lib/hpcwaas/store.db or "
        "postgresql+psycopg://hpcwaas@db.example.org/hpcwaas",
    )


@contextmanager
def _translated(taken: str | None) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if taken is None:
            raise
        raise Conflict(taken) from error
    except DBAPIError as error:
        if sqlite.is_other_file(error.orig):
            raise ConfigurationError("store.url", "the file isn't an SQLite database") from error
        if blamed := postgresql.blamed(error):
            raise blamed from None  # its text quotes what the user sent
        raise _unavailable(postgresql.words(error.orig)) from error
    except (PoolTimeout, TimeoutError) as error:
        raise _unavailable(str(error)) from error
    except UnicodeEncodeError as error:  # half a surrogate pair, which JSON can spell and no database stores
        raise BadRequest("A text in the request isn't valid Unicode.") from error


def _unavailable(reason: str) -> Unavailable:
    _LOGGER.error("The database can't be used: %s", reason)
    return Unavailable("The service's database can't be used at the moment.")
