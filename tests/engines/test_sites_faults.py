"""What goes wrong with sites: what the user reads, and that nothing is lost or started twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hpcwaas.core.models import Status
from hpcwaas.engines.cwl.sites import courier
from hpcwaas.engines.cwl.sites.connection import SiteFailed
from hpcwaas.errors import Unavailable
from tests.engines.site_bench import OUTPUT, PLACEMENT, SiteBench, opened
from tests.waiting import until

BEGIN, GO_ON = "echo begun >&2", "while [ ! -e $HOME/go ]; do sleep 0.1; done; echo '{}'"
WAITING = f"{BEGIN}; {GO_ON}"
"""Runs until the test says so."""
AGAIN = "The service tries again within 1 second; `waas sites check mare` does at once."


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests don't wait for turns."""
    monkeypatch.setattr(courier, "RATE", 20.0)
    monkeypatch.setattr(courier, "_PAUSE", 0.1)
    monkeypatch.setattr(courier, "_LONGEST_PAUSE", 0.5)
    monkeypatch.setattr(courier, "WAIT", 0.3)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SiteBench]:
    """A site where all is well."""
    with opened(tmp_path) as bench:
        yield bench
        (bench.home / "go").touch()


def nth(command: str, number: int) -> Callable[[str], bool]:
    """True for the n-th time that a command of the agent is run."""
    seen = []

    def asked(line: str) -> bool:
        seen.extend([line] if line.endswith(f"'{command}'") else [])
        return line.endswith(f"'{command}'") and len(seen) == number

    return asked


def test_all_is_well(bench: SiteBench) -> None:
    reference = bench.start(OUTPUT)
    state = bench.end(reference)
    assert state.status is Status.SUCCEEDED, state
    assert state.directory == str(bench.work_dir / "executions" / reference.removeprefix("mare:"))
    assert bench.content(reference, "file") == b"text\n"
    assert bench.content(reference, "folder", "inner.txt") == b"inner\n"
    assert bench.began() == 1


def test_an_upload_that_is_cut_goes_on_where_it_was(bench: SiteBench, tmp_path: Path) -> None:
    file = tmp_path / "reads 'é' $HOME.fastq"
    file.write_bytes(os.urandom(1 << 20))
    bench.logins.cut_upload_after = 300_000
    reference = bench.start("cat $here/inputs/0/* > copy; echo '{}'", file)
    assert bench.end(reference).status is Status.SUCCEEDED
    copy = bench.work_dir / "executions" / reference.removeprefix("mare:") / "outputs" / "copy"
    assert copy.read_bytes() == file.read_bytes()
    assert bench.began() == 1
    sent = len(bench.logins.uploads)
    assert bench.end(bench.start("echo '{}'", file)).status is Status.SUCCEEDED
    assert len(bench.logins.uploads) == sent  # never twice


@pytest.mark.parametrize("command", ["start", "look", "cancel", "probe"])
@pytest.mark.parametrize(("lost", "number"), [("lose_answer", 1), ("lose_answer", 2), ("lose_before", 1)])
def test_a_cut_between_any_two_steps_loses_nothing(bench: SiteBench, command: str, number: int, lost: str) -> None:
    setattr(bench.logins, lost, nth(command, number))
    reference = bench.start(WAITING)
    bench.running(reference)
    other = bench.start(OUTPUT)
    bench.engine.cancel(reference)
    assert bench.end(reference).status is Status.CANCELLED
    assert bench.end(other).status is Status.SUCCEEDED
    assert bench.began() == 2


def test_a_silent_login_node_is_told_and_the_jobs_go_on(bench: SiteBench) -> None:
    reference = bench.start(WAITING)
    bench.running(reference)
    bench.logins.failure = SiteFailed("The site mare can't be reached.")
    state = bench.until(reference, lambda state: state.stale_since is not None)
    assert state.status is Status.RUNNING
    waits = bench.start("echo '{}'")
    assert bench.engine.sites()[0].state == "silent"
    ahead(bench, 250)
    state = bench.engine.state(reference)
    assert state.reason == (
        "The login node of Mare hasn't answered for 4 minutes; the jobs go on. The site mare can't be reached. " + AGAIN
    )
    assert (bench.engine.state(waits).reason or "").startswith(
        "The login node of Mare hasn't answered for 4 minutes; the execution begins when it does."
    )
    [_, check] = bench.engine.checks()
    assert check.status == "degraded"
    assert "mare couldn't be used for the account u1234 for 4 minutes" in check.problems[0]
    (bench.home / "go").touch()
    bench.logins.failure = None
    assert bench.end(reference).status is Status.SUCCEEDED
    assert bench.end(waits).status is Status.SUCCEEDED
    assert bench.engine.sites()[0].state == "available"
    assert bench.began() == 2


def ahead(bench: SiteBench, seconds: float) -> None:
    """Lets time pass for what is told."""
    site = bench.engine._sites.remote["mare"]
    site._around = replace(site._around, now=lambda: time.time() + seconds)


@pytest.mark.parametrize(
    ("failure", "before"),
    [
        (SiteFailed("The host key of mare has changed.", lasting=True), ""),
        (SiteFailed("The site mare refuses the key of the account.", lasting=True), ""),
        (Unavailable("The vault is sealed."), "The account on the site mare can't be opened now. "),
    ],
)
def test_why_an_account_cannot_be_used_is_told_in_its_own_words(
    bench: SiteBench, failure: Unavailable, before: str
) -> None:
    reference = bench.start(WAITING)
    bench.running(reference)
    bench.logins.failure = failure
    state = bench.until(reference, lambda state: state.reason is not None)
    assert state.reason == f"{before}{failure.detail} The jobs go on. {AGAIN}"
    assert state.stale_since is not None
    bench.logins.failure = None
    (bench.home / "go").touch()
    assert bench.end(reference).status is Status.SUCCEEDED


def test_what_was_mended_goes_on_at_the_time_that_is_told(bench: SiteBench) -> None:
    reference = bench.start(WAITING)
    bench.running(reference)
    bench.logins.pause = 2.0
    bench.logins.failure = SiteFailed("The site mare refuses the key.", lasting=True)
    state = bench.until(reference, lambda state: state.reason is not None)
    assert "The service tries again within 2 seconds" in (state.reason or "")
    bench.logins.failure = None
    (bench.home / "go").touch()
    assert bench.end(reference).status is Status.SUCCEEDED
    assert bench.logins.refusals <= 3  # in each of three threads


def test_what_was_mended_goes_on_when_any_process_has_checked_it(bench: SiteBench) -> None:
    reference = bench.start(WAITING)
    bench.running(reference)
    bench.logins.pause = 600.0
    bench.logins.failure = SiteFailed("The site mare refuses the key.", lasting=True)
    state = bench.until(reference, lambda state: state.reason is not None)
    assert "The service tries again within 10 minutes" in (state.reason or "")
    late = bench.start(OUTPUT)
    bench.until(late, lambda state: state.reason is not None)
    bench.logins.failure = None
    (bench.home / "go").touch()
    bench.engine._sites.remote["mare"]._mirror.account(PLACEMENT).prove()
    assert {bench.end(each).status for each in (reference, late)} == {Status.SUCCEEDED}
    assert bench.began() == 2


def test_cancelling_waits_for_the_site(bench: SiteBench) -> None:
    reference = bench.start(WAITING)
    bench.running(reference)
    bench.logins.failure = SiteFailed("The site mare can't be reached.")
    bench.until(reference, lambda state: state.stale_since is not None)
    bench.engine.cancel(reference)
    assert bench.engine.state(reference).status is Status.CANCELLING
    bench.again()
    assert bench.engine.state(reference).status is Status.CANCELLING
    bench.logins.failure = None
    assert bench.end(reference).status is Status.CANCELLED


def test_what_never_began_is_cancelled_at_once(bench: SiteBench) -> None:
    bench.logins.failure = SiteFailed("The site mare can't be reached.")
    bench.site["limits"] = {"executions": 1}
    bench.again()
    first, second = bench.start("echo '{}'"), bench.start("echo '{}'")
    state = bench.until(first, lambda state: state.stale_since is not None)
    assert state.reason == f"The site mare can't be reached. The execution begins when that is over. {AGAIN}"
    for reference in (second, first):  # one waits for its turn, and nothing of the other has gone out
        bench.engine.cancel(reference)
        state = bench.end(reference)
        assert (state.status, state.reason) == (Status.CANCELLED, "Cancelled on request before it began.")
    bench.logins.failure = None
    assert bench.end(bench.start("echo '{}'")).status is Status.SUCCEEDED
    assert bench.began() == 1


def test_what_may_have_begun_is_looked_for_before_it_is_cancelled(bench: SiteBench) -> None:
    bench.logins.lose_answer = nth("start", 2)
    reference = bench.start(WAITING)
    until(lambda: bench.began() == 1)
    bench.logins.failure = SiteFailed("The site mare can't be reached.")
    bench.engine.cancel(reference)
    bench.logins.failure = None
    assert bench.end(reference).status is Status.CANCELLED
    assert bench.began() == 1


def test_no_more_than_the_limit_are_there_at_once(bench: SiteBench) -> None:
    bench.site["limits"] = {"executions": 2}
    bench.again()
    references = [bench.start(WAITING) for _ in range(4)]
    for reference in references[:2]:
        bench.running(reference)
    assert [bench.engine.state(reference).status for reference in references[2:]] == [Status.PENDING] * 2
    assert bench.engine.state(references[3]).reason == (
        "The execution waits for its turn: no more than 2 executions of an account are on the site Mare at the same "
        "time."
    )
    (bench.home / "go").touch()
    assert {bench.end(reference).status for reference in references} == {Status.SUCCEEDED}


def test_a_purged_directory(bench: SiteBench) -> None:
    reference = bench.start(WAITING)
    bench.running(reference)
    shutil.rmtree(bench.work_dir)
    state = bench.end(reference)
    assert state.status is Status.FAILED
    assert "removed" in (state.reason or "")
    assert "purge" in (state.reason or "")
    (bench.home / "go").touch()
    assert bench.end(bench.start(OUTPUT)).status is Status.SUCCEEDED  # all of it is brought again


def test_a_dead_supervisor_ends_the_execution(bench: SiteBench) -> None:
    reference = bench.start("echo said before >&2\n" + WAITING)
    bench.running(reference)
    until(lambda: bench.began() == 1)
    [supervisor] = [
        process
        for process in psutil.process_iter(["cmdline"])
        if reference.removeprefix("mare:") in (process.info["cmdline"] or []) and "supervise" in process.info["cmdline"]
    ]
    supervisor.send_signal(signal.SIGKILL)
    state = bench.end(reference)
    assert state.status is Status.FAILED
    assert (state.reason or "").startswith("The execution was interrupted on mare: the process that ran it there")
    assert bench.text(reference).splitlines() == ["said before", "begun", state.reason]


@pytest.mark.parametrize("state", ["nonsense", '{"status": "EATEN", "steps": []}'])
def test_a_job_that_writes_into_what_is_kept_of_it_ends_alone(bench: SiteBench, state: str) -> None:
    other = bench.start(WAITING)
    odd = bench.start(f"cd ../..; printf 'x\\n\\n[9]\\n' >> log.jsonl; echo '{state}' > state.json; {GO_ON}")
    found = bench.end(odd)
    assert found.status is Status.FAILED
    assert "something has written into the files in its directory there" in (found.reason or "")
    assert (found.reason or "") in bench.text(odd)
    assert bench.engine.state(other).status is Status.RUNNING
    (bench.home / "go").touch()
    assert bench.end(other).status is Status.SUCCEEDED


def test_a_full_disk_names_the_file(bench: SiteBench, tmp_path: Path) -> None:
    file = tmp_path / "reads.fastq"
    file.write_bytes(b"ACGT")
    assert bench.end(bench.start("echo '{}'")).status is Status.SUCCEEDED
    bench.logins.disk_full = True
    state = bench.end(bench.start("echo '{}'", file))
    assert state.status is Status.FAILED
    assert state.reason == (
        "There is no room for reads.fastq on mare: the disk is full, or the quota of the account is used up: No space "
        "left on device. Make room there, then trigger the execution again."
    )


def test_no_python_is_told(bench: SiteBench) -> None:
    bench.site["python"] = "python9"
    bench.again()
    reference = bench.start("echo '{}'")
    state = bench.until(reference, lambda state: state.reason is not None)
    assert state.reason == (
        "The site mare has no program python9 for the account. Ask an operator of the service, whose setting `python` "
        f"names it. The execution begins when that is over. {AGAIN}"
    )
    del bench.site["python"]
    bench.again()
    assert bench.end(reference).status is Status.SUCCEEDED


def test_no_runner_is_told(bench: SiteBench) -> None:
    bench.site["runner"] = {"command": ["no-such-runner"]}
    bench.again()
    state = bench.end(bench.start("echo '{}'"))
    assert state.status is Status.FAILED
    assert "no-such-runner" in (state.reason or "")


def test_a_variable_that_is_not_set_is_told(bench: SiteBench) -> None:
    bench.site["work_dir"] = "{no_such_scratch}/waas"
    bench.again()
    state = bench.until(bench.start("echo '{}'"), lambda state: state.reason is not None)
    assert "has no variable NO_SUCH_SCRATCH" in (state.reason or "")


def test_profile_files_may_print(bench: SiteBench) -> None:
    bench.logins.noise = b"Welcome to Mare!\n@@HPCWAAS\n"
    assert bench.end(bench.start(OUTPUT)).status is Status.SUCCEEDED


def test_a_site_that_was_removed_from_the_settings(bench: SiteBench) -> None:
    reference = bench.start(WAITING)
    bench.running(reference)
    bench.again(with_site=False)
    state = bench.engine.state(reference)
    assert state.status is Status.UNKNOWN
    assert state.reason == (
        "The site mare, on which the execution runs or ran, isn't in the settings of the service any more. What runs "
        "there goes on; nothing can be told of it here."
    )
    assert bench.engine.log(reference, 15, 0, None).total == 0  # type: ignore[arg-type]
    (bench.home / "go").touch()
    bench.again()
    assert bench.end(reference).status is Status.SUCCEEDED
    assert bench.began() == 1


def test_two_keys_of_one_login_name_share_its_directory(bench: SiteBench, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(os.urandom(1 << 16))
    other = replace(PLACEMENT, ssh_key="another")
    script = "cat $here/inputs/0/a > copy; echo '{}'"
    references = [bench.start(script, file, placement=each) for each in (PLACEMENT, other) for _ in range(3)]
    assert {bench.end(reference).status for reference in references} == {Status.SUCCEEDED}
    assert bench.began() == 6
