"""What users get when Alien4Cloud, or what lies between, goes wrong."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hpcwaas.core.models import Status, StepStatus
from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from hpcwaas.errors import ServiceError, Unavailable, UpstreamFailed, UpstreamTimeout
from tests.engines.alien4cloud.helpers import ENGINE, RUN, Make, start
from tests.engines.orchestrated import ALL, made, until, whole_log
from tests.simulators.alien4cloud import Simulator
from tests.simulators.faults import Fault, Kind
from tests.waiting import until as eventually


def answers(engine: Alien4CloudEngine) -> bool:
    """Whether it lists the workflows; a failure answers for all for a while."""
    with contextlib.suppress(ServiceError):
        return len(engine.workflows()) == 4
    return False


def test_one_login_for_all_when_the_session_expires(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    engine.workflows()
    simulator.expire_sessions()
    simulator.forget_calls()
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda number: engine._client.executions(f"d{number}", 1), range(64)))
    assert found == [[]] * 64
    assert made(simulator, "POST /login") == 1


def test_a_wrong_password(simulator: Simulator, make: Make) -> None:
    engine = make(simulator, password="wrong")

    def ask(_: int) -> str:
        with pytest.raises(Unavailable) as caught:
            engine.workflows()
        return caught.value.detail

    with ThreadPoolExecutor(16) as pool:
        (detail,) = set(pool.map(ask, range(16)))
    assert "alien_config.password" in detail
    assert "wrong" not in detail
    assert made(simulator, "POST /login") == 1
    assert engine.checks()[0].status == "failed"


def test_endless_403(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    simulator.fault(Fault("expired", "/rest/latest"))
    with pytest.raises(UpstreamFailed, match="asks for it again"):
        engine.workflows()
    assert simulator.call_count() == 4  # twice the login and the call


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
    engine = make(simulator, read_timeout=0.3 if kind == "hang" else 30)
    simulator.fault(Fault(kind, "applications/search", seconds=5))
    with pytest.raises(error) as caught:
        engine.workflows()
    assert "Alien4Cloud" in caught.value.detail
    assert not any(word in caught.value.detail for word in ("html", "nginx", "java", "org.", "\tat"))
    simulator.heal()
    eventually(lambda: answers(engine))


@pytest.mark.parametrize("kind", ["reset", "cut", "html"])
def test_a_safe_call_is_tried_again(engine: Alien4CloudEngine, simulator: Simulator, kind: Kind) -> None:
    simulator.fault(Fault(kind, "applications/search", times=2))
    assert len(engine.workflows()) == 4


def test_lost_events_are_made_up_for(
    engine: Alien4CloudEngine, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{ENGINE}.tracking._FRESH_EVENTS", 0.5)
    reference = start(engine)
    simulator.lose_events()
    assert until(engine, reference, Status.SUCCEEDED).steps[0].status is StepStatus.SUCCEEDED


def test_a_restart_during_an_execution(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    reference = start(engine, f"{RUN}slow_job")
    until(engine, reference, Status.RUNNING)
    simulator.restart(0.5)
    simulator.hurry(reference)
    assert until(engine, reference, Status.SUCCEEDED).outputs == {"result": "result-of-slow_job"}
    assert [entry.index for entry in whole_log(engine, reference).entries] == list(range(5))
    eventually(lambda: simulator.subscriptions() > 0)


def test_close_ends_all_threads(simulator: Simulator, make: Make) -> None:
    engine = make(simulator)
    reference = start(engine, f"{RUN}slow_job")
    woken = threading.Event()
    end = engine.watch(reference, ALL, 1000, woken.set)
    engine.close()
    assert woken.wait(60)
    end()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("alien4cloud-")] == []
