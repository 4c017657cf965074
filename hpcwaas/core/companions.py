"""Files that belong beside others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Companion:
    """A file or directory that a workflow wants beside another.

    Attributes:
        kind: `File` or `Directory`.
    """

    basename: str
    kind: str
    required: bool


@dataclass(frozen=True, slots=True)
class Companions:
    """What belongs beside a file among inputs.

    Attributes:
        input: the way to the file.
    """

    input: str
    basename: str
    needs: tuple[Companion, ...]
