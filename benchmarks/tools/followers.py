"""Users who follow logs."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime

from benchmarks.tools.load import Client


class Followers:
    """Users who follow logs, each with a request that waits.

    Attributes:
        delays: seconds from a line to a follower, of each line that came in the time that counts.
    """

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._began = self._ended = float("inf")
        self._tasks: list[asyncio.Task[None]] = []
        self._following = 0

    def start(self, client: Client, path: str) -> None:
        """Lets one more user follow."""
        self._tasks.append(asyncio.create_task(self._follow(client, path)))

    async def _follow(self, client: Client, path: str) -> None:
        position = 0
        while True:
            answer = await client.ask("GET", f"{path}/logs?from={position}&timeout=60s")
            assert answer.status == 200, answer
            now = time.time()
            entries = json.loads(answer.body)["logs"]
            self._following += position == 0 < len(entries)
            position += len(entries)
            for entry in entries:
                stamp = datetime.fromisoformat(entry["timestamp"]).timestamp()
                if self._began <= stamp < self._ended:
                    self.delays.append(now - stamp)

    async def settle(self) -> None:
        """Waits until all have what there was before they came, and what is asked for once at the beginning is over."""
        while self._following < len(self._tasks):
            await asyncio.sleep(0.1)
            self._check()
        await asyncio.sleep(4)

    def count(self) -> None:
        """From now on lines count."""
        self._began = time.time()

    async def finish(self) -> float:
        """Counts no more lines, and gives those on their way time to arrive.

        Returns:
            the mean number of lines that a follower got.
        """
        self._ended = time.time()
        await asyncio.sleep(3)
        self._check()
        return len(self.delays) / len(self._tasks)

    def _check(self) -> None:
        """Raises what has befallen a follower: it would be missed in the figures, or be waited for without end."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """Ends them all."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result
