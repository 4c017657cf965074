"""Kills the processes of the embedded engine, each at any instant, and looks at what becomes of the executions."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hpcwaas.core.models import ExecutionState, Level, Status, StepDeclaration
from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.storage import spool
from hpcwaas.engines.cwl.storage.stored import DIED
from tests.engines.cwl_bench import DETAILS
from tests.waiting import pause, wait

DATA = Path(__file__).parent.parent / "data" / "run"
ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR
SETTINGS = CWLSettings.model_validate({"max_running": 2, "limits": {"cores": 1}})


def job(script: str) -> Job:
    return Job(DATA / "script.cwl", None, {"script": script}, (), (), (StepDeclaration("shell"),))


class Service:
    """What a web process holds, and a look at the processes behind it."""

    def __init__(self, directory: Path, at_once: int = 2) -> None:
        self.directory = directory
        # Outside of all executions, so that what is written there tells of each of them.
        self.marks = directory.parent / "marks"
        self.marks.mkdir(exist_ok=True)
        settings = SETTINGS.model_copy(update={"writable": (self.marks,), "max_running": at_once})
        self.executions = CWLEngine(settings, directory.parent)

    def start(self, script: str, execution_id: str | None = None) -> str:
        return self.executions.start(execution_id or uuid.uuid4().hex, DETAILS, job(script))

    def end(self, reference: str, timeout: float = 40) -> ExecutionState:
        wait(self.executions, reference, Level(0), 0, timeout)
        state = self.executions.state(reference)
        assert state.status.over, state
        return state

    def text(self, reference: str) -> str:
        return "\n".join(entry.content for entry in self.executions.log(reference, ALL, 0, None).entries)

    def until(self, reference: str, word: str) -> None:
        eventually(lambda: word in self.text(reference).splitlines())

    def processes(self, kind: str) -> list[psutil.Process]:
        """All launchers, supervisors or runners: they are forks of one another."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                line = process.cmdline()
                if "hpcwaas.engines.cwl.run.launcher" not in line or str(self.directory) not in line:
                    continue
                if os.getsid(process.pid) != process.pid:
                    is_kind = "runner"
                elif any(file.path.endswith(spool.LOCK) for file in process.open_files()):
                    is_kind = "supervisor"
                else:
                    is_kind = "launcher"
                if is_kind == kind and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def freeze(self) -> None:
        """Stops the launcher, so that it does nothing while a test changes its directory."""
        eventually(lambda: bool(self.processes("launcher")))
        self.processes("launcher")[0].send_signal(signal.SIGSTOP)

    def kill(self, *kinds: str) -> None:
        victims = [process for kind in kinds for process in self.processes(kind)]
        assert len(victims) == len(kinds), victims
        for victim in victims:
            victim.kill()


def eventually(condition: Callable[[], bool], timeout: float = 60) -> None:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + timeout
        pause(begun, 0.02)


def alive(mark: str) -> bool:
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and mark in " ".join(process.info["cmdline"] or ()):
            return True
    return False


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "cwl")
    yield service
    service.executions.close()


def test_a_running_execution_survives_the_launcher_and_queued_ones_follow(service: Service) -> None:
    script = "echo begun >&2; sleep 1.5; echo end > a.txt"
    references = [service.start(script) for _ in range(3)]
    service.until(references[0], "begun")
    service.kill("launcher")
    states = [service.end(reference) for reference in references]
    assert [state.status for state in states] == [Status.SUCCEEDED] * 3
    assert all(service.text(reference).splitlines().count("begun") == 1 for reference in references)


@pytest.mark.parametrize("kinds", [("supervisor",), ("supervisor", "launcher"), ("launcher", "runner", "supervisor")])
def test_what_died_with_its_supervisor_has_failed_and_nothing_of_it_runs(
    service: Service, kinds: tuple[str, ...]
) -> None:
    mark = uuid.uuid4().hex
    reference = service.start(f"(setsid sh -c 'sleep 100; : {mark}' &); echo begun >&2; sleep 100; : {mark}")
    service.until(reference, "begun")
    service.kill(*kinds)
    state = service.end(reference)
    assert (state.status, state.reason) == (Status.FAILED, DIED)
    assert [step.status for step in state.steps] == ["FAILED"]
    assert state.started_at
    assert state.ended_at
    assert state.outputs == {}
    assert not alive(mark)
    log = service.executions.log(reference, ALL, 0, None)
    assert log.over
    assert log.entries[-1].content == DIED
    assert not (service.directory / "executions" / reference / spool.TEMPORARY).exists()
    assert service.end(service.start("echo fine >&2")).status is Status.SUCCEEDED


def test_a_killed_runner_is_a_failure_with_a_reason(service: Service) -> None:
    mark = uuid.uuid4().hex
    reference = service.start(f"echo begun >&2; sleep 100; : {mark}")
    service.until(reference, "begun")
    service.kill("runner")
    state = service.end(reference)
    assert state.status is Status.FAILED
    assert "signal 9" in (state.reason or "")
    assert not alive(mark)


def test_cancelled_while_the_supervisor_is_dead(service: Service) -> None:
    reference = service.start("echo begun >&2; sleep 100")
    service.until(reference, "begun")
    service.processes("supervisor")[0].send_signal(signal.SIGSTOP)  # else it may have obeyed before it dies
    service.executions._sites.of(reference)[0].cancel(reference)
    service.kill("supervisor")
    assert service.end(reference).status is Status.CANCELLED


def test_killed_between_claim_and_fork(tmp_path: Path) -> None:
    place = spool.Spool(tmp_path / "cwl")
    service = Service(tmp_path / "cwl", at_once=1)  # of two that begin at once either may say so first
    service.freeze()
    references = [service.start(f"echo {number} > a.txt") for number in range(3)]
    (ticket, _), (second, _), _ = place.tickets(place.queue)
    assert place.claim(ticket, references[0])
    assert place.claim(second, references[1])
    place.write_state(references[1], ExecutionState(Status.RUNNING))
    (place.queue / second).touch()  # a duplicate, as two services that start the same execution may leave it
    service.kill("launcher")
    states = [service.end(reference) for reference in references]
    assert [state.status for state in states] == [Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED]
    assert states[1].reason == DIED
    begins = [state.started_at for state in (states[0], states[2]) if state.started_at]
    assert begins == sorted(begins)
    eventually(lambda: not place.busy())
    service.executions.close()


def test_killed_between_making_and_queueing(service: Service) -> None:
    service.end(service.start("true"))
    service.freeze()
    reference = service.start("echo x > a.txt")
    place = spool.Spool(service.directory)
    ((ticket, _),) = place.tickets(place.queue)
    (place.queue / ticket).unlink()
    service.kill("launcher")
    assert service.executions.state(reference).status is Status.PENDING
    service.start("exit 1", reference)
    assert service.end(reference).status is Status.SUCCEEDED


def test_an_execution_that_cannot_begin_is_given_up(service: Service) -> None:
    service.freeze()
    reference = service.start("true")
    (service.directory / "executions" / reference / (spool.STATE + ".new")).mkdir()  # no state can be written
    service.kill("launcher")
    eventually(lambda: (service.directory / "launcher.log").stat().st_size > 0)
    (service.directory / "executions" / reference / (spool.STATE + ".new")).rmdir()
    service.end(reference)
    assert service.end(service.start("true")).status is Status.SUCCEEDED


def test_killed_at_random_instants(service: Service) -> None:
    chance = random.Random(4)  # noqa: S311  (nothing secret)
    begun = service.marks / "begun"
    references = [service.start(f"echo {number} >> {begun}; sleep 0.2; echo {number} > a.txt") for number in range(16)]
    for kind in ["supervisor", "runner", "launcher", "supervisor"] * 2:
        eventually(lambda: bool(service.processes("supervisor")))
        time.sleep(chance.uniform(0, 0.15))
        for victim in service.processes(kind)[:1]:
            with contextlib.suppress(psutil.Error):
                victim.kill()

    states = [service.end(reference) for reference in references]

    starts = Counter(begun.read_text().split())
    assert max(starts.values()) == 1
    for number, state in enumerate(states):
        if state.status is Status.SUCCEEDED:
            assert starts[str(number)] == 1
        else:
            assert state.status is Status.FAILED
            assert state.reason == DIED or "signal 9" in (state.reason or ""), state
    assert Status.FAILED in {state.status for state in states}
    assert Status.SUCCEEDED in {state.status for state in states}
    eventually(lambda: not spool.Spool(service.directory).busy())
    for reference in references:
        service.executions.log(reference, ALL, 0, None)


_STARTER = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_kill_executions import Service
service = Service(Path({directory!r}))
print("ready", flush=True)
sys.stdin.readline()
for number in range({count}):
    service.start(f"echo {{number}} >> {begun}", f"same-{{number}}")
print("done", flush=True)
service.executions.close()
"""


def _starter(directory: Path, begun: Path, count: int) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    code = _STARTER.format(here=here, directory=str(directory), begun=begun, count=count)
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def test_services_that_race_and_services_that_are_killed_start_everything_once(tmp_path: Path) -> None:
    begun = tmp_path / "marks" / "begun"
    directory = tmp_path / "cwl"
    count = 12
    starters = [_starter(directory, begun, count) for _ in range(3)]
    for starter in starters:
        _go(starter)
    time.sleep(0.03)
    starters[0].kill()  # somewhere among its starts
    for starter in starters:
        with starter:
            starter.communicate(timeout=60)
    service = Service(directory)
    for number in range(count):
        service.start("exit 1", f"same-{number}")
    states = [service.end(f"same-{number}") for number in range(count)]
    assert {state.status for state in states} == {Status.SUCCEEDED}
    assert Counter(begun.read_text().split()) == {str(number): 1 for number in range(count)}
    service.executions.close()


def test_the_service_may_be_killed_while_it_starts_executions(tmp_path: Path) -> None:
    begun = tmp_path / "marks" / "begun"
    directory = tmp_path / "cwl"
    for moment in (0.001, 0.004, 0.01):
        with _starter(directory, begun, 6) as starter:
            _go(starter)
            time.sleep(moment)
            starter.kill()
    service = Service(directory)
    for number in range(6):
        service.start(f"echo {number} >> {begun}", f"same-{number}")
    assert {service.end(f"same-{number}").status for number in range(6)} == {Status.SUCCEEDED}
    assert sorted(begun.read_text().split()) == [str(number) for number in range(6)]
    service.executions.close()


def test_the_launcher_leaves_when_nobody_needs_it_and_makes_room_for_another(tmp_path: Path) -> None:
    service = Service(tmp_path / "cwl")
    service.end(service.start("true"))
    first = service.processes("launcher")[0].pid
    settings = SETTINGS.model_copy(update={"max_running": 1})
    other = CWLEngine(settings, service.directory.parent)
    eventually(lambda: [process.pid for process in service.processes("launcher")] not in ([], [first]))
    assert service.end(service.start("true")).status is Status.SUCCEEDED
    service.executions.close()
    other.close()
    eventually(lambda: not service.processes("launcher"))
