"""How requests and executions of a user are counted."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hpcwaas.core.limits import Limits
from hpcwaas.core.models import Execution, ExecutionState, Status, Upload
from hpcwaas.core.request_counts import RequestCounts, SharedCounts
from hpcwaas.core.settings import LimitsPerUser
from hpcwaas.errors import TooManyRequests
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.uploads import UploadStore

NOW = datetime.now(UTC)


def limits(database: Database, per_minute: int | None) -> Limits:
    settings = LimitsPerUser(requests=per_minute)
    return Limits(settings, ExecutionStore(database), UploadStore(database), RequestCounts())


def test_requests_of_a_minute_that_moves(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_015.0  # a quarter of a minute has passed
    monkeypatch.setattr(time, "time", lambda: now)
    limited = limits(database, 60)
    for _ in range(60):
        limited.count_request("alice")
    with pytest.raises(TooManyRequests, match="60 requests in the last minute") as refused:
        limited.count_request("alice")
    assert refused.value.retry_after == 45
    limited.count_request("bob")
    assert limited.usage("alice")["requests"].used == 60
    now += 45 + 30  # half of the minute before counts
    assert limited.usage("alice")["requests"].used == 30
    for _ in range(30):
        limited.count_request("alice")
    with pytest.raises(TooManyRequests) as refused:
        limited.count_request("alice")
    assert refused.value.retry_after == 1
    now += 120
    assert limited.usage("alice")["requests"].used == 0


def test_without_a_limit_they_are_counted_all_the_same(database: Database) -> None:
    limited = limits(database, None)
    for _ in range(7):
        limited.count_request("alice")
    usage = limited.usage("alice")["requests"]
    assert (usage.used, usage.limit) == (7, None)


def test_counting_is_cheap_and_forgets(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = limits(database, 10**6)
    threads = threading.active_count()
    started = time.process_time()
    for number in range(20_000):
        limited.count_request(f"user {number % 500}")
    assert (time.process_time() - started) / 20_000 < 50e-6  # it takes 5 microseconds; machines differ
    assert threading.active_count() == threads
    later = time.time() + 200
    monkeypatch.setattr(time, "time", lambda: later)
    assert limited.usage("user 1")["requests"].used == 0


def test_workers_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0  # a minute begins
    monkeypatch.setattr(time, "time", lambda: now)
    shared = SharedCounts(3)
    workers = [RequestCounts(shared, row) for row in range(3)]
    for number, worker in enumerate(workers, start=1):
        for _ in range(number * 10):
            worker.add("alice")
    assert [worker.used("alice") for worker in workers] == [60, 60, 60]
    assert [worker.used("bob") for worker in workers] == [0, 0, 0]
    now += 60 + 30  # half of the minute before counts
    workers[0].add("alice")
    assert [worker.used("alice") for worker in workers] == [31, 31, 31]
    assert workers[1].wait("alice", 31) == 1
    # One that was killed is followed by another with its row: what it had counted goes on counting for the others.
    workers[2] = RequestCounts(shared, 2)
    assert workers[0].used("alice") == 31
    now += 120
    assert [worker.used("alice") for worker in workers] == [0, 0, 0]


def test_users_are_not_taken_for_others() -> None:
    shared = SharedCounts(2)
    mine, other = RequestCounts(shared, 0), RequestCounts(shared, 1)
    for number in range(2000):
        other.add(f"user {number}")
    counted = [mine.used(f"user {number}") for number in range(2000)]
    assert sum(counted) < 2000 * 1.01  # one of a thousand may share both cells


def execution(number: int, owner: str = "alice") -> Execution:
    return Execution(
        f"{owner}-{number}", owner, "echo", "echo", "cwl", {}, NOW, ExecutionState(Status.PENDING)
    )  # fmt: skip


def test_executions_are_counted_where_they_are_stored(database: Database) -> None:
    records = ExecutionStore(database)

    def add(number: int) -> bool:
        try:
            return records.add(execution(number), at_most=3)[1]
        except TooManyRequests:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(24))) == 3
    assert records.count_unfinished("alice") == 3
    assert records.count_unfinished("bob") == 0
    assert records.add(execution(0, "bob"), at_most=3)[1]
    (first, *_) = records.unfinished("alice")
    records.save_state(first.id, ExecutionState(Status.FAILED, ended_at=NOW))
    assert records.count_unfinished("alice") == 2
    records.check_number("alice", 3)
    assert add(100)
    with pytest.raises(TooManyRequests):
        records.check_number("alice", 3)
    assert records.add(execution(200))[1]  # whoever sets no limit has none


def test_an_idempotency_key_finds_its_execution_at_the_limit(database: Database) -> None:
    records = ExecutionStore(database)
    first, _ = records.add(execution(1), ("key", "print"), at_most=1)
    assert records.add(execution(2), ("key", "print"), at_most=1) == (first, False)
    with pytest.raises(TooManyRequests):
        records.add(execution(3), ("other", "print"), at_most=1)


def test_stored_bytes_are_counted_where_they_are_stored(database: Database) -> None:
    records = UploadStore(database)
    upload = Upload("file-0", "alice", "a", "text/plain", 2**40, "0" * 64, NOW)

    def add(number: int) -> bool:
        try:
            records.add(replace(upload, id=f"file-{number}"), at_most=3 * 2**40)
        except TooManyRequests:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(24))) == 3
    assert records.stored("alice") == 3 * 2**40
    assert records.stored("bob") == 0
    records.check_room("alice", 0, 3 * 2**40)
    with pytest.raises(TooManyRequests, match=f"{3 * 2**40} bytes stored, of {3 * 2**40}.*Delete some first"):
        records.check_room("alice", 1, 3 * 2**40)
    with pytest.raises(TooManyRequests, match="It never will"):
        records.check_room("bob", 3 * 2**40 + 1, 3 * 2**40)


def test_executions_and_files_share_one_limit(database: Database) -> None:
    records, uploads = ExecutionStore(database), UploadStore(database)
    large = replace(execution(1), inputs={"text": "x" * 1000})
    records.add(large, room=2000)
    assert 1000 < uploads.stored("alice") < 1100
    assert uploads.stored("bob") == 0
    with pytest.raises(TooManyRequests, match="another execution doesn't fit"):
        records.add(replace(execution(2), inputs={"text": "x" * 1000}), room=2000)
    records.save_state(large.id, ExecutionState(Status.SUCCEEDED, ended_at=NOW, outputs={"o": "y" * 100}, stored=500))
    assert 1600 < uploads.stored("alice") < 1700
    records.save_state(large.id, ExecutionState(Status.SUCCEEDED, ended_at=NOW, stored=9000))  # it stays as it ended
    assert uploads.stored("alice") < 1700
    with pytest.raises(TooManyRequests, match="this file doesn't fit"):
        uploads.check_room("alice", 500, 2000)
    first, new = records.add(execution(3), ("key", "print"), room=2000)
    assert new
    assert records.add(replace(execution(4), inputs={"text": "x" * 1000}), ("key", "print"), room=2000) == (
        first,
        False,
    )
