"""Logs: complete, in order, with numbers that stay, and one reader for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from hpcwaas.core.models import Level, LogEntry, Status
from hpcwaas.engines.yorc import polls
from hpcwaas.engines.yorc.engine import YorcEngine
from hpcwaas.errors import Unavailable
from tests.engines.orchestrated import ALL, made, until, wait, whole_log
from tests.engines.yorc.helpers import DEMO, ENGINE, Make, start
from tests.simulators.faults import Fault
from tests.simulators.yorc import Simulator
from tests.simulators.yorc_state import Script
from tests.simulators.yorc_worlds import one
from tests.waiting import until as eventually

JOB = "App@exec_job"


@pytest.fixture
def talking() -> Iterator[Simulator]:
    """A job that prints a line every fifth of a second, until it is hurried."""
    with Simulator([one("App", Script(seconds=300, rate=5, says="over", job=True))]) as simulator:
        yield simulator


def texts(engine: YorcEngine, reference: str) -> list[str]:
    return [entry.content for entry in engine.log(reference, ALL, 0, None).entries]


def in_order(entries: tuple[LogEntry, ...]) -> bool:
    return all(one.timestamp <= two.timestamp for one, two in pairwise(entries))


def test_output_of_many_lines(make: Make) -> None:
    said = "\n".join(f"line {number}" for number in range(100_000))
    with Simulator([one("App", Script(says=said))]) as simulator:
        engine = make(simulator)
        page = whole_log(engine, start(engine, JOB))
        lines = [entry.content for entry in page.entries if entry.content.startswith("line ")]
        assert lines == said.split("\n")
        assert [entry.index for entry in page.entries] == list(range(page.total))


@pytest.mark.parametrize("keep", [True, False])
def test_numbers_stay_and_nothing_comes_twice_when_the_store_is_made_anew(
    talking: Simulator, make: Make, keep: bool, tmp_path: Path
) -> None:
    talking._inner.store.index = 10_000  # as where much has been going on
    engine = make(talking)
    reference = start(engine, JOB)
    eventually(lambda: len(texts(engine, reference)) > 8)
    before = engine.log(reference, ALL, 0, None).entries
    talking.rebuild_store(keep=keep)
    eventually(lambda: len(texts(engine, reference)) > len(before) + 3)
    talking.hurry(reference)
    page = whole_log(engine, reference)
    assert page.entries[: len(before)] == before
    assert len({(entry.timestamp, entry.content) for entry in page.entries}) == page.total
    assert in_order(page.entries)
    if keep:  # nothing is missing, either
        other = make(talking, tmp_path / "other")
        assert whole_log(other, reference).entries == page.entries


def test_an_index_that_was_guessed_too_high_is_mended_and_what_falls_back_later_is_noticed(
    talking: Simulator, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(polls, "WAIT", 0.1)
    talking._inner.store.index = 10_000  # of the whole store, which is asked for where the log's own isn't known
    engine = make(talking)
    kept = engine._logs._kept
    engine._logs.start()
    eventually(lambda: (cursor := kept.cursor()) is not None and not cursor.guessed)
    mended = kept.cursor()
    assert mended is not None
    assert mended.index < 10_000
    assert "fell back" not in caplog.text  # nothing has, and nothing is read again
    reference = start(engine, JOB)
    eventually(lambda: len(texts(engine, reference)) > 3)
    talking.rebuild_store()
    eventually(lambda: "fell back" in caplog.text)
    talking.hurry(reference)
    page = whole_log(engine, reference)
    assert len({(entry.timestamp, entry.content) for entry in page.entries}) == page.total


def test_a_purge_takes_nothing_away(talking: Simulator, make: Make) -> None:
    engine = make(talking)
    reference = start(engine, JOB)
    eventually(lambda: len(texts(engine, reference)) > 8)
    before = engine.log(reference, ALL, 0, None).entries
    talking.remove("App")
    eventually(lambda: engine.lost(reference))
    page = whole_log(engine, reference)
    assert page.entries[: len(before)] == before
    assert whole_log(make(talking), reference) == page


def test_a_restart_of_yorc_loses_nothing(talking: Simulator, make: Make, tmp_path: Path) -> None:
    engine = make(talking)
    reference = start(engine, JOB)
    eventually(lambda: len(texts(engine, reference)) > 8)
    talking.restart(0.5)
    talking.disconnect()
    count = len(texts(engine, reference))
    eventually(lambda: len(texts(engine, reference)) > count + 3)
    talking.hurry(reference)
    page = whole_log(engine, reference)
    assert in_order(page.entries)
    assert whole_log(make(talking, tmp_path / "other"), reference).entries == page.entries


def test_one_process_reads_for_all_and_another_one_goes_on(talking: Simulator, make: Make) -> None:
    engines = [make(talking) for _ in range(3)]  # with files of their own for each, as processes have them
    reference = start(engines[0], JOB)
    for engine in engines:
        eventually(lambda engine=engine: len(texts(engine, reference)) > 3)  # type: ignore[misc]
    talking.forget_calls()
    began, count = time.monotonic(), len(texts(engines[2], reference))
    eventually(lambda: len(texts(engines[2], reference)) > count + 10)
    polls, seconds = made(talking, "GET /logs"), time.monotonic() - began
    assert polls <= seconds + 4
    engines[0].close()
    for engine in engines[1:]:
        count = len(texts(engine, reference))
        eventually(lambda engine=engine, count=count: len(texts(engine, reference)) > count + 5)  # type: ignore[misc]
    talking.hurry(reference)
    pages = [whole_log(engine, reference) for engine in engines[1:]]
    assert pages[0] == pages[1]
    assert in_order(pages[0].entries)
    assert len({(entry.timestamp, entry.content) for entry in pages[0].entries}) == pages[0].total


def test_many_followers_cost_one_poll(talking: Simulator, make: Make) -> None:
    engine = make(talking)
    reference = start(engine, JOB)
    eventually(lambda: len(texts(engine, reference)) > 3)
    talking.forget_calls()
    began = time.monotonic()

    def follow(_: int) -> list[LogEntry]:
        found: list[LogEntry] = []
        while not (page := engine.log(reference, ALL, len(found), None)).over:
            found += page.entries
            wait(engine, reference, len(found), 60)
            if len(found) > 25:
                talking.hurry(reference)
        return [*found, *page.entries]

    with ThreadPoolExecutor(100) as pool:
        logs = list(pool.map(follow, range(100)))
    seconds = time.monotonic() - began
    assert all(log == logs[0] for log in logs)
    assert [entry.index for entry in logs[0]] == list(range(len(logs[0])))
    assert made(talking, "GET /logs") <= seconds + 4
    # Who comes afterwards is told at once.
    talking.forget_calls()
    assert wait(engine, reference, len(logs[0]), 60)
    assert engine.log(reference, ALL, len(logs[0]), None).over
    assert made(talking, "/tasks/") == 0


def test_a_log_that_began_before_it_was_read(talking: Simulator, make: Make, tmp_path: Path) -> None:
    task = talking.launch("App", "exec_job")
    reference = f"{JOB}@{task}"
    time.sleep(1)
    engine = make(talking)
    page = engine.log(reference, ALL, 0, None)
    assert page.entries[0].content == 'Status for workflow "exec_job" changed to "initial"'
    assert page.total > 3
    talking.hurry(reference)
    assert whole_log(engine, reference).entries == whole_log(make(talking, tmp_path / "b"), reference).entries


def test_lines_are_there_although_nobody_asked_before_the_purge(simulator: Simulator, engine: YorcEngine) -> None:
    reference = start(engine)
    until(engine, reference, Status.SUCCEEDED)
    eventually(lambda: len(list(Path(engine._logs._kept.directory).glob("*.log"))) == 1)
    time.sleep(1)
    simulator.remove("demo-Environment")
    assert texts(engine, reference)[-1] == 'Status for workflow "hello" changed to "done"'


def test_a_log_is_served_while_yorc_is_down(simulator: Simulator, make: Make, tmp_path: Path) -> None:
    engine = make(simulator)
    reference = start(engine)
    until(engine, reference, Status.SUCCEEDED)
    total = whole_log(engine, reference).total
    slow = start(engine, f"{DEMO}wait_long", seconds=100)
    eventually(lambda: len(texts(engine, slow)) > 5)
    lines = len(texts(engine, slow))
    simulator.down()
    for each in (engine, make(simulator)):  # the second one as after a restart
        page = each.log(reference, ALL, 0, None)
        assert (page.total, page.over, page.stale_since) == (total, True, None)
        eventually(lambda each=each: each.log(slow, ALL, 0, None).stale_since is not None)  # type: ignore[misc]
        page = each.log(slow, ALL, 0, None)
        assert page.total >= lines
        assert not page.over
    with pytest.raises(Unavailable):
        make(simulator, tmp_path / "other").log(slow, ALL, 0, None)
    simulator.up()
    simulator.hurry(slow)
    assert whole_log(engine, slow).entries[-1].content.endswith('changed to "done"')


def test_levels(engine: YorcEngine) -> None:
    page = whole_log(engine, start(engine, f"{DEMO}fail"))
    assert {entry.level for entry in page.entries} >= {Level.DEBUG, Level.INFO, Level.ERROR}
    said = [entry for entry in page.entries if entry.content == "some stderr"]
    assert [entry.level for entry in said] == [Level.ERROR]


def test_a_reader_that_is_stopped_holds_nobody_up_for_long(
    talking: Simulator, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{ENGINE}.collecting._LATE", 1.0)
    first, second = make(talking), make(talking)
    reference = start(first, JOB)
    eventually(lambda: len(texts(first, reference)) > 3)
    stopped = threading.Event()
    monkeypatch.setattr(first._client, "logs", lambda *_: stopped.wait(60) and None)
    count = len(texts(second, reference))
    eventually(lambda: len(texts(second, reference)) > count + 5)
    stopped.set()


def test_no_line_is_lost_by_answers_that_break(talking: Simulator, make: Make, tmp_path: Path) -> None:
    engine = make(talking)
    for kind in ("cut", "truncate", "html", "reset"):
        talking.fault(Fault(kind, "GET /logs", probability=0.3))
    reference = start(engine, JOB)
    eventually(lambda: len(texts(engine, reference)) > 20)
    talking.heal()
    talking.hurry(reference)
    page = whole_log(engine, reference)
    assert in_order(page.entries)
    assert whole_log(make(talking, tmp_path / "other"), reference).entries == page.entries
