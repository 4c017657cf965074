"""What is particular to PostgreSQL: `make test-postgresql` runs it, on a server of its own that may be stopped."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from sqlalchemy import make_url, text

from hpcwaas.core.models import Execution, ExecutionFilter, ExecutionState, Status, Upload
from hpcwaas.errors import BadRequest, Unavailable
from hpcwaas.store import postgresql
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.secrets import SecretStore
from hpcwaas.store.uploads import UploadStore
from tests import databases
from tests.postgresql import PostgreSQL
from tests.service import as_user, make_settings, serving
from tests.waiting import until

pytestmark = [pytest.mark.skipif(not databases.POSTGRESQL, reason="runs on PostgreSQL only"), pytest.mark.together]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXECUTION = Execution("e", "alice", "w", "w", "cwl", {}, NOW, ExecutionState(Status.PENDING))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def own(server: PostgreSQL) -> Iterator[Database]:
    """A database of the server that may be stopped."""
    database = Database(server.url)
    database.upgrade()
    yield database
    database.close()


def test_only_what_must_last_waits_for_the_disk(own: Database) -> None:
    def synchronous(lasting: bool) -> str:
        with own.write(lasting=lasting) as session:
            return str(session.scalar(text("SHOW synchronous_commit")))

    with own.write() as session:  # servers of tests wait for nothing otherwise
        session.execute(text("ALTER ROLE CURRENT_USER SET synchronous_commit = on"))
    own.close()
    assert [synchronous(lasting) for lasting in (True, False, True)] == ["on", "off", "on"]


def fill_pool(database: Database) -> None:
    """Opens as many connections as there may be."""
    barrier = threading.Barrier(postgresql._CONNECTIONS)

    def connect(_: int) -> None:
        with database.read() as session:
            session.execute(text("SELECT 1"))
            barrier.wait(120)

    with ThreadPoolExecutor(postgresql._CONNECTIONS) as pool:
        list(pool.map(connect, range(postgresql._CONNECTIONS)))


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_usual_scheme_will_do(store_url: str, scheme: str) -> None:
    url = store_url.replace("postgresql+psycopg", scheme)
    database = Database(url)
    database.upgrade()
    assert database.check().status == "ok"
    database.close()


def test_texts_are_compared_alike_on_every_machine(database: Database) -> None:
    query = text(
        "SELECT table_name || '.' || column_name, collation_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND data_type = 'character varying'"
    )
    with database.read() as session:
        collations: dict[str, str] = dict(session.execute(query).tuples().all())
    assert len(collations) > 40
    assert {column for column, collation in collations.items() if collation != "C"} == set()


def test_values_that_it_cannot_store_are_bad_requests(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    executions = ExecutionStore(database)
    long = secrets.token_hex(10_000)  # doesn't fit into an index
    for refused in (
        lambda: executions.find_execution("a\0b", None),
        lambda: executions.add(replace(EXECUTION, owner="al\0ice")),
        lambda: executions.add(EXECUTION, (long, "f")),
        lambda: executions.add(replace(EXECUTION, inputs={"n": float("nan")})),
        lambda: UploadStore(database).add(Upload("f", "alice", "a", "text/plain", 2**63, "00", NOW)),
    ):
        with pytest.raises(BadRequest) as caught:
            refused()
        assert caught.value.__cause__ is None
        assert long not in caught.value.detail
    assert caplog.text == ""
    assert executions.page(ExecutionFilter(), limit=10) == ([], None)


def test_a_restart_costs_no_request_after_it(server: PostgreSQL, own: Database) -> None:
    store = ExecutionStore(own)
    fill_pool(own)
    server.stop()
    server.start()
    for _ in range(2 * postgresql._CONNECTIONS):
        assert store.unfinished() == []
    fill_pool(own)
    SecretStore(own).add(secrets.token_hex(8), b"x")


def test_a_server_that_is_down_is_unavailable(
    server: PostgreSQL, own: Database, caplog: pytest.LogCaptureFixture
) -> None:
    store = ExecutionStore(own)
    server.stop()
    try:
        begin = time.monotonic()
        for attempt in (store.unfinished, lambda: store.add(EXECUTION), own.upgrade):
            with pytest.raises(Unavailable) as caught:
                attempt()
            assert caught.value.retry_after > 0
        assert own.check().status == "failed"
        assert time.monotonic() - begin < 40
    finally:
        server.start()
    assert own.check().status == "ok"
    assert "refused" in caplog.text
    assert server.password not in caplog.text


def test_under_load_a_restart_makes_nothing_worse_than_unavailable(server: PostgreSQL, own: Database) -> None:
    store, stored = ExecutionStore(own), SecretStore(own)
    stop, begun = threading.Event(), threading.Barrier(9)
    unexpected: list[BaseException] = []
    confirmed: list[str] = []
    refused: list[float] = []

    def work(_: int) -> None:
        begun.wait()
        while not stop.is_set():
            name, began = secrets.token_hex(8), time.monotonic()
            try:
                store.unfinished()
                stored.add(name, b"x")
                confirmed.append(name)
            except Unavailable:
                refused.append(began)
                time.sleep(0.01)
            except BaseException as error:
                unexpected.append(error)

    with ThreadPoolExecutor(8) as pool:
        workers = [pool.submit(work, number) for number in range(8)]
        begun.wait()
        until(lambda: len(confirmed) > 8)
        server.stop()
        until(lambda: len(refused) > 8)
        server.start()
        serving_again = time.monotonic()
        time.sleep(0.7)
        stop.set()
    assert [worker.exception() for worker in workers] == [None] * 8
    assert unexpected == []
    assert refused
    assert max(refused) < serving_again
    assert all(stored.get(name) == b"x" for name in confirmed)


def test_requests_during_a_restart(server: PostgreSQL, own: Database, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, store={"url": server.url})
    answers: list[requests.Response] = []
    stop = threading.Event()
    with serving(settings) as url:
        user = as_user(url, "alice")
        assert user("GET", "/executions").status_code == 200

        def work(_: int) -> None:
            while not stop.is_set():
                answers.append(user("GET", "/executions"))
                answers.append(user("POST", "/workflows/echo", json={"inputs": {"message": "x"}}))

        with ThreadPoolExecutor(4) as pool:
            workers = [pool.submit(work, number) for number in range(4)]
            try:
                time.sleep(0.3)
                server.stop()
                answers.append(user("GET", "/executions"))
                assert answers[-1].status_code == 503
                server.start()
                assert user("GET", "/executions").status_code == 200
            finally:
                stop.set()
        assert [worker.exception() for worker in workers] == [None] * 4
    assert {answer.status_code for answer in answers} <= {200, 201, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.json()["detail"] == "The service's database can't be used at the moment."


def test_no_password_is_told(
    server: PostgreSQL, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    url = make_url(server.url).set(password="s3cret-" + server.password)
    database = Database(url.render_as_string(hide_password=False))
    with pytest.raises(Unavailable) as caught:
        database.upgrade()
    told = [*capfd.readouterr(), caplog.text, repr(database._engine)]
    error: BaseException | None = caught.value
    while error is not None:
        told.append(f"{error!r} {error}")
        error = error.__cause__ or error.__context__
    assert "authentication failed" in caplog.text
    assert [text for text in told if "s3cret" in text] == []
    database.close()


class TestPatience:
    @pytest.fixture
    def hurried(self, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
        monkeypatch.setattr(postgresql, "_LOCK_SECONDS", 1)
        monkeypatch.setattr(postgresql, "_STATEMENT_SECONDS", 2)
        database = Database(store_url)
        database.upgrade()
        yield database
        database.close()

    def test_for_a_lock(self, hurried: Database, database: Database) -> None:
        store = ExecutionStore(hurried)
        store.add(EXECUTION)
        with database.write() as session:
            session.execute(text("SELECT * FROM executions FOR UPDATE"))
            with pytest.raises(Unavailable):
                store.set_reference("e", "ref")
        store.set_reference("e", "ref")

    def test_for_a_statement(self, hurried: Database) -> None:
        with pytest.raises(Unavailable), hurried.read() as session:
            session.execute(text("SELECT pg_sleep(60)"))
        assert hurried.check().status == "ok"

    def test_for_a_connection(self, hurried: Database) -> None:
        barrier = threading.Barrier(postgresql._CONNECTIONS + 1)
        done = threading.Event()

        def hold(_: int) -> None:
            with hurried.read() as session:
                session.execute(text("SELECT 1"))
                barrier.wait(120)
                done.wait(120)

        with ThreadPoolExecutor(postgresql._CONNECTIONS) as pool:
            holders = [pool.submit(hold, number) for number in range(postgresql._CONNECTIONS)]
            barrier.wait(120)
            try:
                with pytest.raises(Unavailable):
                    ExecutionStore(hurried).unfinished()
            finally:
                done.set()
        assert [holder.exception() for holder in holders] == [None] * postgresql._CONNECTIONS


def test_a_deadlock_asks_for_another_try(database: Database) -> None:
    stored = SecretStore(database)
    for name in ("a", "b"):
        stored.add(name, b"x")
    both = threading.Barrier(2)

    def change(names: str) -> None:
        with database.write() as session:
            for name in names:
                session.execute(text("UPDATE secrets SET ciphertext = 'y' WHERE key_id = :name"), {"name": name})
                if name == names[0]:
                    both.wait(120)

    with ThreadPoolExecutor(2) as pool:
        errors = [each.exception() for each in [pool.submit(change, "ab"), pool.submit(change, "ba")]]
    (error,) = [error for error in errors if error is not None]
    assert isinstance(error, Unavailable)
    assert error.retry_after == 1
    assert "other" in error.detail


def test_many_threads_share_few_connections(database: Database) -> None:
    store = SecretStore(database)

    def work(number: int) -> None:
        store.add(f"{number}", b"x")
        assert store.get(f"{number}") == b"x"

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(256)))
    with database.read() as session:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        assert (session.scalar(query) or 0) <= postgresql._CONNECTIONS


def test_the_servers_own_options_are_kept(store_url: str) -> None:
    url = make_url(store_url).update_query_dict({"options": "-c work_mem=12MB"})
    database = Database(url.render_as_string(hide_password=False))
    with database.read() as session:
        assert session.scalar(text("SHOW work_mem")) == "12MB"
        assert session.scalar(text("SHOW lock_timeout")) == "10s"
        assert session.scalar(text("SHOW transaction_read_only")) == "on"
    database.close()
