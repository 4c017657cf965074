"""What is particular to SQLite: its files, its transactions, its errors."""

from __future__ import annotations

import os
import sqlite3
import threading
import time

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from hpcwaas.common import written
from hpcwaas.errors import ConfigurationError

_BUSY_SECONDS = 10.0
"""How long a transaction waits for its turn before it counts as unavailable."""

_LOOK_EVERY = 0.002
"""Seconds between two looks whether another process has stopped writing. SQLite itself looks ten times a second in the
end, and finds an opening of less than a millisecond by luck: it could go without for seconds while others write all the
time."""


class Turn:
    """Lets one thread of this process write after another. SQLite's own way to wait is to look again from time to time,
    so that somebody among many can go without for seconds.

    Entering raises `TimeoutError`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=_BUSY_SECONDS):
            raise TimeoutError("others have been writing for too long")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


WRITING = "hpcwaas_writing"
"""Execution option of connections that change something."""

PASSING = "hpcwaas_passing"
"""Likewise, whose changes a loss of power may undo until others are made."""

LASTING = "FULL"
"""How the changes of all others are brought to the disk, in SQLite's words."""


def make_engine(url: URL) -> Engine:
    """An engine for a file, which is made when it is missing, readable by its owner only.

    Raises:
        ConfigurationError: it can't be made.
    """
    # hide_parameters: what users send must not reach the log through an error's text.
    engine = create_engine(
        url,
        hide_parameters=True,
        json_serializer=written.dumps,
        json_deserializer=written.loads,
        connect_args={"timeout": _BUSY_SECONDS},
    )
    _create_private(url)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


class Commits:
    """Tells, for a few microseconds, whether anything was committed, by whatever process.

    Args:
        engine: of `make_engine`. One connection is kept, which changes nothing: SQLite counts what others do.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: PoolProxiedConnection | None = None

    def number(self) -> int:
        """Another number whenever something was committed since the last time."""
        with self._lock:
            if self._connection is None:
                self._connection = self._engine.raw_connection()
                self._connection.detach()  # those of the pool are for transactions
            cursor = self._connection.cursor()
            try:
                cursor.execute("PRAGMA data_version")
                return int(cursor.fetchall()[0][0])
            finally:
                cursor.close()

    def close(self) -> None:
        """Closes the connection. The next question opens another one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def is_other_file(error: BaseException | None) -> bool:
    """Whether an error says that the file is no database."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB


def _create_private(url: URL) -> None:
    """Makes a missing file with mode 0600, which its `-wal` and `-shm` take over."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigurationError("store.url", "expected the path of a file: sqlite:////var/lib/hpcwaas/store.db")
    try:
        # O_EXCL also because closing a descriptor of an existing file would drop this process's locks on it.
        os.close(os.open(url.database, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError("store.url", f"can't make the file {url.database}: {error.strerror}") from error


def _prepare(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
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


def _begin(connection: Connection) -> None:
    # A writer takes its turn at once: one that reads first and asks for the lock later is refused without waiting
    # ("database is locked") whenever somebody else wrote in between.
    options = connection.get_execution_options()
    if not options.get(WRITING, False):
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA synchronous = {'NORMAL' if options.get(PASSING, False) else LASTING}")
    _take_turn(connection)


def _take_turn(connection: Connection) -> None:
    """Begins to write, as soon as no other process does."""
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - for the type checker: a transaction begins on an open connection
    deadline = time.monotonic() + _BUSY_SECONDS
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while time.monotonic() < deadline:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
            time.sleep(_LOOK_EVERY)
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # whose failure is SQLAlchemy's
    finally:
        driver.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000:.0f}")
