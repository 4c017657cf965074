"""Starting executions: few calls, and never twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpcwaas.core.models import Status
from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from hpcwaas.errors import BadRequest, InvalidInputs, NotFound, Unavailable, UncertainStart
from tests.engines.alien4cloud.helpers import RUN, Make, start
from tests.engines.orchestrated import made, until
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_worlds import recorded
from tests.simulators.faults import Fault, Kind
from tests.waiting import until as eventually


def test_a_start_takes_few_calls(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    engine.workflows()
    simulator.forget_calls()
    start(engine)
    calls = [call for call in simulator.calls() if call.method != "WEBSOCKET"]
    assert len(calls) == 2  # the topology and the launch


def test_what_is_no_longer_deployed_is_not_started(simulator: Simulator, engine: Alien4CloudEngine) -> None:
    details = engine.workflow(f"{RUN}exec_job")
    prepared = engine.prepare(details, {"user_id": "a"}, lambda _: None)
    simulator.undeploy("5de4279f-d629-47ca-ac92-586a8cc534fd")
    assert engine.workflow(f"{RUN}exec_job") == details  # as the list has it
    with pytest.raises(NotFound, match="There is no such workflow"):
        engine.workflow(f"{RUN}exec_job", current=True)
    with pytest.raises(NotFound, match="isn't deployed any more"):
        engine.start("id", details, prepared)


def test_refused_starts(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    details = engine.workflow(f"{RUN}exec_job")
    with pytest.raises(InvalidInputs):
        engine.prepare(details, {"num": 99}, lambda _: None)
    prepared = engine.prepare(details, {"user_id": "a"}, lambda _: None)
    prepared.inputs["num"] = 99  # type: ignore[index]
    with pytest.raises(BadRequest, match="out of range"):
        engine.start("id", details, prepared)
    prepared.inputs["num"] = 1  # type: ignore[index]
    simulator.orchestrator_down()
    with pytest.raises(Unavailable, match="orchestrator"):
        engine.start("id", details, prepared)


@pytest.mark.parametrize("kind", ["hang", "reset", "cut", "html", "truncate", "trace"])
def test_a_start_whose_answer_is_lost_is_found(
    simulator: Simulator, make: Make, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcwaas.engines.orchestrated.starting._SEARCH_EVERY", 0.1)
    engine = make(simulator, read_timeout=2 if kind == "hang" else 30)
    engine.workflows()
    simulator.remember("5de4279f-d629-47ca-ac92-586a8cc534fd", "exec_job", ago=60)
    simulator.fault(Fault(kind, "POST .*workflows/exec_job", after=True, seconds=10))
    reference = start(engine)
    assert made(simulator, "workflows/exec_job") == 1
    simulator.heal()
    assert until(engine, reference, Status.SUCCEEDED).outputs


def test_a_start_that_never_took_effect_is_not_tried_again(
    simulator: Simulator, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcwaas.engines.orchestrated.starting._SEARCH", 1)
    engine = make(simulator)
    engine.workflows()
    simulator.fault(Fault("reset", "POST .*workflows/exec_job"))
    with pytest.raises(UncertainStart, match="may have been"):
        start(engine)
    assert made(simulator, "workflows/exec_job") == 1


def test_nothing_is_started_twice_under_one_id(
    simulator: Simulator, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(simulator)
    reference = start(first, id_="one")
    assert start(first, id_="one") == reference
    monkeypatch.setattr("hpcwaas.engines.orchestrated.starting._SEARCH", 0)
    simulator.fault(Fault("reset", "POST .*workflows/exec_job", after=True))
    with pytest.raises(UncertainStart):
        start(first, id_="two")
    simulator.heal()
    first.close()
    second = make(simulator, tmp_path)  # after a crash, say
    eventually(lambda: len(simulator.executions.known()) == 2)
    found = start(second, id_="two")
    assert found not in (reference, "")
    assert start(second, id_="two") == found
    assert start(second, id_="one") == reference
    assert made(simulator, "workflows/exec_job") == 2


def test_a_refused_start_may_be_asked_for_again(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    engine.workflows()
    simulator.orchestrator_down()
    with pytest.raises(Unavailable):
        start(engine, id_="one")
    simulator.heal()
    assert until(engine, start(engine, id_="one"), Status.SUCCEEDED)


def test_two_starts_without_answers_are_not_mixed_up(
    simulator: Simulator, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcwaas.engines.orchestrated.starting._SEARCH", 1.5)
    engine = make(simulator)
    engine.workflows()
    simulator.fault(Fault("reset", "POST .*workflows/exec_job", after=True))

    def lost(_: int) -> bool:
        with pytest.raises(UncertainStart):
            start(engine)
        return True

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lost, range(2))) == [True, True]
    assert made(simulator, "POST /rest/latest/applications/RecApp1") == 2


@pytest.mark.parametrize("skew", [-300.0, 300.0])
def test_a_start_is_found_although_clocks_differ(make: Make, skew: float) -> None:
    world = recorded(duration=1.0)
    world.skew = skew
    with Simulator(world, lag=0.1) as simulator:
        engine = make(simulator)
        until(engine, start(engine, f"{RUN}fail_job"), Status.FAILED)  # its events tell how the clock stands
        simulator.fault(Fault("reset", "POST .*workflows/exec_job", after=True))
        assert until(engine, start(engine), Status.SUCCEEDED)


def test_a_refused_connection_starts_nothing(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    details = engine.workflow(f"{RUN}exec_job")
    prepared = engine.prepare(details, {"user_id": "a"}, lambda _: None)
    simulator.down()
    with pytest.raises(Unavailable, match="can't be reached"):
        engine.start("id", details, prepared)
    simulator.up()
    assert made(simulator, "workflows/exec_job") == 0
