"""Strangers at the probes: they learn little, and can't make them slow."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from hpcwaas.core.catalogue import Catalogue
from hpcwaas.store.database import Database
from tests.e2e.processes import eventually
from tests.service import IDLE, Client, as_user, make_settings, serving


@pytest.fixture(scope="module")
def frozen_vault() -> Iterator[str]:
    """Something that accepts connections and never answers; gives its address."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        connection.close()


@pytest.fixture(scope="module")
def url(frozen_vault: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with two request threads, and a vault that never answers."""
    config = {"address": frozen_vault, "role_id": "role", "secret_id": "a secret id"}
    with serving(make_settings(tmp_path_factory.mktemp("health"), vault_config=config, server={"threads": 2})) as url:
        yield url


def seconds(url: str, times: int) -> list[float]:
    """How long some requests took, the quickest first."""
    taken = []
    with requests.Session() as session:
        for _ in range(times):
            began = time.monotonic()
            assert session.get(url, timeout=60).status_code == 200
            taken.append(time.monotonic() - began)
    return sorted(taken)


def test_strangers_and_plain_users_learn_the_state_only(url: str) -> None:
    for ready in (requests.get(f"{url}/health/ready", timeout=60), as_user(url, "alice")("GET", "/health/ready")):
        assert (ready.status_code, ready.json()) == (200, {"status": "degraded"})
        assert ready.headers["Cache-Control"] == "no-store"
    assert requests.get(f"{url}/health/live", timeout=60).json() == {"status": "ok"}
    assert requests.head(f"{url}/health/ready", timeout=60).status_code == 200
    assert requests.post(f"{url}/health/ready", timeout=60).status_code == 405


def test_operators_learn_the_reasons(url: str) -> None:
    root = as_user(url, "root")
    checks: dict[str, Any] = {}

    def looked() -> bool:
        checks.update({check["name"]: check for check in root("GET", "/health/ready").json()["checks"]})
        return "catalogue" in checks

    eventually(looked)
    assert checks["store"]["status"] == "ok"
    assert checks["vault"]["status"] == "degraded"
    assert checks["vault"]["problems"]
    token = root("POST", "/tokens", json={"name": "weak", "scopes": ["executions:read"]}).json()["token"]
    weak = Client(url, {"Authorization": f"Bearer {token}"})
    assert weak("GET", "/health/ready").json() == {"status": "degraded"}


def test_wrong_credentials_are_refused(url: str) -> None:
    answer = Client(url, {"Authorization": "Bearer nonsense"})("GET", "/health/ready")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"]


def test_a_vault_that_never_answers_delays_nobody(url: str) -> None:
    taken = seconds(f"{url}/health/ready", 20)
    assert taken[-3] < 0.25, taken  # some of them may be the first that ask
    assert taken[-1] < 3, taken


def test_a_crowd_that_asks_whether_it_is_ready_does_not_make_it_look_dead(url: str) -> None:
    over = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not over.is_set():
                session.get(f"{url}/health/ready", timeout=60)

    crowd = [threading.Thread(target=ask) for _ in range(60)]
    for one in crowd:
        one.start()
    try:
        taken = seconds(f"{url}/health/live", 20)
    finally:
        over.set()
        for one in crowd:
            one.join()
    assert taken[-1] < 20, taken


def test_the_process_looks_alive_while_every_thread_is_busy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(Catalogue, "page", lambda *_, **__: go.wait(240))
    alice = as_user(url, "alice")
    busy = [threading.Thread(target=alice, args=("GET", "/workflows")) for _ in range(8)]
    for one in busy:
        one.start()
    try:
        for path in ("live", "ready"):
            seconds(f"{url}/health/{path}", 10)
        assert as_user(url, "root")("GET", "/health/ready").json()["checks"]
    finally:
        go.set()
        for one in busy:
            one.join()


def test_without_its_store_it_is_not_ready_but_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(make_settings(tmp_path, cwl=IDLE)) as url:
        eventually(lambda: requests.get(f"{url}/health/ready", timeout=60).json() == {"status": "ok"})
        monkeypatch.setattr(Database, "is_current", lambda _: False)
        eventually(lambda: requests.get(f"{url}/health/ready", timeout=60).status_code == 503)
        ready = requests.get(f"{url}/health/ready", timeout=60)
        assert (ready.status_code, ready.json()) == (503, {"status": "failed"})
        assert int(ready.headers["Retry-After"]) > 0
        assert requests.get(f"{url}/health/live", timeout=60).status_code == 200
