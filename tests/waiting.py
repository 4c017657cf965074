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
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it didn't come about"
        time.sleep(0.05)
