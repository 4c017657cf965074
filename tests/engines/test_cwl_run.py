"""Runs real workflows with the real launcher, supervisors and cwltool."""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path

import psutil
import pytest

from hpcwaas.core.models import Level, Status, StepDeclaration, StepStatus
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.run.supervisor import GRACE
from hpcwaas.errors import Conflict, NotFound
from tests.engines.cwl_bench import ALL, DATA, Bench
from tests.waiting import until, wait


def test_two_steps_run_with_times_log_and_outputs(bench: Bench) -> None:
    reference = bench.start("two-steps", {"text": "größer"}, "write", "count")

    state = bench.end(reference)

    assert state.status is Status.SUCCEEDED
    assert state.reason is None
    assert [(step.name, step.status) for step in state.steps] == [("write", "SUCCEEDED"), ("count", "SUCCEEDED")]
    write, count = state.steps
    times = [state.started_at, write.started_at, write.ended_at, count.started_at, count.ended_at, state.ended_at]
    assert times == sorted(time for time in times if time)
    assert state.outputs is not None
    result = dict(state.outputs["result"])
    assert result.pop("checksum").startswith("sha1$")
    assert result == {"class": "File", "basename": "count.txt", "size": 2, "path": "result"}
    assert bench.content(reference, "result") == b"8\n"
    log = bench.text(reference)
    assert "writing größer" in log
    assert log.index("[step write] start") < log.index("writing größer") < log.index("[step count] start")
    assert str(bench.directory) not in log
    assert not (bench.directory / "executions" / reference / "tmp").exists()


def test_starting_an_execution_again_starts_nothing(bench: Bench) -> None:
    reference = bench.shell("date +%s.%N > when.txt")
    document = DATA / "shell.cwl"
    job = Job(document, None, {"script": "exit 1"}, (), (), (StepDeclaration("shell"),))
    threads = [threading.Thread(target=bench.begin, args=(job, reference)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert bench.end(reference).status is Status.SUCCEEDED
    bench.begin(job, reference)
    time.sleep(0.2)
    assert bench.executions.state(reference).status is Status.SUCCEEDED
    assert bench.text(reference).count("Final process status") == 1


def test_failure_names_the_step_and_what_it_said_last(bench: Bench) -> None:
    reference = bench.start("graph", {"seconds": [2, 2], "status": 3}, "sleeps", "never", "simulate", "after")

    state = bench.end(reference)

    assert state.status is Status.FAILED
    assert state.reason == "Step simulate failed: exited with status 3: no convergence after 3 rounds"
    assert [step.status for step in state.steps] == [
        StepStatus.SUCCEEDED,
        StepStatus.SKIPPED,
        StepStatus.FAILED,
        StepStatus.SKIPPED,
    ]
    assert state.reason in bench.text(reference, Level.ERROR)
    log = bench.text(reference)
    assert log.index("[job sleeps_2] ") < log.index("[job sleeps] completed")  # both sleeps ran at the same time


def test_a_tool_that_fails_tells_why(bench: Bench) -> None:
    reference = bench.shell("echo '\033[31mno such planet\033[0m' >&2; exit 4")
    assert bench.end(reference).reason == "The tool failed: exited with status 4: no such planet"


def test_broken_inputs_and_documents_give_a_reason(bench: Bench, tmp_path: Path) -> None:
    missing = bench.end(bench.start("shell", {}))
    assert missing.status is Status.FAILED
    assert "script" in (missing.reason or "")
    document = tmp_path / "broken.cwl"
    document.write_text("cwlVersion: v1.2\nclass: CommandLineTool\ninputs: {a: strong}\noutputs: []\n")
    job = Job(document, None, {}, (), (), (StepDeclaration("broken"),))
    reference = bench.begin(job)
    broken = bench.end(reference)
    assert broken.status is Status.FAILED
    assert "strong" in (broken.reason or "")
    assert str(tmp_path) not in (broken.reason or "")
    assert "Traceback" not in bench.text(reference)


def test_tools_see_nothing_of_the_service(bench: Bench) -> None:
    script = "env > env.txt; echo $$ > pid.txt; ls -l /proc/self/fd > fds.txt; pwd > pwd.txt"
    reference = bench.shell(script)
    assert bench.end(reference).status is Status.SUCCEEDED
    environment = bench.content(reference, "files", "0").decode()
    assert "HWA_" not in environment
    names = {line.partition("=")[0] for line in environment.splitlines()}
    assert names <= {"HOME", "TMPDIR", "PATH", "PWD", "SHLVL", "_", "OLDPWD"}
    descriptors = bench.content(reference, "files", "1").decode()
    assert "launcher" not in descriptors
    assert "lock" not in descriptors


def test_outputs_wait_for_the_end_and_unknown_is_unknown(bench: Bench) -> None:
    reference = bench.shell("sleep 0.5")
    with pytest.raises(NotFound, match="not ended"):
        bench.executions.output(reference, "files", None, "zip")
    bench.end(reference)
    assert bench.executions.state("nobody").status is Status.UNKNOWN
    assert bench.executions.log("nobody", ALL, 0, None).total == 0
    with pytest.raises(NotFound):
        bench.executions.cancel("nobody")


def test_cancel_ends_the_whole_process_tree(bench: Bench) -> None:
    mark = uuid.uuid4().hex
    script = f"""
        setsid sh -c 'trap "" TERM; while :; do sleep 0.1; done; echo {mark}' &
        setsid env -i sh -c 'cd /; (sh -c "sleep 1000; echo {mark}" &)'
        echo started >&2; sleep 1000; echo {mark}
    """
    reference = bench.shell(script)
    until(lambda: "started" in bench.text(reference))
    assert _commands(mark)

    bench.executions.cancel(reference)
    assert bench.executions.state(reference).status is Status.CANCELLING
    bench.executions.cancel(reference)
    state = bench.end(reference)

    assert (state.status, state.reason) == (Status.CANCELLED, "Cancelled on request.")
    assert [step.status for step in state.steps] == [StepStatus.CANCELLED]
    assert not _commands(mark)
    bench.executions.cancel(reference)
    assert bench.executions.state(reference) == state


def test_a_tool_is_given_time_to_end_when_it_is_cancelled(bench: Bench) -> None:
    script = """
        trap 'sleep 0.5; echo tidied up >&2; exit 1' TERM
        echo started >&2; sleep 1000 & wait
    """
    reference = bench.shell(script)
    until(lambda: "started" in bench.text(reference))
    bench.executions.cancel(reference)
    state = bench.end(reference)
    assert (state.status, state.reason) == (Status.CANCELLED, "Cancelled on request.")
    assert "tidied up" in bench.text(reference)
    assert state.ended_at is not None
    assert state.started_at is not None
    assert (state.ended_at - state.started_at).total_seconds() < GRACE


def test_one_that_has_ended_by_itself_cannot_be_cancelled(bench: Bench) -> None:
    reference = bench.shell("true")
    bench.end(reference)
    with pytest.raises(Conflict):
        bench.executions.cancel(reference)


def test_what_a_tool_leaves_in_the_background_ends_with_it(bench: Bench) -> None:
    mark = uuid.uuid4().hex
    reference = bench.shell(f"(setsid sh -c 'sleep 1000; echo {mark}' >/dev/null 2>&1 &)")
    assert bench.end(reference).status is Status.SUCCEEDED
    assert not _commands(mark)


def _commands(mark: str) -> list[list[str]]:
    return [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE and mark in " ".join(process.info["cmdline"] or ())
    ]


def test_many_threads_wait_cheaply(bench: Bench) -> None:
    begun = time.process_time()
    for thread in (threads := [threading.Thread(target=threading.Event().wait, args=(0.5,)) for _ in range(500)]):
        thread.start()
    for thread in threads:
        thread.join()
    idle = time.process_time() - begun
    reference = bench.shell("sleep 1; echo now >&2; sleep 0.5")
    woken: list[bool] = []
    threads = [
        threading.Thread(target=lambda: woken.append(wait(bench.executions, reference, Level.ERROR, 0, 90)))
        for _ in range(500)
    ]
    for thread in threads:
        thread.start()
    cpu = time.process_time()
    bench.end(reference)
    for thread in threads:
        thread.join()
    assert woken == [True] * 500
    assert time.process_time() - cpu < 1 + 10 * idle
    assert wait(bench.executions, reference, ALL, 10**6, 60)  # over
