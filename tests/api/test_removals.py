"""Deleting executions that have ended, with everything that is kept of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.engines.cwl.storage.spool import Spool
from tests.service import as_user, make_settings, serving
from tests.waiting import until

PURGE = {"params": {"purge": "true"}}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def service(data_dir: Path) -> Iterator[str]:
    with serving(make_settings(data_dir)) as url:
        yield url


@pytest.fixture
def alice(service: str) -> Any:
    return as_user(service, "alice")


@pytest.fixture
def ended(alice: Any, data_dir: Path) -> str:
    """The path of an execution of alice's that has ended."""
    path: str = alice.trigger("echo", message="hello")
    assert over(alice, data_dir, path)["status"] == "SUCCEEDED"
    return path


def over(user: Any, data_dir: Path, path: str) -> Any:
    """Waits until an execution has ended, and nothing is at work on it any more; gives it."""
    found = user.finished(path)
    until(lambda: not Spool(data_dir / "cwl").busy_with(path.rpartition("/")[2]))
    return found


def acts(data_dir: Path, path: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (data_dir / "audit.jsonl").read_text().splitlines()]
    return [line for line in lines if line.get("object") == path]


def test_nothing_is_left_of_it(alice: Any, data_dir: Path, ended: str) -> None:
    directory = data_dir / "cwl" / "executions" / ended.rpartition("/")[2]
    location = alice("GET", ended).json()["outputs"]["text"]["location"]
    before = alice("GET", "/whoami").json()["limits"]["stored"]["used"]
    assert directory.is_dir()
    answer = alice("DELETE", ended, **PURGE)
    assert (answer.status_code, answer.content) == (204, b"")
    assert not directory.exists()
    for path in (ended, location, f"{ended}/logs", f"{ended}/shares"):
        assert alice("GET", path).status_code == 404
    assert alice("DELETE", ended, **PURGE).status_code == 404
    assert ended.rpartition("/")[2] not in alice("GET", "/executions").text
    assert alice("GET", "/whoami").json()["limits"]["stored"]["used"] < before
    until(lambda: not list((data_dir / "cwl" / "removed").iterdir()))


def test_the_audit_says_who_did_it(alice: Any, data_dir: Path, ended: str) -> None:
    alice("DELETE", ended, **PURGE)
    removed, asked = acts(data_dir, ended)[-2:]
    assert (asked["who"], asked["operation"], asked["purge"], asked["result"]) == (
        "alice",
        "cancelExecution",
        True,
        204,
    )
    assert (removed["who"], removed["operation"], removed["owner"]) == (None, "executionRemoved", "alice")


def test_one_that_has_not_ended_is_refused_and_goes_on(alice: Any, data_dir: Path) -> None:
    path = alice.trigger("slow", seconds=600)
    answer = alice("DELETE", path, **PURGE)
    assert answer.status_code == 409
    assert "Cancel it first" in answer.json()["detail"]
    assert alice("GET", path).json()["status"] in ("PENDING", "RUNNING")
    assert alice("DELETE", path).status_code == 202
    assert over(alice, data_dir, path)["status"] == "CANCELLED"
    assert alice("DELETE", path, **PURGE).status_code == 204


def test_without_the_parameter_nothing_is_deleted(alice: Any, ended: str) -> None:
    for parameters in ({}, {"purge": "false"}):
        assert alice("DELETE", ended, params=parameters).status_code == 409
    assert alice("DELETE", ended, params={"purge": "maybe"}).status_code == 400
    assert alice("GET", ended).json()["outputs"]["text"]["class"] == "File"


def test_whose_it_is_decides(service: str, alice: Any, ended: str) -> None:
    bob, root = as_user(service, "bob"), as_user(service, "root")
    assert bob("DELETE", ended, **PURGE).status_code == 404
    alice("PUT", f"{ended}/shares", json={"users": ["bob"]})
    assert bob("DELETE", ended, **PURGE).status_code == 403
    assert bob("GET", ended).status_code == 200
    assert root("DELETE", ended, **PURGE).status_code == 204
    assert bob("GET", ended).status_code == 404
    assert alice("GET", ended).status_code == 404


def test_its_key_of_idempotency_starts_nothing_again(alice: Any, data_dir: Path) -> None:
    order = {"json": {"inputs": {"message": "once"}}, "headers": {"Idempotency-Key": "once"}}
    path = alice("POST", "/workflows/echo", **order).headers["Location"]
    over(alice, data_dir, path)
    assert alice("DELETE", path, **PURGE).status_code == 204
    again = alice("POST", "/workflows/echo", **order)
    assert again.status_code == 409
    assert "was deleted" in again.json()["detail"]


def test_outputs_that_were_taken_stay_with_whoever_took_them(alice: Any, ended: str) -> None:
    location = alice("GET", ended).json()["outputs"]["text"]["location"]
    given = {"file": {"class": "File", "location": location}}
    taker = alice("POST", "/workflows/values", json={"inputs": given})
    if taker.status_code == 400:
        pytest.fail(taker.text)
    path = taker.headers["Location"]
    alice.finished(path)
    assert alice("DELETE", ended, **PURGE).status_code == 204
    took = alice("GET", path).json()
    assert took["inputs_from"] == [ended.rpartition("/")[2]]
    refused = alice("POST", "/workflows/values", json={"inputs": given})
    assert refused.status_code == 400
    assert "no such execution" in refused.json()["detail"]
