"""Values that are fetched by one thread, and served while newer ones are fetched."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from hpcwaas.common.cached import Cached
from hpcwaas.errors import NotFound, Unavailable, UpstreamTimeout
from tests.waiting import until


class Source:
    """Something slow that counts how often it is asked, and answers while the test lets it."""

    def __init__(self) -> None:
        self.asked = 0
        self.down = False
        self.may_answer = threading.Event()
        self.may_answer.set()

    def fetch(self) -> int:
        self.asked += 1
        number = self.asked
        time.sleep(0.05)
        assert self.may_answer.wait(60)
        if self.down:
            raise Unavailable("down")
        return number


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcwaas.common.cached.PATIENCE", 60)


def test_one_thread_fetches() -> None:
    source = Source()
    cached = Cached("It", source.fetch)
    with ThreadPoolExecutor(16) as pool:
        assert {held.value for held in pool.map(lambda _: cached.get(60, 60), range(64))} == {1}
    assert source.asked == 1


def test_an_old_value_is_served_while_a_newer_one_is_fetched() -> None:
    source = Source()
    cached = Cached("It", source.fetch)
    assert cached.get(0, 60).value == 1
    source.may_answer.clear()
    assert [cached.get(0, 60).value for _ in range(5)] == [1] * 5
    source.may_answer.set()
    until(lambda: cached.get(60, 60).value == 2)
    held = cached.get(60, 60)
    assert (held.value, held.failed, source.asked) == (2, False, 2)
    assert cached.get(0, 0).value == 3


def test_an_old_value_is_served_when_there_is_no_newer_one() -> None:
    source = Source()
    cached = Cached("It", source.fetch)
    cached.get(1, 1)
    source.down = True
    held = cached.get(0, 0)
    assert (held.value, held.failed) == (1, True)
    assert cached.failure is not None
    source.down = False
    cached.expire()
    assert cached.get(60, 60).value == 3


def test_a_failure_answers_for_all_for_a_while() -> None:
    source = Source()
    source.down = True
    cached = Cached("It", source.fetch, clock=lambda: 0.0)

    def ask(_: int) -> str:
        with pytest.raises(Unavailable) as caught:
            cached.get(1, 1)
        return caught.value.detail

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(32))) == {"down"}
    assert source.asked == 1


def test_what_was_under_way_when_it_expired_is_out_of_date() -> None:
    source = Source()
    cached = Cached("It", source.fetch)
    source.may_answer.clear()
    fetching = threading.Thread(target=cached.get, args=(60, 60))
    fetching.start()
    until(lambda: source.asked == 1)
    cached.expire()
    source.may_answer.set()
    fetching.join()
    assert cached.get(60, 60).value == 2


def test_a_value_that_is_gone_is_an_error_when_there_never_was_one() -> None:
    def fetch() -> int:
        raise NotFound("gone")

    with pytest.raises(NotFound):
        Cached("It", fetch).get(1, 1)


def test_who_has_little_patience_is_told_of_the_failure_before() -> None:
    source = Source()
    cached = Cached("It", source.fetch)
    source.may_answer.clear()
    with pytest.raises(UpstreamTimeout, match="It hasn't answered yet"):
        cached.get(1, 1, 0.01)
    source.may_answer.set()
    until(lambda: cached.peek() is not None)
    source.down, now = True, 0.0
    cached = Cached("It", source.fetch, clock=lambda: now)
    with pytest.raises(Unavailable, match="down"):
        cached.get(1, 1)
    now = 10
    source.may_answer.clear()
    with pytest.raises(Unavailable, match="down"):
        cached.get(1, 1, 0.01)  # before the fetch has ended
    source.may_answer.set()
    until(lambda: source.asked == 3)


def test_a_value_that_is_too_old_counts_no_more() -> None:
    source, now = Source(), 0.0
    cached = Cached("It", source.fetch, longest=100, clock=lambda: now)
    assert cached.get(10, 100).value == 1
    source.down, now = True, 99
    assert cached.get(10, 100).value == 1
    until(lambda: cached.failure is not None)
    now = 110
    assert cached.peek() is None
    with pytest.raises(Unavailable, match="down"):
        cached.get(10, 100)
    source.down, now = False, 120
    assert cached.get(10, 100).value == source.asked


def test_a_newer_value_is_fetched_seldom() -> None:
    source, now = Source(), 0.0
    cached = Cached("It", source.fetch, clock=lambda: now)
    first = cached.get(10, 10).value
    assert [cached.newer(first, 30) for _ in range(3)] == [2, 2, 2]
    assert [cached.newer(2, 30) for _ in range(3)] == [2, 2, 2]
    source.down, now = True, 31
    with pytest.raises(Unavailable, match="down"):
        cached.newer(2, 30)
    assert source.asked == 3
    assert cached.get(100, 100).value == 2


def test_without_threads_the_next_one_tries_again() -> None:
    source, runs = Source(), 0

    def run(function: Callable[[], None]) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RuntimeError("can't start new thread")
        threading.Thread(target=function).start()

    cached = Cached("It", source.fetch, run)
    cached.get(1, 1)
    source.may_answer.clear()
    assert cached.get(0, 60).value == 1
    assert cached.get(0, 60).value == 1
    source.may_answer.set()
    until(lambda: cached.get(60, 60).value == 2)
    assert runs == 2
