"""Kills the service's processes while users work with it: nothing acknowledged is lost, nothing runs twice."""

from __future__ import annotations

import json
import random
import select
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from tests.e2e.processes import Service, eventually, log_text
from tests.service import Client

ROUNDS = (("worker",), ("launcher",), ("master",), ("worker", "master"), ("worker", "master", "launcher"))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    marks = tmp_path / "marks"  # executions are confined, and write here besides in what is theirs
    marks.mkdir()
    service = Service(tmp_path, HWA_CWL_MAX_RUNNING="4", HWA_CWL_WRITABLE=f"[{marks}]")
    yield service.start()
    service.end()


def trigger(user: Client, key: str, script: str, *given: str) -> str | None:
    """Triggers with an idempotency key; the path of the execution, or None when there was no answer."""
    inputs = {"script": script, "given": [{"class": "File", "location": each} for each in given]}
    try:
        while True:
            answer = user("POST", "/workflows/script", json={"inputs": inputs}, headers={"Idempotency-Key": key})
            if answer.status_code != 503 or "is still being read" not in answer.text:  # after a start
                break
            time.sleep(0.2)
    except requests.ConnectionError:
        return None
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def typed(number: int, begun: Path) -> list[str]:
    """What a user of `waas` types, and types again after an error."""
    script = f"echo waas-{number} >> {begun}; sleep 0.2"
    return [
        "workflows",
        "trigger",
        "script",
        "-i",
        f"script={script}",
        "--idempotency-key",
        f"waas-{number}",
        "--follow",
    ]


def test_nothing_is_lost_and_nothing_runs_twice_whatever_is_killed(service: Service, tmp_path: Path) -> None:
    chance = random.Random(11)  # noqa: S311  (nothing secret)
    begun = tmp_path / "marks" / "begun"
    lines = [f"line {number}" for number in range(120)]
    long = service.user.trigger(
        "script", script="n=0; while [ $n -lt 120 ]; do echo line $n; n=$((n+1)); sleep 0.1; done"
    )
    follower = service.waas_started("executions", "logs", long.rpartition("/")[2], "--follow", "-o", "json")
    assert follower.stdout
    select.select(
        [follower.stdout], [], [], 60
    )  # who hasn't heard of the service yet takes a refusal for a wrong address
    eventually(lambda: "line 1" in log_text(service.user, long))

    scripts: dict[str, str] = {}
    acknowledged: dict[str, str] = {}
    commands = []
    for number, kinds in enumerate(ROUNDS):
        names = [f"{number}-{each}" for each in range(5)]
        scripts |= {name: f"echo {name} >> {begun}; sleep 0.2; echo {name} | tee a.txt" for name in names}
        commands.append(service.waas_started(*typed(number, begun)))
        with ThreadPoolExecutor(3) as pool:
            user = service.user
            answers: dict[str, Future[str | None]] = {
                name: pool.submit(trigger, user, name, scripts[name]) for name in names
            }
            time.sleep(chance.uniform(0, 0.25))
            service.kill(*kinds)
        acknowledged |= {name: path for name, answer in answers.items() if (path := answer.result())}
        if "master" in kinds:
            service.start()

    for name, script in scripts.items():
        again = trigger(service.user, name, script)
        assert again
        assert acknowledged.setdefault(name, again) == again
    for name, path in acknowledged.items():
        ended = service.user.finished(path)
        assert (name, ended["status"], ended["reason"]) == (name, "SUCCEEDED", None)
        assert log_text(service.user, path).count(name) == 1
        assert service.user("GET", f"{path}/outputs/files", params={"path": "0"}).text == f"{name}\n"
    for number, process in enumerate(commands):
        out, err = process.communicate(timeout=60)
        if process.returncode == 1:  # the service wasn't there when it was to answer for the first time
            assert "Can't connect" in err
            again_typed = service.waas(*typed(number, begun))
            assert again_typed.returncode == 0, again_typed.stderr
        else:
            assert process.returncode == 0, out + err
    out, err = follower.communicate(timeout=60)
    assert follower.returncode == 0, err
    followed = [json.loads(line)["content"] for line in out.splitlines()]
    assert [line for line in followed if line in set(lines)] == lines
    assert followed == log_text(service.user, long)
    assert Counter(begun.read_text().split()) == Counter([*scripts, *(f"waas-{n}" for n in range(len(ROUNDS)))])
    listed = service.user("GET", "/executions", params={"limit": 1000}).json()["executions"]
    assert len(listed) == len(scripts) + len(commands) + 1
    assert {f"/executions/{each['id']}" for each in listed} >= {long, *acknowledged.values()}
    log = service.log.read_text()
    assert "Traceback" not in log
    assert [line for line in log.splitlines() if '"ERROR"' in line and "SIGKILL" not in line] == []


def test_an_intent_that_was_stored_and_not_started_is_started_after_the_crash(service: Service, tmp_path: Path) -> None:
    begun = tmp_path / "marks" / "begun"
    given = [service.user.upload("a.dat", b"a")] * 20  # files to link make the moment between the two longer
    (worker,) = service.processes("worker")
    with service.database() as database, ThreadPoolExecutor(1) as pool:
        for number in range(200):
            key = f"key-{number}"
            answer = pool.submit(trigger, service.user, key, f"echo {key} >> {begun}", *given)
            if interrupted := stopped_between(service, database, worker, answer):
                break
            worker.send_signal(signal.SIGCONT)
            assert answer.result()
        else:
            pytest.fail("never met the moment between the stored intent and the start")
        service.kill("worker", "master")
        assert answer.result() is None
    path = f"/executions/{interrupted}"
    service.start()
    assert trigger(service.user, key, f"echo {key} >> {begun}", *given) == path
    assert service.user("GET", path).json()["status"] == "PENDING"
    assert service.user("GET", f"{path}/logs", params={"from": 0, "timeout": "0"}).json()["logs"] == []
    ended = service.user.finished(path)
    assert ended["status"] == "SUCCEEDED"
    assert trigger(service.user, key, f"echo {key} >> {begun}", *given) == path
    assert begun.read_text().split().count(key) == 1


def stopped_between(
    service: Service, database: object, worker: psutil.Process, answer: Future[str | None]
) -> str | None:
    """Stops the worker when only the intent of the execution under way is stored; the execution's id."""
    query = "SELECT id FROM executions WHERE reference IS NULL"
    while not answer.done():
        if (found := database.execute(query).fetchone()) is None:  # type: ignore[attr-defined]
            continue
        worker.send_signal(signal.SIGSTOP)
        eventually(lambda: worker.status() == psutil.STATUS_STOPPED)
        reference = database.execute(query).fetchone()  # type: ignore[attr-defined]
        made = (service.data / "cwl" / "executions" / found[0]).exists()
        return None if reference is None or made else str(found[0])
    return None
