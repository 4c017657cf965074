"""What users get when Yorc, or what lies between, goes wrong."""

from __future__ import annotations

import contextlib
import threading

import pytest

from hpcwaas.core.models import Status, StepStatus
from hpcwaas.engines.yorc.engine import YorcEngine
from hpcwaas.errors import ServiceError, Unavailable, UpstreamFailed, UpstreamTimeout
from tests.engines.orchestrated import ALL, until, whole_log
from tests.engines.yorc.helpers import DEMO, ENGINE, Make, start
from tests.simulators.faults import Fault, Kind
from tests.simulators.yorc import Simulator
from tests.waiting import until as eventually


def runs(engine: YorcEngine, reference: str) -> bool:
    """Whether it is known to run; a failure answers for all for a while."""
    with contextlib.suppress(ServiceError):
        return engine.state(reference).status is Status.RUNNING
    return False


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reset", Unavailable),
        ("cut", UpstreamFailed),
        ("truncate", UpstreamFailed),
        ("html", UpstreamFailed),
        ("trace", UpstreamFailed),
        ("empty", UpstreamFailed),
        ("hang", UpstreamTimeout),
    ],
)
def test_no_text_of_the_other_side_reaches_the_user(
    simulator: Simulator, make: Make, kind: Kind, error: type[ServiceError]
) -> None:
    engine = make(simulator, read_timeout=0.5 if kind == "hang" else 30)
    reference = start(engine, f"{DEMO}wait_long", seconds=100)
    simulator.fault(Fault(kind, "GET .*/tasks/", seconds=5))
    with pytest.raises(error) as caught:
        engine.cancel(reference)
    assert "Yorc" in caught.value.detail
    assert not any(word in caught.value.detail for word in ("html", "nginx", "goroutine", "PANIC", ".go"))
    simulator.heal()
    eventually(lambda: runs(engine, reference))


def test_what_is_known_is_shown_while_yorc_is_down(
    simulator: Simulator, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{ENGINE}.tracking._FRESH_EVENTS", 0.3)
    monkeypatch.setattr(f"{ENGINE}.tracking._FRESH_POLLED", 0.3)
    engine = make(simulator)
    reference, failed = start(engine, f"{DEMO}wait_long", seconds=100), start(engine, f"{DEMO}fail")
    until(engine, reference, Status.RUNNING)
    state = until(engine, failed, Status.FAILED)
    simulator.down()
    eventually(lambda: engine.state(reference).stale_since is not None)
    assert engine.state(reference).status is Status.RUNNING
    assert engine.state(failed) == state
    assert engine.silent_since() is not None
    assert engine.checks()[0].status == "failed"
    simulator.up()
    simulator.hurry(reference)
    assert until(engine, reference, Status.SUCCEEDED).stale_since is None
    eventually(lambda: {check.status for check in engine.checks()} == {"ok"})


def test_without_a_leader(engine: YorcEngine, simulator: Simulator) -> None:
    reference = start(engine, f"{DEMO}wait_long", seconds=100)
    until(engine, reference, Status.RUNNING)
    simulator.no_leader()
    with pytest.raises(Unavailable, match="no leader"):
        engine.cancel(reference)
    eventually(lambda: engine.checks()[1].status == "degraded")
    check, polls, _ = engine.checks()
    assert "store (Consul)" in check.problems[0]
    assert "no leader" in polls.problems[0]
    assert engine.state(reference).status is Status.RUNNING
    simulator.heal()
    simulator.hurry(reference)
    assert until(engine, reference, Status.SUCCEEDED)
    assert whole_log(engine, reference).entries[-1].content.endswith('"done"')


def test_a_restart_during_an_execution(engine: YorcEngine, simulator: Simulator) -> None:
    reference = start(engine, f"{DEMO}wait_long", seconds=100)
    until(engine, reference, Status.RUNNING)
    simulator.restart(0.5)
    simulator.hurry(reference)
    state = until(engine, reference, Status.SUCCEEDED)
    assert [step.status for step in state.steps] == [StepStatus.SUCCEEDED] * 2
    assert state.steps[0].ended_at is not None
    page = whole_log(engine, reference)
    assert [entry.index for entry in page.entries] == list(range(page.total))


def test_times_are_known_although_no_event_came(
    simulator: Simulator, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.fault(Fault("close", "GET /events"))
    engine = make(simulator)
    reference = start(engine)
    state = until(engine, reference, Status.SUCCEEDED)
    assert state.started_at is not None
    assert state.ended_at is not None
    assert all(step.started_at is not None for step in state.steps[:1])
    assert until(make(simulator), reference, Status.SUCCEEDED) == state  # as after a restart of the service


def test_closing_lets_all_who_wait_go(simulator: Simulator, make: Make) -> None:
    engine = make(simulator)
    reference = start(engine, f"{DEMO}wait_long", seconds=100)
    woken = threading.Event()
    end = engine.watch(reference, ALL, 1000, woken.set)
    engine.close()
    assert woken.wait(60)
    end()
    eventually(lambda: [it.name for it in threading.enumerate() if it.name.startswith("yorc")] == [])
