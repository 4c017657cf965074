"""What a loss of power, a broken disk, an operator's hand or a reckless tool leaves behind, and what it can't harm."""

from __future__ import annotations

import gc
import io
import json
import os
import socket
import time
import tracemalloc
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpcwaas.core.models import ExecutionState, Status, Step, StepDeclaration, StepStatus
from hpcwaas.engines.cwl.inputs.fetch import FetchError, fetch
from hpcwaas.engines.cwl.inputs.job import Job, StagedFile
from hpcwaas.engines.cwl.inputs.networks import Networks
from hpcwaas.engines.cwl.run.collection import collect
from hpcwaas.engines.cwl.run.launcher import poke
from hpcwaas.engines.cwl.storage import spool, stored
from hpcwaas.engines.cwl.storage.outputs import open_inside
from hpcwaas.engines.cwl.storage.packing import pack
from hpcwaas.engines.cwl.storage.trees import DEPTH_LIMIT, copy_file, disk_use, remove_tree, walk
from hpcwaas.errors import ServiceError, Unavailable, UncertainStart
from tests.engines.cwl_bench import Bench
from tests.waiting import until

MIB = 1 << 20


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    limits = {"cores": 2, "memory": "1 GiB", "disk": "8 MiB"}
    bench = Bench.open(tmp_path_factory.mktemp("hardening") / "cwl", limits=limits)
    yield bench
    bench.executions.close()
    remove_tree(bench.directory)  # pytest itself can't


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory that is removed whatever its depth."""
    (tmp_path / "place").mkdir()
    yield tmp_path / "place"
    remove_tree(tmp_path / "place")


def ended(bench: Bench) -> tuple[str, Path]:
    """An execution that is over, and with which nobody has to do any more; and its directory."""
    reference = bench.shell("echo a > a.txt")
    assert bench.end(reference).status is Status.SUCCEEDED
    directory = bench.directory / "executions" / reference
    ticket = stored.REQUEST.validate_json((directory / spool.REQUEST).read_bytes()).ticket
    eventually(lambda: not (bench.directory / "active" / ticket).exists())
    return reference, directory


def eventually(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def deep(directory: Path, levels: int) -> None:
    """Makes directories inside each other, with a file of 1 MiB in the last."""
    descriptor = os.open(directory, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("folder", dir_fd=descriptor)
        inner = os.open("folder", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    with os.fdopen(os.open("file", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=descriptor), "wb") as file:
        file.write(os.urandom(MIB))
    os.close(descriptor)


@pytest.mark.parametrize("torn", [b"", b'{"status": "RUNNING", "sta', b"\0" * 100, b"[]", b'{"status": "LOST"}'])
def test_a_torn_state_is_an_execution_that_died(bench: Bench, torn: bytes) -> None:
    reference, directory = ended(bench)
    (directory / spool.STATE).write_bytes(torn)

    state = bench.executions.state(reference)
    assert (state.status, state.reason) == (Status.FAILED, stored.DIED)
    assert state.ended_at

    ticket = stored.REQUEST.validate_json((directory / spool.REQUEST).read_bytes()).ticket
    (bench.directory / "active" / ticket).touch()
    poke(bench.directory)
    eventually(lambda: not (bench.directory / "active" / ticket).exists())

    assert json.loads((directory / spool.STATE).read_bytes())["reason"] == stored.DIED
    state = bench.executions.state(reference)
    assert (state.status, [step.status for step in state.steps]) == (Status.FAILED, [StepStatus.SKIPPED])
    assert bench.text(reference).endswith(stored.DIED)
    ended(bench)  # others run


def test_a_torn_output_object_holds_nothing(bench: Bench) -> None:
    reference, directory = ended(bench)
    for torn in (b"", b'{"files": [', b"[1]"):
        (directory / spool.OUTPUT_OBJECT).write_bytes(torn)
        (directory / spool.STATE).touch()
        assert bench.executions.state(reference).outputs == {}


@pytest.mark.parametrize("folder", ["active", "queue"])
def test_a_marker_without_an_execution_is_dropped(bench: Bench, folder: str) -> None:
    lost = bench.directory / folder / spool.Spool.new_ticket("nobody")
    strange = bench.directory / folder / f"{'0' * 20}-a b"
    for marker in (lost, strange):
        marker.touch()
    poke(bench.directory)
    eventually(lambda: not lost.exists())
    ended(bench)
    strange.unlink()


def test_a_request_of_an_earlier_version_is_read() -> None:
    request = stored.Request("t", "/d", None, (), (), (), ("cwltool",), None, (), 1, 2, 3, 4, 5.5, (("a", "b"),))
    assert stored.REQUEST.validate_json(stored.REQUEST.dump_json(request)) == request
    values = json.loads(stored.REQUEST.dump_json(request))
    del values["time"], values["copies"]
    earlier = stored.REQUEST.validate_json(json.dumps(values).encode())
    assert (earlier.disk, earlier.time, earlier.copies) == (4, None, ())


def test_a_state_of_an_earlier_version_is_read() -> None:
    begin = datetime(2026, 7, 1, 10, 30, tzinfo=UTC)
    steps = (Step("prepare", StepStatus.RUNNING, None, begin), Step("count", StepStatus.PENDING, "Counts"))
    state = ExecutionState(Status.RUNNING, started_at=begin, steps=steps, stored=7)
    assert stored.decode_state(stored.encode_state(state)) == state
    earlier = {
        "status": "RUNNING",
        "started_at": "2026-07-01T10:30:00+00:00",
        "ended_at": None,
        "reason": None,
        "steps": [
            ["prepare", "RUNNING", None, "2026-07-01T10:30:00+00:00", None],
            ["count", "PENDING", "Counts", None, None],
        ],
    }
    assert stored.decode_state(json.dumps(earlier).encode()) == replace(state, stored=0)


def test_a_request_that_this_version_does_not_understand_ends_the_execution_and_says_so(bench: Bench) -> None:
    reference = uuid.uuid4().hex
    directory = bench.directory / "executions" / reference
    directory.mkdir()
    (directory / spool.REQUEST).write_text('{"ticket": 5, "tool": "of another time"}')
    ticket = spool.Spool.new_ticket(reference)
    (bench.directory / "queue" / ticket).touch()
    poke(bench.directory)
    state = bench.end(reference)
    assert state.status is Status.FAILED
    assert "another version of the service" in (state.reason or "")
    assert bench.text(reference) == state.reason


@pytest.mark.parametrize(("broken", "error"), [("incoming", Unavailable), ("queue", UncertainStart)])
def test_a_disk_that_fails_is_no_defect(tmp_path: Path, broken: str, error: type[ServiceError]) -> None:
    bench = Bench.open(tmp_path / "cwl")
    try:
        (bench.directory / broken).rmdir()
        (bench.directory / broken).write_text("")
        with pytest.raises(error, match="disk of the service fails"):
            bench.shell("true")
        # Only an execution that may begin later is left.
        assert len(list((bench.directory / "executions").iterdir())) == (error is UncertainStart)
    finally:
        bench.executions.close()


@pytest.mark.parametrize("moment", [4_354_819_200, 1 << 34, 10**17, -1, 0])
def test_a_zip_takes_any_date(tmp_path: Path, moment: int) -> None:
    (tmp_path / "a").write_text("a")
    try:
        os.utime(tmp_path / "a", (0, moment))
    except OSError:
        pytest.skip("the file system knows no such date")
    with zipfile.ZipFile(io.BytesIO(b"".join(pack(tmp_path, "", "zip")))) as archive:
        assert archive.read("a") == b"a"
        expected = (2107, 12, 31, 23, 59, 58) if archive.getinfo("a").date_time[0] > 2000 else (1980, 1, 1, 0, 0, 0)
        assert archive.getinfo("a").date_time == expected


def test_a_tool_that_writes_to_its_input_changes_no_upload(bench: Bench, tmp_path: Path) -> None:
    source = tmp_path / "upload"
    source.write_bytes(os.urandom(9 * MIB))  # more than an execution may write, but it is no work of its own
    source.chmod(0o400)
    before = source.read_bytes()
    document = tmp_path / "vandal.cwl"
    document.write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\n"
        "requirements: {ShellCommandRequirement: {}, InlineJavascriptRequirement: {}}\n"
        "arguments: [{shellQuote: false, valueFrom: "
        "'find -L $(inputs.f.path) -perm 400 >l; chmod u+w $(inputs.f.path); echo mine >$(inputs.f.path); cat l'}]\n"
        "inputs: {f: File}\noutputs: {list: stdout}\n"
    )
    order = {"f": {"class": "File", "location": "inputs/0/f"}}
    staged = (StagedFile(source, "inputs/0/f"),)
    job = Job(document, None, order, staged, (), (StepDeclaration("vandal"),))
    reference = bench.begin(job)

    assert bench.end(reference).status is Status.SUCCEEDED, bench.text(reference)

    assert source.read_bytes() == before
    assert bench.content(reference, "list").endswith(b"/f\n")
    place = bench.directory / "executions" / reference
    eventually(lambda: not {"uploads", "inputs"} & {path.name for path in place.iterdir()})


def test_a_copy_is_the_same_also_where_the_kernel_makes_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(3 * MIB))
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    copy_file(Path("/proc/self/limits"), tmp_path / "c")  # a kernel copies nothing of it, and says so or not
    assert (tmp_path / "c").read_bytes() == Path("/proc/self/limits").read_bytes()


def test_nobody_learns_which_private_addresses_answer(tmp_path: Path) -> None:
    messages = set()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        for place in (f"127.0.0.1:{port}", f"localhost:{port}", "127.0.0.1:1", "no-such-host.invalid"):
            with pytest.raises(FetchError) as caught:
                fetch(f"http://{place}/", tmp_path / "a", 1, 5, Networks().permit)
            messages.add(str(caught.value).partition(": ")[2])
        with pytest.raises(TimeoutError):  # not even a connection
            server.accept()
    with pytest.raises(FetchError) as caught:  # allowed, and closed
        fetch("http://127.0.0.1:1/", tmp_path / "a", 1, 5, lambda _: True)
    messages.add(str(caught.value).partition(": ")[2])
    assert messages == {"no connection, or the address is not one that files may come from"}


def test_directories_of_any_depth_are_counted_and_removed(place: Path) -> None:
    top = place / "top"
    top.mkdir()
    deep(top, 3000)  # more than a path can say, and than a stack or a table of open files can hold
    (top / "closed" / "inside").mkdir(parents=True)
    (top / "closed" / "inside" / "file").write_text("a")
    (top / "closed" / "inside").chmod(0)
    (top / "closed").chmod(0o100)
    (place / "kept").write_text("kept")
    (top / "link").symlink_to(place)

    assert disk_use([top]) > MIB + 3000 * 4096
    assert max(level for level, _ in walk(top)) == 3001
    assert disk_use([top / "link", place / "nothing"]) == 0

    remove_tree(top)
    assert os.listdir(place) == ["kept"]  # noqa: PTH208


def test_removing_takes_what_stands_in_the_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").write_text("")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").write_text("")
    for name in ("link", "file", "nothing"):
        remove_tree(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "kept").exists()


NEST = 'python3 -c \'import os; [(os.mkdir("d"), os.chdir("d")) for _ in range(1500)]\''


@pytest.mark.parametrize("place", ["$TMPDIR", "out"])
def test_a_tool_that_nests_directories_is_cleared_away(bench: Bench, place: str) -> None:
    reference = bench.shell(f"mkdir out; cd {place}; {NEST}")
    state = bench.end(reference)
    assert (state.status, state.reason) == (Status.SUCCEEDED, None)
    eventually(lambda: not any((bench.directory / "active").iterdir()))
    assert not (bench.directory / "executions" / reference / "tmp").exists()


def test_outputs_are_kept_and_packed_to_a_limited_depth(place: Path) -> None:
    (place / "out").mkdir()
    deep(place / "out", 1500)
    nested: Any = 1
    for _ in range(DEPTH_LIMIT * 5):
        nested = [nested]
    value = {"deep": {"class": "Directory", "location": (place / "out").as_uri()}, "nested": nested, "odd": 1e999}

    kept, warnings = collect(value, place)

    assert kept["odd"] is None
    assert json.dumps(kept["nested"]).count("[") == DEPTH_LIMIT
    assert [f"{DEPTH_LIMIT} levels" in warning for warning in warnings] == [True, True, False]
    for kind in ("zip", "tar"):
        assert b"".join(pack(place, "out", kind)).count(b"folder/" * (DEPTH_LIMIT - 1)) > 0
    with zipfile.ZipFile(io.BytesIO(b"".join(pack(place, "out", "zip")))) as archive:
        assert len(archive.namelist()) == DEPTH_LIMIT
    os.close(open_inside(place, "out/" + "folder/" * 1500 + "file"))


def test_an_execution_meets_its_limit_of_time(place: Path) -> None:
    bench = Bench.open(place / "cwl", limits={"time": 6})
    begin = time.monotonic()
    reference = bench.shell("ln -s . loop; sleep 1000")
    state = bench.end(reference)
    bench.executions.close()
    assert (state.status, state.reason) == (
        Status.FAILED,
        (
            "The execution ran for more than 6 seconds; the limit is the setting cwl.limits.time, or the workflow's "
            "time_limit."
        ),
    )
    assert 5 < time.monotonic() - begin < 90


DISK = "The execution wrote more than 8 MiB of files; the limit is the setting cwl.limits.disk."


REMOVED = """exec python3 -c '
import os, time
f = open("gone", "wb")
os.unlink("gone")
f.write(bytes(8 << 20))
f.flush()
time.sleep(60)
'"""


@pytest.mark.parametrize(
    "script",
    [
        "mkdir out; cd out; i=0; while [ $i -lt 4000 ]; do : > $i; i=$((i+1)); done; sleep 60",
        REMOVED,
        "head -c 6291456 /dev/zero > a.txt; cp a.txt b.txt",
    ],
    ids=["empty files", "removed files", "outputs"],
)
def test_all_that_takes_room_counts_and_is_given_back(bench: Bench, script: str) -> None:
    reference = bench.shell(script)
    state = bench.end(reference)
    assert (state.status, state.reason) == (Status.FAILED, DISK)
    assert not state.outputs
    # Its user is told of the end before thousands of files have been removed.
    until(lambda: disk_use([bench.directory / "executions" / reference]) < MIB)


def test_files_that_are_removed_and_open_count(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    with (tmp_path / "gone").open("wb") as file:
        file.write(bytes(MIB))
        file.flush()
        (tmp_path / "gone").unlink()
        assert disk_use([tmp_path]) < MIB
        assert disk_use([tmp_path], [psutil.Process()]) >= MIB


def test_large_outputs_are_not_kept_in_memory(tmp_path: Path) -> None:
    bench = Bench.open(tmp_path / "cwl")
    try:
        now = datetime.now(UTC)
        state = ExecutionState(Status.SUCCEEDED, started_at=now, ended_at=now, steps=(Step("a", StepStatus.SUCCEEDED),))
        for number in range(20):
            directory = bench.directory / "executions" / str(number)
            directory.mkdir()
            (directory / spool.STATE).write_bytes(stored.encode_state(state))
            (directory / spool.OUTPUT_OBJECT).write_bytes(json.dumps({"text": "x" * MIB}).encode())
        tracemalloc.start()
        for number in range(20):
            outputs = bench.executions.state(str(number)).outputs
            assert outputs is not None
            assert len(outputs["text"]) == MIB
        del outputs
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept < 2 * MIB
    finally:
        bench.executions.close()
