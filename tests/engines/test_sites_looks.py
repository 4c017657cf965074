"""One command looks at a site as long as there is something to look at, and tells at once what happens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hpcwaas.core.models import Status
from hpcwaas.engines.cwl.sites import courier
from tests.engines.site_bench import OUTPUT, SiteBench, opened
from tests.simulators import logins

WAITING = "echo begun >&2; while [ ! -e $HOME/go ]; do sleep 0.1; done; echo more >&2; echo '{}'"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that isn't woken is too late for every test."""
    monkeypatch.setattr(courier, "WAIT", 600.0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SiteBench]:
    with opened(tmp_path) as bench:
        yield bench
        (bench.home / "go").touch()


def watching() -> list[psutil.Process]:
    """The processes on the site that look."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found += [each] if each.cmdline()[-1:] == ["watch"] else []
    return found


def test_all_that_happens_is_told_by_one_command(bench: SiteBench) -> None:
    first = bench.start(WAITING)
    bench.running(first)
    second = bench.start(OUTPUT)
    assert bench.end(second).status is Status.SUCCEEDED
    bench.wait(lambda: "begun" in bench.text(first))  # who asks for the log follows it
    (bench.home / "go").touch()
    assert bench.end(first).status is Status.SUCCEEDED
    assert bench.text(first).splitlines()[-2:] == ["begun", "more"]
    third = bench.start(OUTPUT)  # a little later
    assert bench.end(third).status is Status.SUCCEEDED
    assert (bench.count("watch"), bench.count("look")) == (1, 0)
    assert bench.count("start") <= 5


def test_another_one_looks_on_when_a_look_is_killed_there(bench: SiteBench) -> None:
    reference = bench.start(WAITING)
    bench.running(reference)
    [process] = watching()
    [agent] = (bench.work_dir / "bin").iterdir()
    agent.unlink()
    process.kill()
    bench.wait(lambda: len(watching()) == 1 and watching() != [process])
    (bench.home / "go").touch()
    state = bench.end(reference)
    assert (state.status, state.stale_since) == (Status.SUCCEEDED, None)
    assert agent.exists()
    assert bench.began() == 1


def test_looks_give_way_and_go_on_where_others_always_need_the_session(
    bench: SiteBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "RATE", 20.0)
    monkeypatch.setattr(logins._Talk, "wanted", True)
    reference = bench.start(WAITING)
    bench.running(reference)
    bench.wait(lambda: bench.count("watch") > 3)
    (bench.home / "go").touch()
    assert bench.end(reference).status is Status.SUCCEEDED


def test_a_long_log_comes_with_the_end(bench: SiteBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcwaas.engines.cwl.sites.looking.LOG_ROOM", 20_000)
    reference = bench.start("seq -f 'line %g of a log that is long' 5000 >&2; echo '{}'")
    assert bench.end(reference).status is Status.SUCCEEDED
    assert bench.text(reference).splitlines()[-1] == "line 5000 of a log that is long"
    assert bench.count("watch") == 1


def test_nothing_looks_on_when_the_service_stops(bench: SiteBench) -> None:
    bench.running(bench.start(WAITING))
    assert len(watching()) == 1
    bench.engine.close()
    assert watching() == []
