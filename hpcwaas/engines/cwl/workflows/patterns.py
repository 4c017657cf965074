"""Patterns of paths: `workflows/*.cwl`, `**/tools/*.cwl`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache
from pathlib import PurePosixPath


def is_pattern(path: str) -> bool:
    """Whether a path may name several: it has `*`, `?` or `[`."""
    return any(character in path for character in "*?[")


class Pattern:
    """Matches paths as a shell does: `*` and `?` stay inside of a name, `**` stands for any number of folders."""

    def __init__(self, text: str) -> None:
        self.text = text
        # Each name is matched for itself: in one expression for all, a path could take longer than anybody waits.
        self._names = [None if name == "**" else re.compile(translate(name)) for name in PurePosixPath(text).parts]
        self._ending = PurePosixPath(text).suffix

    def __call__(self, path: str) -> bool:
        """Whether it matches a path completely."""
        return self._reached(path)[-1]

    def above(self, path: str) -> bool:
        """Whether it matches a path, or a folder above it."""
        return any(self._reached(path)[1:])

    def takes(self, path: str) -> bool:
        """Whether it matches a document: one whose name ends in `.cwl`, or as the pattern does."""
        return path.endswith((".cwl", self._ending) if self._ending else ".cwl") and self(path)

    def _reached(self, path: str) -> list[bool]:
        """Of each number of names at the path's beginning, whether it matches them."""
        names = path.split("/")
        reached = [True] + [False] * len(names)
        for matcher in self._names:
            if matcher is None:
                first = reached.index(True) if True in reached else len(reached)
                reached = [index >= first for index in range(len(reached))]
            else:
                reached = [False] + [
                    before and matcher.match(name) is not None for before, name in zip(reached, names, strict=False)
                ]
        return reached


@lru_cache(maxsize=1024)
def compiled(text: str) -> Pattern:
    """A pattern, made once."""
    return Pattern(text)


def first_above(patterns: Iterable[str], path: str) -> str | None:
    """The first of some patterns that matches a path or a folder above it."""
    return next((text for text in patterns if compiled(text).above(path)), None)
