"""A progress bar at a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

_WORTH_SHOWING = 1_000_000


class Progress:
    """Shows how far a transfer is.

    Args:
        title: what is done.
        total: bytes, when known.
    """

    def __init__(self, title: str, total: int | None) -> None:
        self._title = title
        self._total = total
        self._stack = ExitStack()
        self.advance: Callable[[int], object] = lambda _: None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and (self._total is None or self._total > _WORTH_SHOWING):
            from rich.console import Console
            from rich.markup import escape
            from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            from .text import one_line

            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            bar = self._stack.enter_context(Bar(*columns, console=Console(stderr=True), transient=True))
            task = bar.add_task(escape(one_line(self._title)), total=self._total)
            self.advance = lambda count: bar.advance(task, count)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
