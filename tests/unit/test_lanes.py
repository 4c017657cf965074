"""Threads that take calls in turn, and what they hand back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hpcwaas.api.lanes import Lane


@pytest.fixture
def lane() -> Iterator[Lane]:
    with ThreadPoolExecutor(4) as pool:
        yield Lane(pool, 2)


def test_each_one_gets_its_own_result_or_error(lane: Lane) -> None:
    def work(number: int) -> int:
        if number % 7 == 0:
            raise LookupError(number)
        return number

    async def scenario() -> list[Any]:
        runs = (lane.run(lambda number=number: work(number)) for number in range(200))  # type: ignore[misc]
        return await asyncio.gather(*runs, return_exceptions=True)

    for number, found in enumerate(asyncio.run(scenario())):
        assert str(found) == str(number)
        assert isinstance(found, LookupError) == (number % 7 == 0)


def test_what_comes_while_the_loop_is_busy_comes_at_once(lane: Lane) -> None:
    done = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal done
        with lock:
            done += 1

    async def scenario() -> int:
        loop: Any = asyncio.get_running_loop()
        wakes, wake = 0, loop.call_soon_threadsafe

        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal wakes
            wakes += 1
            return wake(*arguments, **named)

        loop.call_soon_threadsafe = counted
        runs = [asyncio.ensure_future(lane.run(work)) for _ in range(100)]
        await asyncio.sleep(0)
        while done < 100:
            time.sleep(0.001)
        await asyncio.gather(*runs)
        return wakes

    assert asyncio.run(scenario()) == 1


def test_what_ends_after_its_loop_holds_up_nothing(lane: Lane) -> None:
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(60)

    async def given_up() -> None:
        runs = [asyncio.ensure_future(lane.run(work)) for _ in range(2)]
        await asyncio.to_thread(begun.wait, 60)
        for run in runs:
            run.cancel()

    asyncio.run(given_up())
    go.set()
    assert asyncio.run(lane.run(lambda: "served")) == "served"
