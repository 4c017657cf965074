"""What becomes of an execution of which a crash left only the intent, and of retries with its idempotency key."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import pytest

from hpcwaas.api.application import Services
from hpcwaas.app import assemble
from hpcwaas.configuration.settings import Settings
from hpcwaas.core.models import Execution, ExecutionState, Status
from hpcwaas.core.people import Principal
from hpcwaas.errors import NotFound, Unavailable
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from tests.service import CATALOGUE, cwl_section, make_settings

ALICE = Principal("alice", "alice")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    for name in ("echo.cwl", "values.cwl"):
        (catalogue / name).write_bytes((CATALOGUE / name).read_bytes())
    return make_settings(tmp_path / "data", cwl={"catalogue": catalogue})


@pytest.fixture
def store(settings: Settings) -> Iterator[ExecutionStore]:
    settings.data_dir.mkdir()
    database = Database(settings.database_url)
    database.upgrade()
    yield ExecutionStore(database)
    database.close()


@pytest.fixture
def parts(settings: Settings, store: ExecutionStore) -> Iterator[Services]:
    parts = assemble(settings)
    yield parts
    parts.close()


def intent(store: ExecutionStore, workflow_id: str, **inputs: object) -> Execution:
    state = ExecutionState(Status.PENDING)
    now = datetime.now(UTC)
    return store.add(Execution(str(uuid4()), "alice", workflow_id, workflow_id, "cwl", inputs, now, state))[0]


def ended(parts: Services, execution_id: str) -> Execution:
    deadline = time.monotonic() + 90
    while not (execution := parts.executions.get(ALICE, execution_id)).state.status.over:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return execution


def test_it_is_started(parts: Services, store: ExecutionStore) -> None:
    left = intent(store, "echo", message="hello")
    parts.executions.recover(left)
    assert ended(parts, left.id).state.status is Status.SUCCEEDED


def test_inputs_that_fit_no_longer_are_a_failure_with_the_reason(parts: Services, store: ExecutionStore) -> None:
    left = intent(store, "echo", massage="hello")
    parts.executions.recover(left)
    state = ended(parts, left.id).state
    assert state.status is Status.FAILED
    assert "massage" in (state.reason or "")
    assert store.without_reference(datetime.now(UTC) + timedelta(hours=1)) == []


def test_an_upload_that_is_gone_is_a_failure_with_the_reason(
    parts: Services, store: ExecutionStore, settings: Settings
) -> None:
    upload = parts.uploads.save("alice", "a.txt", "text/plain", BytesIO(b"a"), 1)
    (settings.data_dir / "files" / upload.id).unlink()  # between check and start, as far as can be seen
    left = intent(store, "values", file={"class": "File", "location": upload.id})
    parts.executions.recover(left)
    state = ended(parts, left.id).state
    assert (state.status, "deleted" in (state.reason or "")) == (Status.FAILED, True)


def test_what_cannot_be_started_just_now_is_not_forgotten(
    parts: Services, store: ExecutionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = intent(store, "echo", message="hello")

    def full(*_: object, **__: object) -> None:
        raise Unavailable("The disk of the service is full.")

    with monkeypatch.context() as patch:
        patch.setattr("hpcwaas.engines.cwl.sites.local.LocalSite.submit", full)
        with pytest.raises(Unavailable):
            parts.executions.recover(left)
    assert store.find_execution(left.id, "alice") == left
    parts.executions.recover(left)
    assert ended(parts, left.id).state.status is Status.SUCCEEDED


def test_what_was_begun_goes_on_though_its_inputs_are_gone(
    parts: Services, store: ExecutionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = parts.uploads.save("alice", "a.txt", "text/plain", BytesIO(b"a"), 1)
    left = intent(store, "values", file={"class": "File", "location": upload.id})

    def killed(*_: object) -> None:
        raise Unavailable("This is where the process was killed.")

    with monkeypatch.context() as patch:
        patch.setattr(ExecutionStore, "set_reference", killed)
        with pytest.raises(Unavailable):
            parts.executions.recover(left)
    parts.uploads.delete(ALICE, upload.id)
    parts.executions.recover(left)
    assert store.find_execution(left.id, "alice").reference == left.id
    assert ended(parts, left.id).state.status is Status.SUCCEEDED


def test_a_retry_finds_the_execution_whatever_has_changed_since(parts: Services, settings: Settings) -> None:
    first = parts.executions.trigger(ALICE, "echo", {"message": "hello"}, "key")
    catalogue = cwl_section(settings).catalogue
    assert catalogue
    (catalogue / "echo.cwl").unlink()
    deadline = time.monotonic() + 90
    while "echo" in {each.id for each in parts.catalogue.page(ALICE, None, None, None)[0].workflows}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(NotFound):
        parts.executions.dry_run(ALICE, "echo", {"message": "hello"})
    assert parts.executions.trigger(ALICE, "echo", {"message": "hello"}, "key").id == first.id
