"""What is particular to PostgreSQL: how long it is waited for, how processes take turns, its errors."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError

from hpcwaas.common import written
from hpcwaas.errors import BadRequest, ConfigurationError, ServiceError, Unavailable

_CONNECT_SECONDS = 5
_LOCK_SECONDS = 10
"""How long a transaction waits for another one before it counts as unavailable."""

_STATEMENT_SECONDS = 30
_UPGRADE_SECONDS = 300
_PATIENT_SECONDS = 0.5
"""How long others wait for who waits for all tables: less than what a server takes for a deadlock."""

_CONNECTIONS = 20
"""Of one process, at most. Transactions take milliseconds: more threads than that share them well."""

_UPGRADING = 0x68706377
"""Number of the lock that those who upgrade take. Any will do that nobody else uses in this database."""

# What a request can be blamed for, by SQLSTATE (or its class), and what to say.
_REFUSED = {
    "22": "A value in the request can't be stored: it contains a NUL character, or is too large.",
    "54": "A text in the request is too long.",
}
# What passes when the request is sent again at once.
_LOCKED = "55P03"
_CROSSED = ("40001", "40P01")


def normalized(url: URL) -> URL:
    """A URL with the one driver that is used, whatever dialect of it was written.

    Raises:
        ConfigurationError: it names another one, or the password is where it would be shown.
    """
    if url.drivername not in ("postgresql+psycopg", "postgresql", "postgres"):
        raise ConfigurationError("store.url", f"expected postgresql+psycopg://…: {url.drivername} isn't supported")
    if "password" in url.query:
        raise ConfigurationError("store.url", "expected the password before the host, where it is kept out of sight")
    return url.set(drivername="postgresql+psycopg")


def make_engine(url: URL) -> Engine:
    """An engine for a server that may be far away, restarted, or gone."""
    options = {
        "lock_timeout": f"{_LOCK_SECONDS}s",
        "statement_timeout": f"{_STATEMENT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{_STATEMENT_SECONDS}s",
        "timezone": "UTC",  # moments near the calendar's ends have no other
    }
    own = " ".join(f"-c {name}={value}" for name, value in options.items())
    given = url.query.get("options")
    return create_engine(
        url,
        hide_parameters=True,
        json_serializer=written.dumps,
        json_deserializer=written.loads,
        pool_pre_ping=True,  # connections that a restart of the server has cut cost no request
        pool_size=_CONNECTIONS // 2,
        max_overflow=_CONNECTIONS - _CONNECTIONS // 2,
        pool_timeout=_LOCK_SECONDS,
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            "options": f"{own} {given}" if isinstance(given, str) else own,
            # A server that vanished without a word is noticed in half a minute.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            "application_name": "hpcwaas-api",
        },
    )


def reading(engine: Engine) -> Engine:
    """The engine for transactions that change nothing and see one moment, however many queries they make."""
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def take_turn(connection: Connection) -> None:
    """Waits until nobody else upgrades; holds until the end of the transaction."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_UPGRADE_SECONDS}s'")
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_UPGRADE_SECONDS}s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADING})")


def take_tables(connection: Connection, tables: Sequence[str]) -> None:
    """Waits until nobody uses any of the tables, and keeps everybody from them until the end of the transaction. While
    others use one of them it lets go of all, so that nobody waits for long, or in a circle."""
    names = ", ".join(f'"{name}"' for name in tables)
    until = time.monotonic() + _UPGRADE_SECONDS
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENT_SECONDS}s'")
    while tables:
        attempt = connection.begin_nested()
        try:
            connection.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
        except DBAPIError as error:
            attempt.rollback()
            if getattr(error.orig, "sqlstate", None) not in (_LOCKED, *_CROSSED) or time.monotonic() > until:
                raise
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 # nothing secret
        else:
            attempt.commit()
            return


def take_time(connection: Connection) -> None:
    """Lets the transaction that has begun last for as long as it needs."""
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def let_pass(connection: Connection) -> None:
    """Lets the transaction that has begun be committed without waiting for the disk."""
    connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


def blamed(error: DBAPIError) -> ServiceError | None:
    """What an error means when it says more than that the database can't be used."""
    # Without a state it comes from the driver: `DataError` is its word for a NUL character.
    state = getattr(error.orig, "sqlstate", None) or ("22" if type(error.orig).__name__ == "DataError" else "")
    if state in _CROSSED:
        return Unavailable("Two requests got in each other's way. Send it again.", retry_after=1)
    if detail := _REFUSED.get(state[:2]):
        return BadRequest(detail)
    return None


def words(error: BaseException | None) -> str:
    """An error's own words for the log, without the values that its details quote."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return primary or " ".join(str(error).split())
