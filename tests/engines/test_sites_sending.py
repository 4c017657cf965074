"""What executions lack on a site is brought there by turns, and no longer than it is wanted."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hpcwaas.core.models import Status
from hpcwaas.engines.cwl.inputs.fetch import FetchError
from hpcwaas.engines.cwl.inputs.job import FetchedFile
from hpcwaas.engines.cwl.sites import courier, sending, transfer
from tests.engines.site_bench import SiteBench, opened
from tests.simulators import logins


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "RATE", 20.0)
    monkeypatch.setattr(courier, "WAIT", 0.3)
    monkeypatch.setattr(logins, "_CHUNK", 4096)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SiteBench]:
    with opened(tmp_path) as bench:
        yield bench


class Slow:
    """A file that gets through slowly: piece by piece, once `gate` lets the first ones through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, pieces: int) -> None:
        self.gate = threading.Event()
        self.asked = 0
        path.write_bytes(os.urandom(pieces * 4096))
        self.path, self.pieces = path, pieces
        put = logins._Login.put

        def slowly(login: logins._Login, source: Path, target: str, wanted: Callable[[], bool]) -> bool:
            if source.stat().st_size != pieces * 4096:
                return put(login, source, target, wanted)

            def slow() -> bool:
                self.asked += 1
                self.gate.wait(0.05)
                return wanted()

            return put(login, source, target, slow)

        monkeypatch.setattr(logins._Login, "put", slowly)


def test_a_cancellation_breaks_off_what_is_being_sent(
    bench: SiteBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = Slow(monkeypatch, tmp_path / "large", 3000)
    reference = bench.start("echo '{}'", slow.path)
    bench.wait(lambda: slow.asked > 10)
    bench.engine.cancel(reference)
    state = bench.end(reference)
    assert (state.status, state.reason) == (Status.CANCELLED, "Cancelled on request before it began.")
    assert slow.asked < slow.pieces
    assert bench.began() == 0
    slow.gate.set()
    assert bench.end(bench.start("echo '{}'", slow.path)).status is Status.SUCCEEDED  # and it is gone on with later


def test_what_is_downloaded_holds_nobody_up_and_is_broken_off_by_a_cancellation(
    bench: SiteBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def endless(url: str, *arguments: Callable[[], bool]) -> None:
        while arguments[-1]():
            asked.append(url)
            time.sleep(0.05)
        raise FetchError("it isn't wanted any more")

    monkeypatch.setattr(transfer, "fetch", endless)
    monkeypatch.setitem(bench.settings, "http_inputs", True)
    bench.again()
    job = replace(bench.job("echo '{}'"), fetched=(FetchedFile("https://x.example/a", "inputs/0/a"),))
    endless_one = bench.begin(job)
    bench.wait(lambda: bool(asked))
    file = tmp_path / "small"
    file.write_text("small")
    assert bench.end(bench.start("echo '{}'", file)).status is Status.SUCCEEDED
    bench.engine.cancel(endless_one)
    state = bench.end(endless_one)
    assert (state.status, state.reason) == (Status.CANCELLED, "Cancelled on request before it began.")


def test_what_others_lack_is_sent_while_something_large_is(
    bench: SiteBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sending, "_TURN", 0.2)
    slow = Slow(monkeypatch, tmp_path / "large", 3000)
    large = bench.start("echo '{}'", slow.path)
    bench.wait(lambda: slow.asked > 10)
    for number in range(3):
        small = tmp_path / f"small{number}"
        small.write_text(f"small {number}")
        assert bench.end(bench.start("echo '{}'", small)).status is Status.SUCCEEDED
    assert bench.engine.state(large).status is Status.PENDING
    slow.gate.set()
    assert bench.end(large).status is Status.SUCCEEDED
    assert len({path for path in bench.logins.uploads if "content" in path}) == 5  # each once, and the workflow
