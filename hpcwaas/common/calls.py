"""When the call of a user began: whatever it makes others do has to be over in one time-out, not in one for each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_BEGAN: ContextVar[float | None] = ContextVar("began", default=None)


@contextmanager
def one() -> Iterator[None]:
    """Around what is one call; inside of another one, a part of that."""
    if _BEGAN.get() is not None:
        yield
        return
    token = _BEGAN.set(time.monotonic())
    try:
        yield
    finally:
        _BEGAN.reset(token)


def began() -> float | None:
    """Monotonic time at which the present call began; None outside of one."""
    return _BEGAN.get()
