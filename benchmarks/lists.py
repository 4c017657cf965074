"""Pages of lists of a million executions, beside those of ten thousand in the same run, on SQLite and PostgreSQL.

Pages of both are read in turns: the first, and one far behind it. Goal: those of the large one take at most 1.5 times
as long. Where there is no PostgreSQL of Debian's packages, only SQLite is measured, and that is said.

    python benchmarks/lists.py [EXECUTIONS]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from hpcwaas.core.models import ExecutionFilter, Status
from hpcwaas.core.people import Principal
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from tests import many
from tests.postgresql import PostgreSQL

FEW, USERS, LIMIT, ROUNDS, GOAL = 10_000, 100, 50, 40, 1.5
UNTIL = many.START + timedelta(seconds=many.STEP * FEW * 0.9)
USER = Principal("user1", "User 1", groups=frozenset({"group5", "group6"}))
FILTERS = {
    "own": ExecutionFilter("user1"),
    "own, failed": ExecutionFilter("user1", statuses=[Status.FAILED]),
    "own, running": ExecutionFilter("user1", statuses=[Status.RUNNING]),
    "own, of a workflow": ExecutionFilter("user1", workflow_id="workflow3"),
    "own, of an unknown workflow": ExecutionFilter("user1", workflow_id="no"),
    "own, until": ExecutionFilter("user1", created_before=UNTIL),
    "own, took outputs": ExecutionFilter("user1", inputs_from=many.SOURCE),
    "everybody's": ExecutionFilter(),
    "everybody's, failed": ExecutionFilter(statuses=[Status.FAILED]),
    "everybody's, of a workflow": ExecutionFilter(workflow_id="workflow3"),
    "everybody's, of an unknown workflow": ExecutionFilter(workflow_id="no"),
    "everybody's, until": ExecutionFilter(created_before=UNTIL),
    "shared": ExecutionFilter(shared_with=USER),
    "shared, of an unknown workflow": ExecutionFilter(shared_with=USER, workflow_id="no"),
}


def measure(stores: tuple[ExecutionStore, ExecutionStore], wanted: ExecutionFilter, skipped: int) -> float:
    """How many times as long the same page takes in the second store."""
    cursors = [store.page(wanted, skipped)[1] if skipped else None for store in stores]
    limit = min(len(store.page(wanted, LIMIT, cursor)[0]) for store, cursor in zip(stores, cursors, strict=True)) or 1
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for which, store in enumerate(stores):
            started = time.perf_counter()
            store.page(wanted, limit, cursors[which])
            best[which] = min(best[which], time.perf_counter() - started)
    return best[1] / best[0]


def compare(name: str, urls: tuple[str, str], count: int) -> bool:
    """Measures and prints.

    Returns:
        whether the goal is met.
    """
    for url, size in zip(urls, (FEW, count), strict=True):
        many.fill(url, size, USERS)
    databases = [Database(url) for url in urls]
    stores = (ExecutionStore(databases[0]), ExecutionStore(databases[1]))
    ratios = {
        f"{title}, after {skipped}": measure(stores, wanted, skipped)
        for title, wanted in FILTERS.items()
        for skipped in (0, 99 if title.startswith(("own", "shared")) else 99 * LIMIT)
    }
    for database in databases:
        database.close()
    print(json.dumps({"database": name, **{title: round(ratio, 2) for title, ratio in ratios.items()}}))
    worst = max(ratios.values())
    print(f"{name}: worst ratio {worst:.2f} (goal: at most {GOAL}) {'met' if worst <= GOAL else 'MISSED'}")
    return worst <= GOAL


def main() -> None:
    """Measures both databases."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        met = compare("SQLite", (f"sqlite:///{directory}/few.db", f"sqlite:///{directory}/many.db"), count)
        try:
            server = stack.enter_context(PostgreSQL())
        except RuntimeError as error:
            print(f"PostgreSQL isn't measured: {error}")
            sys.exit(not met)
        with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CREATE DATABASE few")
            connection.execute("CREATE DATABASE many")
        base = server.url.rsplit("/", 1)[0]
        met &= compare("PostgreSQL", (f"{base}/few", f"{base}/many"), count)
    sys.exit(not met)


if __name__ == "__main__":
    main()
