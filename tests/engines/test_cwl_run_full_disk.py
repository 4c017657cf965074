"""A full disk: the execution ends, its reason says so, and the service goes on with the next one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.core.models import ExecutionState, Status
from hpcwaas.engines.cwl.storage import spool
from tests.engines.cwl_bench import Bench

FILL = "cat /dev/zero > big.txt 2>/dev/null"


@pytest.fixture(scope="module", params=["size=8m", "size=16m,nr_inodes=300"], ids=["bytes", "inodes"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Executions on a small disk: a file system of its own in a name space of its own needs root; others are refused by
    a limit of the same kind, which `test_the_words_of_the_system_are_understood` has."""
    if os.geteuid() != 0:
        pytest.fail("run as root: a small disk has to be mounted")
    place: Path = tmp_path_factory.mktemp("disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", place], check=True)
    bench = Bench.open(place / "cwl", limits={"cores": 2, "memory": "1 GiB", "disk": "256 MiB"})
    yield bench
    bench.executions.close()
    subprocess.run(["umount", "-l", place], check=True)


def scripts(bench: Bench) -> dict[str, str]:
    """Scripts that fill the disk."""
    many = "i=0; while [ $i -lt 400 ]; do touch f$i.txt || break; i=$((i+1)); done 2>/dev/null"
    fill = many if os.statvfs(bench.directory).f_files < 1000 else FILL
    return {
        "and-fail": f"{fill}; echo much > a.txt",
        "and-talk": f"{fill}; i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done; exit 3",
        "and-say-nothing": f"{FILL}; exit 0",
    }


@pytest.mark.parametrize("name", ["and-fail", "and-talk", "and-say-nothing"])
def test_the_reason_says_that_the_disk_was_full(bench: Bench, name: str) -> None:
    state = bench.end(bench.shell(scripts(bench)[name]), 60)
    assert state.status is Status.FAILED
    assert "disk" in (state.reason or "")
    assert "full" in (state.reason or "")
    # Room was made at once, and the next one runs.
    assert bench.end(bench.shell("echo a > a.txt"), 60).status is Status.SUCCEEDED


def test_an_execution_whose_supervisor_died_on_a_full_disk_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spool.disk_full(bench.directory) is False
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 100, 1, 1, 100, 50, 50, 0, 255)))
    assert spool.disk_full(bench.directory) is True
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 100, 90, 90, 100, 50, 0, 0, 255)))
    assert spool.disk_full(bench.directory) is True
    assert ExecutionState(Status.FAILED, reason=spool.DISK_FULL).reason


@pytest.mark.parametrize(
    "text", ["cp: write error: Disk quota exceeded", "OSError: [Errno 28] No space left on device", "ENOSPC: no space"]
)
def test_the_words_of_the_system_are_understood(bench: Bench, text: str) -> None:
    state = bench.end(bench.shell(f"echo '{text}' >&2; exit 2"), 60)
    assert state.status is Status.FAILED
    assert (state.reason or "").startswith("The disk was full. The tool failed: exited with status 2: ")
