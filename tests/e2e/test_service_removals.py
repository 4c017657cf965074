"""Kills the service while executions are deleted: each is whole or gone, and nothing of one that is gone is left."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.e2e.processes import Service, eventually

SCRIPT = "for i in $(seq 60); do echo $i > $i.txt; done"
EXECUTIONS, ROUNDS = 12, 3


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, HWA_CWL_MAX_RUNNING="4")
    yield service.start()
    service.end()


def test_each_is_whole_or_gone_whenever_the_service_is_killed(service: Service) -> None:
    chance = random.Random(7)  # noqa: S311  (nothing secret)
    user = service.user
    paths = [user.trigger("script", script=SCRIPT) for _ in range(EXECUTIONS)]
    ended = [user.finished(path) for path in paths]
    assert {execution["status"] for execution in ended} == {"SUCCEEDED"}
    directories = {path: service.data / "cwl" / "executions" / path.rpartition("/")[2] for path in paths}
    to_delete, kept = paths[: EXECUTIONS - 2], paths[EXECUTIONS - 2 :]

    def delete(path: str) -> int | None:
        with contextlib.suppress(requests.RequestException):
            return user("DELETE", path, params={"purge": "true"}).status_code
        return None

    for number in range(ROUNDS):
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(delete, path) for path in to_delete[number * 3 :]]
            time.sleep(chance.uniform(0, 0.4))
            service.kill("master", "worker")
            assert {answer.result() for answer in answers} <= {None, 202, 204, 404}
        service.start()
    for path in to_delete:
        eventually(lambda path=path: delete(path) == 404)  # type: ignore[misc]
    for path in to_delete:
        assert not directories[path].exists()
    eventually(lambda: not [*(service.data / "cwl" / "removed").iterdir()])
    for path in kept:
        assert len(user("GET", path).json()["outputs"]["files"]) == 60
        assert (directories[path] / "outputs").is_dir()
    with contextlib.closing(sqlite3.connect(service.data / "hpcwaas.db")) as store:
        (number,) = store.execute("SELECT count(*) FROM executions").fetchone()
    assert number == len(kept)
