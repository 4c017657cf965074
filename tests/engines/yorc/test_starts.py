"""Starting executions: few calls, never twice, and none is lost."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpcwaas.core.models import Status
from hpcwaas.engines.yorc.engine import YorcEngine
from hpcwaas.errors import BadRequest, Conflict, NotFound, ServiceError, Unavailable, UncertainStart
from tests.engines.orchestrated import made, until
from tests.engines.yorc.helpers import DEMO, Make, start
from tests.simulators.faults import Fault, Kind
from tests.simulators.yorc import Simulator
from tests.simulators.yorc_worlds import demo
from tests.waiting import until as eventually

RUN = "POST .*workflows/hello"
SEARCH = "hpcwaas.engines.orchestrated.starting._SEARCH"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start without an answer is looked for often."""
    monkeypatch.setattr(f"{SEARCH}_EVERY", 0.1)


def test_a_start_takes_few_calls(engine: YorcEngine, simulator: Simulator) -> None:
    start(engine)
    time.sleep(0.2)
    simulator.forget_calls()
    details = engine.workflow(f"{DEMO}hello", current=True)
    engine.start("id", details, engine.prepare(details, {"who": "bob"}, lambda _: None))
    calls = [call for call in simulator.calls() if "/logs" not in call.path and "/events" not in call.path]
    assert sorted(call.method for call in calls) == ["GET", "GET", "POST"]  # the first two at the same time


@pytest.mark.parametrize("kind", ["hang", "reset", "cut", "html", "truncate", "trace", "close"])
def test_a_start_whose_answer_is_lost_is_found(simulator: Simulator, make: Make, kind: Kind) -> None:
    engine = make(simulator, read_timeout=2 if kind == "hang" else 30)
    engine.workflows()
    simulator.launch("demo-Environment", "exec_job")  # something else that begins at the same time
    simulator.fault(Fault(kind, RUN, after=True, seconds=10))
    reference = start(engine)
    assert made(simulator, "POST /deployments/demo-Environment/workflows/hello") == 1
    simulator.heal()
    assert until(engine, reference, Status.SUCCEEDED).outputs == {"greeting": "hello bob x2"}


@pytest.mark.parametrize("kind", ["reset", "hang", "html"])
def test_a_start_that_never_took_effect_is_not_tried_again(
    simulator: Simulator, make: Make, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    monkeypatch.setattr(SEARCH, 1)
    engine = make(simulator, read_timeout=2)
    engine.workflows()
    simulator.fault(Fault(kind, RUN))
    with pytest.raises(UncertainStart, match="Yorc didn't say"):
        start(engine)
    assert made(simulator, "POST /deployments/demo-Environment/workflows/hello") == 1


def test_an_error_of_yorc_after_which_nothing_runs_is_told(
    simulator: Simulator, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SEARCH, 1)
    engine = make(simulator)
    details = engine.workflow(f"{DEMO}hello")
    odd = {"who": "bob"}
    monkeypatch.setattr(engine._client.transport, "call", _broken(engine, simulator))
    with pytest.raises(ServiceError, match="answered the request with an error") as caught:
        engine.start("id", details, odd)
    assert not isinstance(caught.value, UncertainStart)


def _broken(engine: YorcEngine, simulator: Simulator):  # type: ignore[no-untyped-def]
    """Sends what isn't JSON when something is started, to which Yorc says 500."""
    call = engine._client.transport.call

    def broken(method: str, path: str, **options: object) -> object:
        if method == "POST":
            options["body"] = ["not", "an", "object"]
        return call(method, path, **options)  # type: ignore[arg-type]

    return broken


def test_nothing_is_started_twice_under_one_id(
    simulator: Simulator, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(simulator)
    reference = start(first, id_="one")
    assert start(first, id_="one") == reference
    monkeypatch.setattr(SEARCH, 0)
    simulator.fault(Fault("reset", RUN, after=True))
    with pytest.raises(UncertainStart):
        start(first, id_="two")
    simulator.heal()
    first.close()
    second = make(simulator, tmp_path / "other")  # after a crash, say, on another machine
    eventually(lambda: made(simulator, "POST /deployments/demo-Environment/workflows/hello") == 2)
    found = start(second, id_="two")
    assert found not in (reference, "")
    assert start(second, id_="two") == found
    assert start(second, id_="one") == reference
    assert made(simulator, "POST /deployments/demo-Environment/workflows/hello") == 2


def test_two_starts_without_answers_are_not_mixed_up(
    simulator: Simulator, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SEARCH, 1.5)
    engine = make(simulator)
    engine.workflows()
    simulator.fault(Fault("reset", RUN, after=True))

    def lost(number: int) -> bool:
        with pytest.raises(UncertainStart):
            start(engine, id_=f"id{number}")
        return True

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lost, range(2))) == [True, True]
    simulator.heal()
    with pytest.raises(UncertainStart):
        start(engine, id_="id0")
    assert made(simulator, "POST /deployments/demo-Environment/workflows/hello") == 2
    assert until(engine, start(engine, id_="id2"), Status.SUCCEEDED)


def test_refused_starts(engine: YorcEngine, simulator: Simulator) -> None:
    details = engine.workflow(f"{DEMO}hello")
    prepared = engine.prepare(details, {"who": "bob"}, lambda _: None)
    with pytest.raises(BadRequest, match="no required one is missing"):
        engine.start("id", details, {})
    simulator.deployments["demo-Environment"].workflows = {}
    with pytest.raises(NotFound, match="isn't deployed any more"):
        engine.start("id", details, prepared)
    simulator.remove("demo-Environment")
    with pytest.raises(NotFound, match="isn't deployed any more"):
        engine.start("id", details, prepared)


def test_a_deployment_that_is_being_changed(engine: YorcEngine, simulator: Simulator) -> None:
    details = engine.workflow(f"{DEMO}hello")
    simulator.remove("demo-Environment")
    simulator.deploy(demo(seconds=30))
    with pytest.raises(Conflict, match="just being changed or undeployed"):
        engine.start("id", details, {"who": "bob"})


def test_a_refused_connection_starts_nothing(engine: YorcEngine, simulator: Simulator) -> None:
    details = engine.workflow(f"{DEMO}hello")
    simulator.down()
    with pytest.raises(Unavailable, match="can't be reached"):
        engine.start("id", details, {"who": "bob"})
    simulator.up()
    prepared = engine.prepare(details, {"who": "bob"}, lambda _: None)
    assert until(engine, engine.start("id", details, prepared), Status.SUCCEEDED)
    assert made(simulator, "POST /deployments/demo-Environment/workflows/hello") == 1


def test_without_a_leader_nothing_is_started_twice(
    engine: YorcEngine, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SEARCH, 1)
    details = engine.workflow(f"{DEMO}hello")
    simulator.no_leader()
    with pytest.raises(Unavailable, match="no leader"):
        engine.workflow(f"{DEMO}hello", current=True)  # as the service asks before it starts anything
    with pytest.raises(UncertainStart):
        engine.start("id", details, {"who": "bob"})
    simulator.heal()
    with pytest.raises(UncertainStart):  # it can't be told that it wasn't, only that it can't be found
        engine.start("id", details, {"who": "bob"})
    assert made(simulator, "POST /deployments/demo-Environment/workflows/hello") == 1
