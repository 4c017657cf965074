"""Several machines with one shared directory and a data directory each: what one runs, all of them tell and cancel."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from hpcwaas.core.models import ExecutionState, Level, Status, StepDeclaration
from hpcwaas.core.outputs import OutputFile
from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.run import launcher
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.storage import machines, spool
from hpcwaas.engines.cwl.storage.machines import find, retire
from hpcwaas.engines.cwl.storage.stored import DIED
from hpcwaas.errors import ConfigurationError, Conflict, NotFound
from tests.engines.cwl_bench import ALL, DATA, DETAILS
from tests.waiting import until, wait

BEGUN = "echo begun >&2; sleep 60"
RUNNER = """#!/bin/sh
# Quicker than cwltool to start: does what the input `script` says, and every `*.txt` that it leaves is an output.
while [ "$1" != --outdir ]; do shift; done
cd "$2"
eval "$(python3 -S -c 'import json, sys; print(json.load(open(sys.argv[1]))["script"])' "$4")" || exit
for file in *.txt; do
    [ -e "$file" ] && echo "{\\"class\\": \\"File\\", \\"location\\": \\"file://$2/$file\\"}"
done | python3 -S -c 'import json, sys; print(json.dumps({"files": [json.loads(line) for line in sys.stdin]}))'
"""


class Machine:
    """One of the machines: an engine with a data directory of its own."""

    def __init__(self, directory: Path, name: str, data: str | None = None) -> None:
        self.own = directory / (data or name)
        self.shared = directory / "shared"
        self.spool = self.shared / "cwl"
        self.name = name
        (directory / "catalogue").mkdir(exist_ok=True)
        runner = directory / "runner"
        if not runner.exists():
            runner.write_text(RUNNER)
            runner.chmod(0o755)
        settings = {"catalogue": directory / "catalogue", "max_running": 1, "runner": {"command": [str(runner)]}}
        self.settings = CWLSettings.model_validate(settings)
        self.engine = self.begin()

    def begin(self) -> CWLEngine:
        """The service starts."""
        return CWLEngine(self.settings, self.own, shared_dir=self.shared, machine=self.name)

    def start(self, script: str, execution_id: str | None = None) -> str:
        job = Job(DATA / "script.cwl", None, {"script": script}, (), (), (StepDeclaration("shell"),))
        return self.engine.start(execution_id or uuid.uuid4().hex, DETAILS, job)

    def end(self, reference: str) -> ExecutionState:
        wait(self.engine, reference, Level(0), 0, 60)
        state = self.engine.state(reference)
        assert state.status.over, state
        return state

    def until(self, reference: str, word: str) -> None:
        def said() -> bool:
            return any(word in entry.content for entry in self.engine.log(reference, ALL, 0, None).entries)

        until(said)

    def die(self) -> None:
        """What a loss of power does: the service and all that it has started are gone, and nothing is tidied."""
        about = self.spool / "machines" / self.name / "about.json"
        kept = about.read_bytes()
        killed: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if launcher.__name__ in process.cmdline() and str(self.own / "cwl") in process.cmdline():
                    process.send_signal(signal.SIGSTOP)  # nobody puts right what is killed before it
                    killed += [*process.children(recursive=True), process]
        for process in killed:
            with contextlib.suppress(psutil.Error):
                process.kill()
        until(lambda: all(not it.is_running() or it.status() == psutil.STATUS_ZOMBIE for it in killed))
        self.engine.close()
        about.write_bytes(kept)

    def age(self) -> None:
        """Lets time pass since the last sign of life."""
        os.utime(self.spool / "machines" / self.name / "alive", (time.time() - 90,) * 2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "BEAT", 0.3)
    monkeypatch.setattr(machines, "PATIENCE", 1.0)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    first, second = Machine(tmp_path, "first"), Machine(tmp_path, "second")
    yield first, second
    first.engine.close()
    second.engine.close()


def test_what_one_machine_runs_the_other_tells_and_cancels(both: tuple[Machine, Machine]) -> None:
    first, second = both
    done = first.start("echo said >&2; echo text > a.txt")
    assert second.end(done).status is Status.SUCCEEDED
    second.until(done, "said")
    output = second.engine.output(done, "files", "0", "zip")
    assert isinstance(output, OutputFile)
    with output.stream as stream:
        assert stream.read() == b"text\n"

    running, waiting = first.start(BEGUN), first.start("echo no > no.txt")
    second.until(running, "begun")
    assert "no more than 1 executions" in str(second.engine.state(waiting).reason)
    # Each machine has its own turns.
    assert second.end(second.start("echo here > here.txt")).status is Status.SUCCEEDED
    second.engine.cancel(waiting)
    assert first.end(waiting).status is Status.CANCELLED
    second.engine.cancel(running)
    assert first.end(running).status is Status.CANCELLED


def test_a_start_that_was_cut_off_is_gone_on_with_where_it_was_made(both: tuple[Machine, Machine]) -> None:
    first, second = both
    blocking = first.start(BEGUN)
    first.until(blocking, "begun")
    made = first.start("echo a > a.txt")
    (ticket,) = [path for path in (first.spool / "machines" / "first" / "queue").iterdir() if path.name.endswith(made)]
    ticket.unlink()

    assert second.engine.recall(made, None) == made
    assert second.start("echo b > b.txt", made) == made
    assert ticket.exists()
    first.engine.cancel(blocking)
    assert second.end(made).status is Status.SUCCEEDED
    assert [entry.name for entry in (first.spool / "executions" / made / "outputs").iterdir()] == ["a.txt"]


def test_of_a_machine_that_is_down_nothing_is_said_to_be_lost(both: tuple[Machine, Machine]) -> None:
    first, second = both
    running, waiting = first.start(BEGUN), first.start("echo a > a.txt")
    first.until(running, "begun")
    first.die()
    first.age()
    until(lambda: second.engine.state(running).stale_since is not None)

    for reference, status in ((running, Status.RUNNING), (waiting, Status.PENDING)):
        state = second.engine.state(reference)
        assert state.status is status
        assert "The machine first, on which the execution is, hasn't been heard of since" in str(state.reason)
    (check,) = [check for check in second.engine.checks() if check.name == "cwl-machines"]
    assert "`hpcwaas-api machines retire first`" in check.problems[0]
    assert "2 executions" in check.problems[0]

    first.engine = first.begin()
    failed = second.end(running)
    assert (failed.status, failed.reason) == (Status.FAILED, DIED)
    assert second.end(waiting).status is Status.SUCCEEDED


def test_a_cancellation_reaches_a_machine_when_it_is_back(both: tuple[Machine, Machine]) -> None:
    first, second = both
    running, waiting = first.start(BEGUN), first.start("echo a > a.txt")
    first.until(running, "begun")
    first.die()
    first.age()
    until(lambda: second.engine.state(running).stale_since is not None)
    for reference in (running, waiting):
        second.engine.cancel(reference)
        state = second.engine.state(reference)
        assert state.status is Status.CANCELLING
        assert "hasn't been heard of" in str(state.reason)
    first.engine = first.begin()
    assert second.end(running).status is Status.CANCELLED
    assert second.end(waiting).status is Status.CANCELLED


def test_others_take_what_a_machine_leaves_that_never_comes_back(both: tuple[Machine, Machine]) -> None:
    first, second = both
    running, waiting = first.start(BEGUN), first.start("echo a > a.txt")
    first.until(running, "begun")
    with pytest.raises(Conflict, match="The machine first lives"):
        retire(first.spool, "first")
    first.die()
    assert [(each.name, each.alive, each.executions) for each in find(first.spool)] == [
        ("first", False, 2),
        ("second", True, 0),
    ]
    assert retire(first.spool, "first") == 2
    assert second.end(running).reason == DIED
    assert second.end(waiting).status is Status.SUCCEEDED
    with pytest.raises(NotFound):
        retire(first.spool, "first")
    until(lambda: not any(check.problems for check in second.engine.checks() if check.name == "cwl-machines"))


def test_an_interrupted_take_over_is_ended_at_the_next_start(both: tuple[Machine, Machine]) -> None:
    first, second = both
    blocking = second.start(BEGUN)
    second.until(blocking, "begun")
    waiting = second.start("echo a > a.txt")
    name = second.spool / "executions" / waiting / spool.MACHINE
    name.write_text("gone")
    second.engine.close()
    second.engine = second.begin()
    assert name.read_text() == "second"
    first.engine.cancel(blocking)
    assert first.end(waiting).status is Status.SUCCEEDED


def test_an_emptied_data_directory_has_its_executions_still(tmp_path: Path) -> None:
    first = Machine(tmp_path, "first")
    running, waiting = first.start(BEGUN), first.start("echo a > a.txt")
    first.until(running, "begun")
    first.die()
    again = Machine(tmp_path, "first", "emptied")
    try:
        assert again.end(running).reason == DIED
        assert again.end(waiting).status is Status.SUCCEEDED
    finally:
        again.engine.close()


def test_executions_of_a_single_machine_are_taken_over(tmp_path: Path) -> None:
    first = Machine(tmp_path, "first")
    blocking, waiting = first.start(BEGUN), first.start("echo a > a.txt")
    first.until(blocking, "begun")
    first.die()
    # As it stands after the move of the directory of a single machine.
    for folder in spool.FOLDERS:
        (first.spool / "machines" / "first" / folder).rename(first.spool / folder)
    for execution in (first.spool / "executions").iterdir():
        (execution / spool.MACHINE).unlink()
    second = Machine(tmp_path, "second")
    try:
        assert second.end(waiting).status is Status.SUCCEEDED
        assert second.end(blocking).status is Status.FAILED
    finally:
        second.engine.close()


def test_a_name_belongs_to_one_machine(both: tuple[Machine, Machine], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="first is the name of another machine"):
        Machine(tmp_path, "first", "third")
    # A second process of the machine itself is welcome.
    both[0].begin().close()


def test_a_machine_that_was_stopped_long_ago_and_has_nothing_to_do_is_forgotten(tmp_path: Path) -> None:
    first, second = Machine(tmp_path, "first"), Machine(tmp_path, "second")
    done = first.start("echo a > a.txt")
    assert second.end(done).status is Status.SUCCEEDED
    for machine in (first, second):
        machine.engine.close()
    until(lambda: not any(each.alive for each in find(first.spool)))  # launchers leave a moment later
    os.utime(first.spool / "machines" / "first" / "alive", (time.time() - 100_000,) * 2)
    second.engine = second.begin()
    assert [each.name for each in find(first.spool)] == ["second"]
    assert second.engine.state(done).status is Status.SUCCEEDED
    second.engine.close()


def test_machines_mount_everything_at_one_path(both: tuple[Machine, Machine], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(both[0].shared)
    with pytest.raises(ConfigurationError, match=r"shared_dir: leads to .*elsewhere/cwl here and to .*shared/cwl"):
        CWLEngine(both[0].settings, tmp_path / "third", shared_dir=tmp_path / "elsewhere", machine="third")
    other = both[0].settings.model_copy(update={"catalogue": tmp_path / "other"})
    with pytest.raises(ConfigurationError, match=r"cwl\.catalogue: leads to .*other here"):
        CWLEngine(other, tmp_path / "third", shared_dir=both[0].shared, machine="third")


def test_a_directory_in_which_locks_hold_for_one_machine_only_is_refused(tmp_path: Path) -> None:
    first = Machine(tmp_path, "first")
    home = first.spool / "machines" / "first"
    about = (home / "about.json").read_bytes()
    first.engine.close()
    (home / "about.json").write_bytes(about)
    ended = threading.Event()

    def live() -> None:
        while not ended.wait(0.05):
            (home / "alive").touch()

    beating = threading.Thread(target=live)
    beating.start()
    try:
        with pytest.raises(ConfigurationError, match="shared_dir: locks don't hold"):
            Machine(tmp_path, "second")
    finally:
        ended.set()
        beating.join()


def test_a_machine_says_that_its_clock_is_wrong(both: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = SimpleNamespace(time=lambda: time.time() + 300, monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr(machines, "time", ahead)

    def problems() -> list[str]:
        return [problem for check in both[0].engine.checks() for problem in check.problems]

    until(lambda: any("The clock of the machine first differs by" in problem for problem in problems()))
