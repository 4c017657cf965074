"""Faults by rule: what goes wrong with which of the requests to a simulated server."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["close", "reset", "hang", "slow", "cut", "truncate", "html", "empty", "trace", "expired"]

HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1>nginx</body></html>"


@dataclass
class Fault:
    """One rule.

    Attributes:
        kind: `close` the connection without an answer, `reset` it; `hang` for `seconds`, then close; be `slow` by
            `seconds`, then answer; `cut` the connection in mid-body; `truncate` the body; answer with `html` or an
            `empty` body and `status`, with a stack `trace` (500), or as to an `expired` session (403).
        path: regular expression, searched in `METHOD /path`.
        nth: hits only this one of the requests that match, counted from 1.
        times: hits at most so many.
        probability: of hitting a request that matches.
        after: whether the request takes effect before the fault shows.
    """

    kind: Kind
    path: str = ""
    nth: int | None = None
    times: int | None = None
    probability: float = 1.0
    after: bool = False
    seconds: float = 60.0
    status: int = 502
    matched: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def strikes(self, request: str) -> bool:
        """Whether it hits this request; counts it."""
        if not re.search(self.path, request):
            return False
        self.matched += 1
        if self.nth is not None and self.matched != self.nth:
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        if random.random() >= self.probability:  # noqa: S311 - no secret
            return False
        self.hits += 1
        return True

    @property
    def needs_answer(self) -> bool:
        """Whether the request is handled before the fault shows."""
        return self.after or self.kind in ("cut", "truncate", "slow")
