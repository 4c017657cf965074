"""Waiting in a test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from hpcwaas.core.models import Level


def wait(watched: Any, reference: str, levels: Level, start: int, timeout: float) -> bool:
    """Waits until `watched.watch` calls, or time has run out; whether it called."""
    news = threading.Event()
    end = watched.watch(reference, levels, start, news.set)
    try:
        return news.wait(timeout)
    finally:
        end()


def until(condition: Callable[[], bool], within: float = 60) -> None:
    """Waits until something is so."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + within, "it didn't come about"
        pause(begun)


def pause(begun: float, least: float = 0.05) -> None:
    """Sleeps between two looks: the longer, the longer it takes anyway, so that looking takes no processor from what is
    waited for."""
    time.sleep(min(max(least, (time.monotonic() - begun) / 10), 0.5))
