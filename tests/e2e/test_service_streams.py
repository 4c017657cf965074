"""Event streams when the processes behind them die or are stopped, and the service is started again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Service
from tests.event_streams import Event, Stream
from tests.waiting import until


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "gates").mkdir()
    service = Service(tmp_path, HWA_SERVER_WORKERS="2", HWA_CWL_WRITABLE=f"[{tmp_path / 'gates'}]")
    yield service.start()
    service.end()


def test_streams_are_gone_on_with_at_whichever_process_without_a_loss(service: Service, tmp_path: Path) -> None:
    gates = [tmp_path / "gates" / str(number) for number in range(4)]
    script = "; ".join(
        f"while [ ! -e {gate} ]; do sleep 0.05; done; echo line {gate.name} >&2; echo line {gate.name} >&2"
        for gate in gates
    )
    path = service.user.trigger("script", script=script)
    follower = service.waas_started("executions", "logs", path.rpartition("/")[2], "--follow")
    told: list[Event] = []
    changes: list[Event] = []

    def followed(ending: str, number: int) -> None:
        """Opens a gate, follows the log and all executions until its lines are there, and then ends something."""
        places = [it[-1].last_id if it else None for it in (told, changes)]
        with (
            Stream(service.user, f"{path}/logs", places[0]) as log,
            Stream(service.user, "/executions/events", places[1]) as events,
        ):
            gates[number].touch()
            wanted = f"line {number}"
            until(lambda: [it["content"] for it in log.of("log")].count(wanted) == 2 or log.over)
            if ending == "kill":
                service.kill("worker")
            elif ending == "stop":
                assert service.process is not None
                service.process.terminate()
                service.process.wait(60)
            until(lambda: log.over or log.cut)
            if ending == "stop":
                assert not log.cut  # it ended in order, and at once
            until(lambda: ending == "" or events.over or events.cut)
        told.extend(it for it in log.events if it.kind in ("log", "end"))
        changes.extend(events.events)

    followed("kill", 0)
    until(lambda: len(service.processes("worker")) == 2)
    followed("stop", 1)
    service.start()
    followed("kill", 2)
    until(lambda: len(service.processes("worker")) == 2)
    followed("", 3)
    lines = [it.value["content"] for it in told if it.kind == "log"]
    page = service.user("GET", f"{path}/logs").json()["logs"]
    assert lines == [entry["content"] for entry in page]
    assert [it for it in lines if it.startswith("line ")] == [f"line {each}" for each in "00112233"]
    assert told[-1].value["status"] == "SUCCEEDED"
    seen = [it.value["status"] for it in changes]
    assert len(seen) == len({*seen})
    out, err = follower.communicate(timeout=120)
    assert follower.returncode == 0, err
    assert [line.partition("] ")[2] for line in out.splitlines()] == [entry["content"] for entry in page]
