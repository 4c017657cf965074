"""Followers wait without threads: a thousand of them leave the service responsive."""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import Client, as_user, make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_worlds import recorded
from tests.waiting import until

COUNT = 1000
SLOW = "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@slow_job"


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Both ends of every connection are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * COUNT
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"needs {wanted} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Followers:
    """So many users who wait for more of a log, each with a connection."""

    def __init__(self, user: Client, path: str, position: int) -> None:
        self._host, port = user.url.removeprefix("http://").split(":")
        self._port = int(port)
        lines = [f"GET {path}/logs?timeout=60s&levels=15&from={position} HTTP/1.1", "Host: here", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in user.headers.items()]
        self.sent = 0
        self._request = "\r\n".join([*lines, "", ""]).encode()

    async def follow(self) -> bytes:
        """The answer that one of them gets."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(self._request)
        self.sent += 1
        answer = await reader.read()
        writer.close()
        return answer

    async def all(self) -> list[bytes]:
        """The answers that all of them get."""
        return await asyncio.gather(*(self.follow() for _ in range(COUNT)))


def test_a_thousand_followers_leave_the_service_responsive(tmp_path: Path) -> None:
    with Simulator(recorded(), cancel_time=0.3) as simulator:
        settings = make_settings(tmp_path, alien_config={"address": simulator.url})
        with serving(settings) as url:
            user = as_user(url, "alice")
            path = user.trigger(SLOW)
            while (position := user("GET", f"{path}/logs?timeout=5s&levels=15").json()["total_results"]) < 1:
                time.sleep(0.1)
            answers: list[bytes] = []
            followers = Followers(user, path, position + 1000)
            thread = threading.Thread(target=lambda: answers.extend(asyncio.run(followers.all())))
            thread.start()
            until(lambda: followers.sent == COUNT)
            time.sleep(1)
            assert thread.is_alive()
            simulator.forget_calls()
            began = time.monotonic()
            took = [user(*request).elapsed.total_seconds() for request in [("GET", path), ("GET", "/workflows")] * 20]
            assert statistics.median(took) < 5
            assert max(took) < 30  # before the followers' time is over
            assert simulator.call_count() < 4 * (time.monotonic() - began) + 8  # as for one follower
            assert threading.active_count() < 150
            full = user("GET", f"{path}/logs?timeout=1s&from=5000")
            assert full.status_code == 429  # the next one is too many for one user
            assert full.headers["Retry-After"]
            assert user("DELETE", path).status_code == 202
            thread.join(60)
            assert not thread.is_alive()
    assert len(answers) == COUNT
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        assert json.loads(body)["over"] is True
