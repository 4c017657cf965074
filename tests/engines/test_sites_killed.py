"""A service that is killed at any instant while it works for sites: the next process goes on, or one of another machine
with a data directory of its own, and nothing is lost or started twice."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.core.models import Status
from hpcwaas.engines.cwl.sites import courier
from hpcwaas.engines.cwl.storage import machines
from tests.engines.site_bench import OUTPUT, SiteBench
from tests.waiting import until

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "RATE", 20.0)
    monkeypatch.setattr(courier, "WAIT", 0.3)
    monkeypatch.setattr(machines, "PATIENCE", 0.3)


@pytest.fixture
def ids() -> list[str]:
    return [uuid.uuid4().hex for _ in range(2)]


def process(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.engines.site_process", str(directory), "first", *arguments]
    return subprocess.Popen(command, cwd=ROOT)


@pytest.fixture
def closing() -> Iterator[list[SiteBench]]:
    """Benches that are closed afterwards."""
    benches: list[SiteBench] = []
    yield benches
    for bench in benches:
        bench.engine.close()


@pytest.mark.parametrize(
    ("when", "method"),
    [
        ("before", "enqueue"),
        ("before", "claim"),
        ("after", "claim"),
        ("before", "mark"),
        ("after", "mark"),
        ("before", "tidy"),
        ("before", "finish"),
        ("before", "settle"),
        ("after", "settle"),
    ],
)
def test_a_killed_service_goes_on_where_it_was(
    tmp_path: Path, ids: list[str], closing: list[SiteBench], when: str, method: str
) -> None:
    assert process(tmp_path, when, method, *ids).wait(60) == -9
    closing.append(bench := SiteBench(tmp_path, machine="second"))
    references = [bench.start(OUTPUT, execution_id=each) for each in ids]  # as the core does with what has no reference
    for reference in references:
        assert bench.end(reference).status is Status.SUCCEEDED
        assert bench.content(reference, "file") == b"text\n"
    assert bench.began() == 2


def test_another_process_takes_over_from_one_that_is_killed(
    tmp_path: Path, ids: list[str], closing: list[SiteBench]
) -> None:
    first = process(tmp_path, "never", "", *ids)
    try:
        closing.append(bench := SiteBench(tmp_path, machine="second"))
        until(lambda: bench.engine.state(f"mare:{ids[1]}").status is Status.SUCCEEDED, 60)
        # The other one holds the account: this one tells what is to be done, and reads.
        before = len(bench.logins.commands)
        third = bench.start("echo begun >&2; while [ ! -e $HOME/go ]; do sleep 0.1; done; echo '{}'")
        bench.running(third)
        assert len(bench.logins.commands) == before
    finally:
        first.kill()
        first.wait()
    (bench.home / "go").touch()
    assert bench.end(third).status is Status.SUCCEEDED
    assert len(bench.logins.commands) > before
    assert bench.began() == 3


def test_who_was_cut_off_leaves_an_account_to_whoever_has_got_its_lock(
    tmp_path: Path, closing: list[SiteBench], caplog: pytest.LogCaptureFixture
) -> None:
    closing.append(first := SiteBench(tmp_path, machine="first"))
    reference = first.start("echo begun >&2; while [ ! -e $HOME/go ]; do sleep 0.1; done; echo end >&2; echo '{}'")
    first.running(reference)
    closing.append(second := SiteBench(tmp_path, machine="second", logins=first.logins))
    # As a network file system gives the lock of a machine away that it doesn't hear of: the machine goes on.
    (lock,) = (tmp_path / "shared" / "cwl" / "sites" / "mare" / "accounts").glob("*/lock")
    lock.unlink()
    until(lambda: "another process has taken over" in caplog.text)
    (first.home / "go").touch()
    assert [bench.end(reference).status for bench in (first, second)] == [Status.SUCCEEDED] * 2
    assert second.text(reference).split().count("end") == 1
    assert first.began() == 1
    assert not lock.with_name("silence.json").exists()
