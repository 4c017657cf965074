"""Databases with as many executions as are wanted, written by the database itself."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import create_engine, text

from hpcwaas.store.database import Database

GROUPS, WORKFLOWS = 100, 7
SOURCE = "00000000-0000-4000-8000-000000000000"
"""Id of the execution whose outputs many others took."""

START = datetime(2026, 1, 1, tzinfo=UTC)
STEP = 20
"""Seconds between two executions."""

UNFINISHED = 200
"""Of all, the newest."""

_MOMENTS = {
    "sqlite": r"strftime('%Y-%m-%d %H\:%M\:%S', '2026-01-01', '+' || (n * 20) || ' seconds') || '.000000'",
    "postgresql": "CAST('2026-01-01' AS timestamptz) + n * interval '20 seconds'",
}
_IDS = {"sqlite": "printf('%08x', n)", "postgresql": "lpad(to_hex(n), 8, '0')"}

_EXECUTIONS = """
INSERT INTO executions (id, owner, workflow_id, workflow_name, engine, reference, inputs, created_at, status,
                        started_at, ended_at, steps, outputs, inputs_size, kept_size)
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count - 1),
numbered AS (
    SELECT n, {moment} AS moment, CASE WHEN n >= :count - :unfinished THEN 'RUNNING' WHEN n % 10 = 3 THEN 'FAILED'
                                       WHEN n % 1000 = 1 THEN 'CANCELLED' ELSE 'SUCCEEDED' END AS status
    FROM numbers
)
SELECT {id} || '-0000-4000-8000-000000000000', 'user' || (n % :users), 'workflow' || (n % :workflows), 'A workflow',
       'elsewhere', CAST(n AS text), :object, moment, status, moment,
       CASE WHEN n < :count - :unfinished THEN moment END, :list, :object, 20, 1000
FROM numbered
"""
"""Their engine isn't configured: what a list costs beside the database isn't what is measured."""

_SHARES = """
INSERT INTO shares (execution_id, kind, name, owner, workflow_id, status, created_at)
SELECT id, 'group', 'group' || (CAST(substr(owner, 5) AS integer) % :groups), owner, workflow_id, status, created_at
FROM executions WHERE CAST(reference AS integer) / :users % 5 = 0
"""
_SOURCES = """
INSERT INTO execution_sources (execution_id, source_id, owner, created_at)
SELECT id, :source, owner, created_at FROM executions WHERE CAST(reference AS integer) / :users % 5 = 1
"""


def fill(url: str, count: int, users: int) -> None:
    """Makes a database the service's. Owners and workflows take turns; a fifth of the executions is shared with one of
    the groups, another took outputs of the first one.

    Args:
        count: of executions.
        users: who own them: `user0` and so on.
    """
    database = Database(url)
    database.upgrade()
    database.close()
    engine = create_engine(url)
    name = engine.dialect.name
    parameters = {
        "users": users, "groups": GROUPS, "workflows": WORKFLOWS, "unfinished": UNFINISHED, "count": count,
        "source": SOURCE, "object": '{"number": 1}', "list": "[]",
    }  # fmt: skip
    with engine.begin() as connection:
        for statement in (_EXECUTIONS, _SHARES, _SOURCES):
            needed = {key: value for key, value in parameters.items() if f":{key}" in statement}
            connection.execute(text(statement.format(moment=_MOMENTS[name], id=_IDS[name])), needed)
    if name == "postgresql":  # which it does by itself, soon
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def id_of(number: int) -> str:
    """Id of the execution that was made after so many others."""
    return f"{number:08x}-0000-4000-8000-000000000000"
