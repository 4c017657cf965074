"""Runs real workflows with the real launcher, supervisors and cwltool."""

from __future__ import annotations

import io
import os
import shutil
import socket
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpcwaas.core.models import (
    ExecutionState,
    Level,
    OutputArchive,
    OutputFile,
    OutputValue,
    Status,
    StepDeclaration,
    StepStatus,
)
from hpcwaas.engines.cwl.executions import Executions
from hpcwaas.engines.cwl.job import FetchedFile, Job, StagedFile
from hpcwaas.engines.cwl.site import LocalSite
from hpcwaas.errors import Conflict, NotFound
from hpcwaas.settings import CWLSettings
from tests.waiting import wait

DATA = Path(__file__).parent.parent / "data" / "run"
ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR

pytestmark = pytest.mark.timeout(60)


@dataclass
class Bench:
    """Executions in a directory of their own."""

    directory: Path
    executions: Executions

    @classmethod
    def open(cls, directory: Path, **settings: Any) -> Bench:
        parsed = CWLSettings.model_validate({"max_running": 4} | settings)
        return cls(directory, Executions(LocalSite(directory, parsed), parsed))

    def start(self, document: str, order: dict[str, Any], *steps: str, **more: Any) -> str:
        declared = tuple(StepDeclaration(name) for name in steps or (document,))
        values: dict[str, Any] = {"fragment": None, "staged": (), "fetched": (), "version": "1"} | more
        job = Job("w", document=DATA / f"{document}.cwl", order=order, steps=declared, **values)
        return self.executions.start(uuid.uuid4().hex, job)

    def shell(self, script: str) -> str:
        return self.start("shell", {"script": script})

    def end(self, reference: str, timeout: float = 30) -> ExecutionState:
        wait(self.executions, reference, Level(0), 0, timeout)
        state = self.executions.state(reference)
        assert state.status.over, state
        return state

    def text(self, reference: str, levels: Level = ALL) -> str:
        return "\n".join(entry.content for entry in self.executions.log(reference, levels, 0, None).entries)

    def content(self, reference: str, name: str, path: str | None = None) -> bytes:
        output = self.executions.output(reference, name, path, "zip")
        assert isinstance(output, OutputFile)
        with output.stream as stream:
            return stream.read()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    os.environ["HWA_SECRET"] = "not for tools"
    bench = Bench.open(tmp_path_factory.mktemp("bench") / "cwl", limits={"cores": 2, "memory": "2 GiB"})
    del os.environ["HWA_SECRET"]
    yield bench
    bench.executions.close()


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    limits = {"cores": 1, "memory": "300 MiB", "log": "1 MiB", "disk": "32 MiB"}
    bench = Bench.open(tmp_path_factory.mktemp("narrow") / "cwl", limits=limits, max_running=2)
    yield bench
    bench.executions.close()


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
    job = Job("w", document, None, {"script": "exit 1"}, (), (), (StepDeclaration("shell"),), "1")
    threads = [threading.Thread(target=bench.executions.start, args=(reference, job)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert bench.end(reference).status is Status.SUCCEEDED
    bench.executions.start(reference, job)
    time.sleep(0.2)
    assert bench.executions.state(reference).status is Status.SUCCEEDED
    assert bench.text(reference).count("Final process status") == 1


def test_failure_names_the_step_and_what_it_said_last(bench: Bench) -> None:
    begin = time.monotonic()
    reference = bench.start("graph", {"seconds": [0.8, 0.8], "status": 3}, "sleeps", "never", "simulate", "after")

    state = bench.end(reference)

    assert time.monotonic() - begin < 1.5  # both sleeps ran at the same time
    assert state.status is Status.FAILED
    assert state.reason == "Step simulate failed: exited with status 3: no convergence after 3 rounds"
    assert [step.status for step in state.steps] == [
        StepStatus.SUCCEEDED,
        StepStatus.SKIPPED,
        StepStatus.FAILED,
        StepStatus.SKIPPED,
    ]
    assert state.reason in bench.text(reference, Level.ERROR)


def test_a_tool_that_fails_tells_why(bench: Bench) -> None:
    reference = bench.shell("echo '\033[31mno such planet\033[0m' >&2; exit 4")
    assert bench.end(reference).reason == "The tool failed: exited with status 4: no such planet"


def test_broken_inputs_and_documents_give_a_reason(bench: Bench, tmp_path: Path) -> None:
    missing = bench.end(bench.start("shell", {}))
    assert missing.status is Status.FAILED
    assert "script" in (missing.reason or "")
    document = tmp_path / "broken.cwl"
    document.write_text("cwlVersion: v1.2\nclass: CommandLineTool\ninputs: {a: strong}\noutputs: []\n")
    job = Job("w", document, None, {}, (), (), (StepDeclaration("broken"),), "1")
    reference = bench.executions.start(uuid.uuid4().hex, job)
    broken = bench.end(reference)
    assert broken.status is Status.FAILED
    assert "strong" in (broken.reason or "")
    assert str(tmp_path) not in (broken.reason or "")
    assert "Traceback" not in bench.text(reference)


def test_a_tool_that_demands_more_than_the_limit_is_refused(bench: Bench) -> None:
    state = bench.end(bench.start("cores", {}))
    assert state.status is Status.FAILED
    assert "needs 64 cores, but an execution may use 2 (setting cwl.limits.cores)" in (state.reason or "")


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


def test_staged_files_are_read_only_inputs(bench: Bench, tmp_path: Path) -> None:
    source = tmp_path / "upload"
    source.write_bytes(b"abc")
    order = {"text": "x", "file": {"class": "File", "location": "inputs/0/my%20data.txt"}}
    staged = (StagedFile(source, "inputs/0/my data.txt"),)
    document = tmp_path / "cat.cwl"
    document.write_text(
        "cwlVersion: v1.0\nclass: CommandLineTool\nbaseCommand: cat\n"
        "inputs: {file: {type: File, inputBinding: {position: 1}}}\noutputs: {copy: stdout}\n"
    )
    job = Job("w", document, None, order, staged, (), (StepDeclaration("cat"),), "1")
    reference = bench.executions.start(uuid.uuid4().hex, job)
    assert bench.end(reference).status is Status.SUCCEEDED
    assert bench.content(reference, "copy") == b"abc"
    assert source.read_bytes() == b"abc"
    assert not (bench.directory / "executions" / reference / "inputs").exists()


def test_archives_become_directories_and_bad_ones_a_reason(bench: Bench, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    for path, name in ((good, "sub/a.txt"), (bad, "../../a.txt")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "packed")
    document = tmp_path / "list.cwl"
    document.write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: [grep, -r, packed]\n"
        "inputs: {folder: {type: Directory, inputBinding: {position: 1}}}\noutputs: {list: stdout}\n"
    )
    order = {"folder": {"class": "Directory", "location": "inputs/0/data"}}
    references = []
    for path in (good, bad):
        staged = (StagedFile(path, "inputs/0/data", "zip"),)
        job = Job("w", document, None, order, staged, (), (StepDeclaration("list"),), "1")
        references.append(bench.executions.start(uuid.uuid4().hex, job))
    assert bench.end(references[0]).status is Status.SUCCEEDED
    assert bench.content(references[0], "list").endswith(b"/data/sub/a.txt:packed\n")
    state = bench.end(references[1])
    assert state.status is Status.FAILED
    assert "archive for the input data can't be unpacked: '../../a.txt' climbs out" in (state.reason or "")


def test_an_input_that_was_deleted_meanwhile_starts_nothing(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match=r"data\.txt"):
        bench.start("shell", {"script": "true"}, staged=(StagedFile(tmp_path / "gone", "inputs/0/data.txt"),))
    assert not list((bench.directory / "incoming").iterdir())


def test_a_download_that_is_not_allowed_is_a_reason(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        fetched = (FetchedFile(f"http://127.0.0.1:{server.getsockname()[1]}/secret", "inputs/0/secret"),)
        state = bench.end(bench.start("shell", {"script": "true"}, fetched=fetched))
    assert state.status is Status.FAILED
    assert "not a public one" in (state.reason or "")


def test_outputs_by_name_and_path(bench: Bench) -> None:
    script = """
        printf one > a.txt; printf two > b.txt
        mkdir -p out/deep; printf three > out/deep/c.html; ln -s deep/c.html out/inside; ln -s /etc/passwd out/outside
    """
    reference = bench.shell(script)
    state = bench.end(reference)
    assert state.status is Status.SUCCEEDED, state.reason
    assert state.outputs is not None
    assert state.outputs["answer"] == 42
    assert [file["path"] for file in state.outputs["files"]] == ["files/0", "files/1"]
    assert state.outputs["folder"] == {"class": "Directory", "basename": "out", "path": "folder"}
    assert str(bench.directory) not in str(state.outputs)

    output = bench.executions.output
    assert output(reference, "answer", None, "zip") == OutputValue(42)
    assert output(reference, "files", None, "zip") == OutputValue(state.outputs["files"])
    page = output(reference, "folder", "deep/c.html", "zip")
    assert isinstance(page, OutputFile)
    with page.stream:
        assert (page.name, page.media_type, page.size) == ("c.html", "text/html", 5)
    file = output(reference, "files", "0", "zip")
    assert isinstance(file, OutputFile)
    with file.stream:
        assert file.etag == state.outputs["files"][0]["checksum"].replace("$", "-")
    archive = output(reference, "folder", None, "zip")
    assert isinstance(archive, OutputArchive)
    assert archive.name == "out.zip"
    packed = zipfile.ZipFile(io.BytesIO(b"".join(archive.chunks)))
    assert packed.read("deep/c.html") == b"three"
    assert not [name for name in packed.namelist() if "outside" in name]
    for name, path in (
        ("nothing", None),
        ("files", "2"),
        ("files", "x"),
        ("folder", "../a.txt"),
        ("folder", "deep/../../a.txt"),
        ("folder", "/etc/passwd"),
        ("folder", "outside"),
        ("folder", "deep/nothing"),
        ("answer", "0"),
        ("files", "0/location"),
    ):
        with pytest.raises(NotFound):
            output(reference, name, path, "zip")


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
    deadline = time.monotonic() + 10
    while "started" not in bench.text(reference) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _commands(mark)

    bench.executions.cancel(reference)
    assert bench.executions.state(reference).status is Status.CANCELLING
    bench.executions.cancel(reference)
    state = bench.end(reference)

    assert (state.status, state.reason) == (Status.CANCELLED, "Cancelled on request.")
    assert [step.status for step in state.steps] == [StepStatus.CANCELLED]
    assert not _commands(mark)
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


def test_javascript_runs_without_node_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sh").symlink_to(str(shutil.which("sh")))
    monkeypatch.setenv("PATH", str(tools))
    bench = Bench.open(tmp_path / "cwl")
    try:
        reference = bench.shell("echo > a.txt")
        state = bench.end(reference)
        assert state.outputs is not None, bench.text(reference)
        assert state.outputs["answer"] == 42
    finally:
        bench.executions.close()


@pytest.mark.parametrize(
    ("script", "setting"),
    [
        ("yes 'a line of some length to fill the log' >&2", "1 MiB of log; the limit is the setting cwl.limits.log"),
        ("head -c 1000000000 /dev/zero | tr '\\0' x >&2", "1 MiB of log; the limit is the setting cwl.limits.log"),
        ("cat /dev/zero > big", "32 MiB of files; the limit is the setting cwl.limits.disk"),
        (
            "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > $i; sleep 0.01; done",
            "32 MiB of files; the limit is the setting cwl.limits.disk",
        ),
        (
            f"{shutil.which('python3')} -c 'x = bytearray(600 << 20); import time; time.sleep(60)'",
            "300 MiB of memory; the limit is the setting cwl.limits.memory",
        ),
    ],
    ids=["log-lines", "log-one-line", "disk-one-file", "disk-many-files", "memory"],
)
def test_a_greedy_tool_meets_a_limit(narrow: Bench, script: str, setting: str) -> None:
    reference = narrow.shell(script)
    state = narrow.end(reference)
    assert state.status is Status.FAILED
    assert setting in (state.reason or "")
    assert narrow.executions.log(reference, ALL, 0, None).entries[-1].content == state.reason
    directory = narrow.directory / "executions" / reference
    assert sum((directory / name).stat().st_size for name in ("log.jsonl", "state.json", "outputs.json")) < 3 << 20
    assert narrow.end(narrow.shell("echo fine >&2")).status is Status.SUCCEEDED


def test_queued_executions_run_in_order_and_can_be_cancelled(narrow: Bench) -> None:
    references = [narrow.start("script", {"script": "sleep 0.3"}) for _ in range(20)]
    cancelled = references[15]
    narrow.executions.cancel(cancelled)
    # Between two executions there is a place for a moment, and then nothing to be said.
    seen = [narrow.executions.state(references[19])]
    while seen[-1].status is Status.PENDING and not seen[-1].reason:
        seen.append(narrow.executions.state(references[19]))
    assert seen[-1].status is Status.PENDING
    assert "no more than 2 executions" in (seen[-1].reason or "")

    states = {reference: narrow.end(reference) for reference in references}

    assert states.pop(cancelled).status is Status.CANCELLED
    assert narrow.text(cancelled) == "Cancelled on request before it began."
    assert {state.status for state in states.values()} == {Status.SUCCEEDED}
    begins = [state.started_at for state in states.values() if state.started_at]
    # Two that start at the same time may note it in either order.
    assert all(earlier <= later for earlier, later in zip(begins, begins[2:], strict=False))
    spans = [(state.started_at, state.ended_at) for state in states.values() if state.started_at and state.ended_at]
    assert max(sum(begin <= moment < end for begin, end in spans) for moment in begins) <= 2


def test_many_threads_wait_cheaply(bench: Bench) -> None:
    reference = bench.shell("sleep 1; echo now >&2; sleep 0.5")
    woken: list[float] = []

    def follow() -> None:
        wait(bench.executions, reference, Level.ERROR, 0, 20)
        woken.append(time.monotonic())

    threads = [threading.Thread(target=follow) for _ in range(500)]
    for thread in threads:
        thread.start()
    cpu = time.process_time()
    bench.end(reference)
    for thread in threads:
        thread.join()
    assert len(woken) == 500
    assert max(woken) - min(woken) < 1
    assert time.process_time() - cpu < 1
    begin = time.monotonic()
    wait(bench.executions, reference, ALL, 10**6, 10)
    assert time.monotonic() - begin < 0.5  # over


def test_any_cwl_runner_will_do(tmp_path: Path) -> None:
    runner = {"command": [str(DATA / "cwl-runner")], "arguments": ["--work={tmpdir}", "--cores={cores}"]}
    os.environ["HWA_SECRET"] = "not for runners"
    bench = Bench.open(tmp_path / "cwl", runner=runner, limits={"cores": 3})
    del os.environ["HWA_SECRET"]
    try:
        good = bench.start("two-steps", {"text": "x"}, "write", "count")
        state = bench.end(good)
        assert state.status is Status.SUCCEEDED, bench.text(good)
        assert [step.status for step in state.steps] == ["SUCCEEDED", "SUCCEEDED"]
        assert bench.content(good, "result") == b'{"text": "x"}'
        assert state.outputs is not None
        assert state.outputs["stolen"] is None
        log = bench.text(good)
        assert "argument --work=./tmp" in log
        assert "argument --cores=3" in log
        assert "HWA=0 HOME=./tmp" in log
        assert "Output stolen is dropped" in bench.text(good, Level.WARN)
        bad = bench.start("two-steps", {"text": "fail"}, "write", "count")
        assert bench.end(bad).reason == "the grid is down"
        assert bench.executions.check().status == "ok"
    finally:
        bench.executions.close()


def test_a_missing_runner_is_named(tmp_path: Path) -> None:
    bench = Bench.open(tmp_path / "cwl", runner={"command": ["no-such-runner"]})
    try:
        state = bench.end(bench.start("two-steps", {"text": "x"}, "write", "count"))
        assert state.reason == "The runner no-such-runner was not found (setting cwl.runner.command)."
        check = bench.executions.check()
        assert check.status == "degraded"
        assert "no-such-runner" in check.problems[0]
    finally:
        bench.executions.close()
