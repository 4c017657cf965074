"""What the service says of its own state."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import wait

import pytest

from hpcwaas.core import health
from hpcwaas.core.health import Health
from hpcwaas.core.models import Check
from tests.e2e.processes import eventually


class Part:
    """Something that is asked for its state, and may hang."""

    def __init__(self, name: str) -> None:
        self.name, self.status = name, "ok"
        self.asked = 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> Sequence[Check]:
        self.asked += 1
        self.go.wait(60)
        return [Check(self.name, self.status, 0.0, () if self.status == "ok" else (f"{self.name} is out of order.",))]


@pytest.fixture
def store() -> Part:
    return Part("store")


@pytest.fixture
def vault() -> Part:
    return Part("vault")


@pytest.fixture
def state(store: Part, vault: Part, monkeypatch: pytest.MonkeyPatch) -> Health:
    monkeypatch.setattr(health, "_FRESH", 0.0)
    return Health({"store": store}, {"vault": vault})


def looked(state: Health) -> tuple[str, dict[str, tuple[str, Sequence[str]]]]:
    """Looks, and waits as long as an answer would."""
    wait(*state.look())
    report = state.report()
    return report.status, {check.name: (check.status, check.problems) for check in report.checks}


def test_what_the_process_depends_on_never_makes_it_fail(state: Health, vault: Part) -> None:
    assert looked(state) == ("ok", {"store": ("ok", ()), "vault": ("ok", ())})
    vault.status = "failed"
    assert looked(state) == ("degraded", {"store": ("ok", ()), "vault": ("degraded", ("vault is out of order.",))})


def test_its_own_store_does(state: Health, store: Part) -> None:
    store.status = "failed"
    status, checks = looked(state)
    assert status == "failed"
    assert checks["store"] == ("failed", ("store is out of order.",))


def test_what_hangs_is_asked_once_and_waited_for_once(
    state: Health, vault: Part, store: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looked(state)[0] == "ok"
    vault.go.clear()
    try:
        assert looked(state)[0] == "ok"  # as it was a moment ago
        monkeypatch.setattr(health, "_QUICK", 0.0)
        assert [state.look() for _ in range(20)] == [([], 0.0)] * 20
        assert vault.asked == 2
        assert store.asked > 2
        monkeypatch.setattr(health, "_FRESH", 60.0)
        monkeypatch.setattr(health, "_LATE", 0.001)
        eventually(lambda: looked(state)[1]["store"][0] == "ok")
        assert looked(state) == ("degraded", {"store": ("ok", ()), "vault": ("degraded", ("It hasn't answered yet.",))})
    finally:
        vault.go.set()


def test_a_store_that_hangs_from_the_start_is_a_failure(
    state: Health, store: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_FIRST", 0.1)
    store.go.clear()
    try:
        assert looked(state)[0] == "failed"
    finally:
        store.go.set()


def test_what_was_checked_a_moment_ago_is_not_checked_again(store: Part) -> None:
    state = Health({"store": store}, {})
    for _ in range(50):
        assert looked(state)[0] == "ok"
    assert store.asked == 1


def test_a_check_that_breaks_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Sequence[Check]:
        raise ZeroDivisionError

    state = Health({}, {"vault": broken})
    assert looked(state) == (
        "degraded",
        {"vault": ("degraded", ("Its state is unknown; the service's log says why.",))},
    )
    assert "The state of vault is unknown" in caplog.text


def test_a_change_is_logged_once_a_minute(
    state: Health, vault: Part, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "hpcwaas.core.health")
    vault.status = "failed"
    for _ in range(3):
        looked(state)
    vault.status = "ok"
    looked(state)
    assert [entry.getMessage() for entry in caplog.records] == ["vault is degraded: vault is out of order."]
    monkeypatch.setattr(health, "_TELL_EVERY", 0.0)
    looked(state)
    assert [entry.getMessage() for entry in caplog.records][1:] == ["vault is in order again"]
