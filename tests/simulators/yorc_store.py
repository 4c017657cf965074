"""What the simulated Yorc keeps in its Consul: logs and events, each with the index of the store at its writing."""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_right
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

JSON: TypeAlias = Any
Kind: TypeAlias = Literal["logs", "events"]

OVERSHOOT = 0.02
"""Seconds by which a wait in vain takes longer than was asked for."""


class Feed:
    """Entries in the order of their writing."""

    def __init__(self) -> None:
        self.entries: list[JSON] = []
        self.indexes: list[int] = []
        self.news = asyncio.Event()

    def since(self, index: int, deployment: str | None) -> tuple[list[JSON], int]:
        """The entries after an index, and the index of the newest of all."""
        newest = 1
        for position in range(len(self.entries) - 1, -1, -1):
            if deployment is None or self.entries[position]["deploymentId"] == deployment:
                newest = self.indexes[position]
                break
        found = self.entries[bisect_right(self.indexes, index) :]
        return [one for one in found if deployment is None or one["deploymentId"] == deployment], newest


class Store:
    """A Consul.

    Attributes:
        index: grows with everything that is written.
        leaderless: whether nothing can be read or written just now.
    """

    def __init__(self) -> None:
        self.index = 10
        self.leaderless = False
        self.feeds: dict[Kind, Feed] = {"logs": Feed(), "events": Feed()}
        self._last = 0

    def written(self) -> None:
        """Something else was written."""
        self.index += random.randint(1, 4)  # noqa: S311 - no secret

    def log(self, deployment: str, level: str, content: str, **more: str | None) -> None:
        """Adds an entry to the log."""
        self._add("logs", {"content": content, "deploymentId": deployment, "level": level}, more)

    def event(self, deployment: str, kind: str, status: str, **more: str | None) -> None:
        """Adds an event."""
        self._add("events", {"deploymentId": deployment, "status": status, "type": kind}, more)

    def _add(self, kind: Kind, entry: JSON, more: dict[str, str | None]) -> None:
        self.index += 1
        entry |= {key: value for key, value in more.items() if value is not None} | {"timestamp": self._stamp()}
        feed = self.feeds[kind]
        feed.entries.append(dict(sorted(entry.items())))  # Go sorts the keys of a map
        feed.indexes.append(self.index)
        feed.news.set()
        feed.news = asyncio.Event()

    def _stamp(self) -> str:
        """The time, later than all before, as Go writes it: without the zeros at its end."""
        self._last = max(time.time_ns(), self._last + 1000)
        seconds, rest = divmod(self._last, 10**9)
        fraction = f".{rest:09}".rstrip("0").rstrip(".")
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"

    async def poll(self, kind: Kind, deployment: str | None, index: int, wait: float) -> tuple[list[JSON], int]:
        """Entries after an index; waits for some if there are none."""
        deadline = time.monotonic() + wait + OVERSHOOT
        while True:
            feed = self.feeds[kind]
            news = feed.news
            entries, newest = feed.since(index, deployment)
            left = deadline - time.monotonic()
            if entries or left <= 0 or index == 0:
                return entries, newest
            try:
                await asyncio.wait_for(news.wait(), left)
            except TimeoutError:
                continue

    def forget(self, deployment: str) -> None:
        """A purge takes everything of a deployment away."""
        for feed in self.feeds.values():
            kept = [one for one in zip(feed.entries, feed.indexes, strict=True) if one[0]["deploymentId"] != deployment]
            feed.entries = [entry for entry, _ in kept]
            feed.indexes = [index for _, index in kept]
        self.written()

    def rebuild(self, *, keep: bool) -> None:
        """Makes the store anew, with low indexes.

        Args:
            keep: with all that was in it, as from a backup; else without logs and events.
        """
        self.index = 10
        for feed in self.feeds.values():
            if not keep:
                feed.entries = []
            feed.indexes = []
            for _ in feed.entries:
                self.index += 1
                feed.indexes.append(self.index)
            feed.news.set()
            feed.news = asyncio.Event()
