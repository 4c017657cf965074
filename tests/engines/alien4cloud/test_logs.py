"""Logs: complete, in order, with numbers that stay, and one reader for all."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpcwaas.core.models import Level, LogEntry, Status
from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from hpcwaas.errors import Unavailable
from tests.engines.alien4cloud.helpers import ENGINE, RUN, Make, log_line, start
from tests.engines.orchestrated import ALL, made, until, wait, whole_log
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Workflow
from tests.simulators.alien4cloud_worlds import many, recorded
from tests.waiting import until as eventually


def until_there(engine: Alien4CloudEngine, reference: str, lines: set[str]) -> None:
    eventually(lambda: lines <= {entry.content for entry in engine.log(reference, ALL, 0, None).entries})


def test_a_log_of_many_lines_is_complete_and_in_order(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    execution = simulator.remember("5de4279f-d629-47ca-ac92-586a8cc534fd", "exec_job", ago=3600)
    begin = time.time() - 3000
    for number in range(12_000):
        log_line(simulator, execution, number, begin + number * 0.01)
    reference = f"{RUN}{execution}"
    page = whole_log(engine, reference)
    assert page.total == 12_005
    assert [entry.content for entry in page.entries if entry.content.startswith("line ")] == [
        f"line {number}" for number in range(12_000)
    ]
    assert [entry.index for entry in page.entries] == list(range(12_005))
    errors = engine.log(reference, Level.ERROR, 2990, 5)
    assert errors.total == 3000
    assert [entry.content for entry in errors.entries] == [
        f"line {number}" for number in (11963, 11967, 11971, 11975, 11979)
    ]
    assert engine.log(reference, ALL, 0, 0).entries == ()


def test_numbers_never_change(
    simulator: Simulator, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{ENGINE}.log_reader._COUNT_EVERY", 1)
    engine = make(simulator)
    reference = start(engine, f"{RUN}slow_job")
    until(engine, reference, Status.RUNNING)
    execution = reference.rpartition("@")[2]
    now = time.time()
    for number in (1, 3):
        log_line(simulator, execution, number, now + number)
    until_there(engine, reference, {"line 1", "line 3"})
    before = engine.log(reference, ALL, 0, None).entries
    log_line(simulator, execution, 2, now + 2)  # a little late
    log_line(simulator, execution, 0, now - 100)  # very late
    log_line(simulator, execution, 4, now + 4)
    until_there(engine, reference, {"line 0", "line 2", "line 4"})
    after = engine.log(reference, ALL, 0, None).entries
    assert after[: len(before)] == before
    added = [entry.content for entry in after[len(before) :]]
    assert {content for content in added if content.startswith("line")} == {"line 0", "line 2", "line 4"}
    engine.close()
    # Another process, or this one after a restart, numbers them alike.
    assert make(simulator, tmp_path).log(reference, ALL, 0, None).entries[: len(after)] == after


def test_one_reader_for_all_followers(simulator: Simulator, make: Make) -> None:
    workflow = Workflow(name="w", duration=4, log_rate=5)
    with Simulator(many(1, workflow), lag=0.1) as simulator:
        engine = make(simulator)
        reference = start(engine, "App0000@env-0000@w")
        until(engine, reference, Status.RUNNING)
        simulator.forget_calls()
        began = time.monotonic()
        with ThreadPoolExecutor(50) as pool:
            pages = list(pool.map(lambda _: whole_log(engine, reference), range(50)))
        seconds = time.monotonic() - began
        assert {page.total for page in pages} == {len(pages[0].entries)}
        assert pages[0].total > 18
        assert made(simulator, "logs/search") <= 2 * seconds + 2
        # Who comes afterwards is told at once.
        simulator.forget_calls()
        assert wait(engine, reference, pages[0].total, 60)
        assert engine.log(reference, ALL, pages[0].total, None).over
        assert simulator.call_count() == 0


def test_processes_share_what_each_of_them_reads(make: Make) -> None:
    with Simulator(many(1, Workflow(name="w", duration=120, log_rate=1)), lag=0) as simulator:
        engines = [make(simulator) for _ in range(3)]  # with files of their own for each, as processes have them
        reference = start(engines[0], "App0000@env-0000@w")
        for engine in engines:
            until(engine, reference, Status.RUNNING)
        over = threading.Event()
        seen: list[list[LogEntry]] = [[] for _ in engines]

        def follow(engine: Alien4CloudEngine, seen: list[LogEntry]) -> None:
            position = engine.log(reference, ALL, 0, None).total
            while not over.is_set():
                wait(engine, reference, position, 1)
                entries = engine.log(reference, ALL, position, None).entries
                seen += entries
                position += len(entries)

        followers = [threading.Thread(target=follow, args=pair) for pair in zip(engines, seen, strict=True)]
        for follower in followers:
            follower.start()
        eventually(lambda: all(seen))
        simulator.forget_calls()
        began = time.monotonic()
        eventually(lambda: all(len(entries) > 5 for entries in seen))
        calls, seconds = made(simulator, "logs/search"), time.monotonic() - began
        over.set()
        for follower in followers:
            follower.join()
        assert calls <= 2 * seconds + 1  # with one process, that is what it takes


def test_a_log_is_served_while_alien4cloud_is_down(engine: Alien4CloudEngine, simulator: Simulator) -> None:
    reference = start(engine)
    until(engine, reference, Status.SUCCEEDED)
    total = whole_log(engine, reference).total
    slow = start(engine, f"{RUN}slow_job")
    until(engine, slow, Status.RUNNING)  # as soon as it is taken: there needn't be a line yet
    assert wait(engine, slow, 0, 60)
    lines = engine.log(slow, ALL, 0, None).total
    assert lines > 0
    simulator.down()
    assert engine.log(reference, ALL, 0, None).total == total
    eventually(lambda: engine.log(slow, ALL, 0, None).stale_since is not None)
    page = engine.log(slow, ALL, 0, None)
    assert page.total >= lines
    assert not page.over
    assert engine.state(slow).status is Status.RUNNING
    simulator.up()


def test_a_log_without_a_line_yet_is_known_once_it_was_read(make: Make, tmp_path: Path) -> None:
    with Simulator(recorded(), lag=30) as simulator:
        engine = make(simulator)
        reference, unread = start(engine), start(engine)
        page = engine.log(reference, ALL, 0, None)
        assert (page.total, page.over, page.stale_since) == (0, False, None)
        simulator.down()
        eventually(lambda: engine.log(reference, ALL, 0, None).stale_since is not None)
        for served in (engine, make(simulator, tmp_path)):  # the second one as after a restart
            page = served.log(reference, ALL, 0, None)
            assert (page.entries, page.total, page.over) == ((), 0, False)
            assert page.stale_since is not None
            with pytest.raises(Unavailable):
                served.log(unread, ALL, 0, None)
