"""What is done with answers that can't be understood."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hpcwaas.errors import UpstreamFailed


@contextmanager
def reading(server: str, what: str) -> Iterator[None]:
    """Around code that takes an answer apart: an answer of another shape is the other side's failure, not ours."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UpstreamFailed(f"{server} gave an answer about {what} that can't be understood.") from error
