"""The simulator of Yorc answers as the recorded Yorc did."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.simulators.alien4cloud_client import wait_for
from tests.simulators.yorc import Simulator
from tests.simulators.yorc_tasks import ALIVE
from tests.simulators.yorc_worlds import SUBMIT, demo, failed, jobs

RECORDINGS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parents[1] / "simulators" / "recordings" / "yorc").glob("*.json"))
}
"""217 of the 263 that were made. Not copied here: locations (10) and the registry (1), which operators use; nodes with
their instances and attributes (10), custom commands (6), uploads and updates of deployments (17), for which the service
never asks; and two polls from index 1 that hold a whole day: `226` shows the same."""

DEMO = "demo-Environment"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOBODY = "11111111-1111-1111-1111-111111111111"
FREE = ("093-", "201-")
"""Name one of several tasks that are alive: the one whose id is lowest."""


class Replay:
    """Sends the recorded requests and keeps the answers beside the recorded ones.

    Attributes:
        ids: recorded ids of tasks with those of the simulator.
        indexes: recorded indexes, the same.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.answers: dict[str, requests.Response] = {}
        self.ids = {NOBODY: NOBODY}
        self.indexes = {"0": 0, "1": 1, "abc": "abc", "-1": -1}

    def translated(self, text: str) -> str:
        """Recorded text with the simulator's ids in it."""
        return UUID.sub(lambda found: self.ids.get(found[0], found[0]), text)

    def path(self, recorded: str) -> str:
        """A recorded path with the simulator's ids and indexes, and shorter waits where they were in vain."""
        path = re.sub(r"wait=(\d)s", lambda found: f"wait={int(found[1]) * 20}ms", self.translated(recorded))
        return re.sub(r"index=([\w-]+)", lambda found: f"index={self.index(found[1], path)}", path)

    def index(self, recorded: str, path: str) -> object:
        if recorded == "104439":
            return self.index("4439", path) + 100_000  # type: ignore[operator]
        if recorded not in self.indexes:
            newest = requests.get(
                f"{self.simulator.url}{path.partition('?')[0]}?index=0",
                headers={"Accept": "application/json"},
                timeout=60,
            )
            self.indexes[recorded] = newest.json()["last_index"]
        return self.indexes[recorded]

    def send(self, name: str) -> None:
        """Sends one recorded request, when what it asks about has come to what was recorded."""
        request, response = RECORDINGS[name]["request"], RECORDINGS[name]["response"]
        self.await_state(request, response["body"])
        body = request["body"]
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        headers = {"Accept": None, "User-Agent": None} | request["headers"]
        answer = requests.request(
            request["method"],
            self.simulator.url + self.path(request["path"]),
            headers=headers,
            data=None if text is None else text.encode(),
            timeout=60,
        )
        self.answers[name] = answer
        if location := response["headers"].get("Location"):
            self.ids[location.rpartition("/")[2]] = answer.headers["Location"].rpartition("/")[2]
        if isinstance(response["body"], dict) and "last_index" in response["body"]:
            self.indexes.setdefault(str(response["body"]["last_index"]), answer.json()["last_index"])

    def await_state(self, request: Any, body: Any) -> None:
        """Waits until a task, or the states of its steps, are as recorded."""
        found = re.fullmatch(r"/deployments/[\w-]+/tasks/([\w-]+)(/steps)?", request["path"])
        if request["method"] == "GET" and found and (task := self.simulator.tasks.get(self.ids.get(found[1], ""))):
            if found[2]:
                states = {one["name"]: one["status"] for one in body}
                wait_for(lambda: task.steps == states)
            elif isinstance(body, dict) and "status" in body:
                wait_for(lambda: task.status == body["status"])

    def over(self) -> None:
        """Waits for the end of all tasks."""
        for task in list(self.simulator.tasks):
            self.simulator.hurry(task)
        wait_for(lambda: all(task.status not in ALIVE for task in self.simulator.tasks.values()))

    def deploy(self) -> None:
        """Begins with the recorded deployment, beside broken ones."""
        self.simulator.hold("INITIAL")
        for broken in (failed("bad4"), failed("bad5", "INITIAL"), failed("bad6")):
            self.simulator.deploy(broken)
        self.ids["6aa13340-6236-4009-b575-6557a4eacd73"] = self.simulator.deploy(demo(seconds=0.1)).id

    def deploy_again(self) -> None:
        """After the purge."""
        self.ids["20d105c5-f1b3-4b57-8150-fdc5dcd5b405"] = self.simulator.deploy(demo(seconds=0.05)).id
        self.over()


def none_waits(replay: Replay) -> None:
    wait_for(lambda: all(one.status != "INITIAL" for one in replay.simulator.tasks.values()))


def held(status: str | None) -> Callable[[Replay], None]:
    return lambda replay: replay.simulator.hold(status)


def submit(fails: bool, deployment: str = DEMO) -> Callable[[Replay], None]:
    return lambda replay: replay.simulator.fail_script(deployment, SUBMIT, fails=fails)


def put(name: str, **options: Any) -> Callable[[Replay], None]:
    def deploy(replay: Replay) -> None:
        replay.simulator.deploy(jobs(name, **options))
        replay.over()

    return deploy


def custom_command(replay: Replay) -> None:
    """It isn't replayed, and leaves a task that has failed."""
    replay.simulator.launch(DEMO, "fail")
    replay.over()


def gone(replay: Replay) -> None:
    wait_for(lambda: "vault-ed25519" not in replay.simulator.deployments)


BEFORE: dict[int, Callable[[Replay], None]] = {
    31: Replay.deploy,
    35: held(None),
    37: Replay.over,
    54: held("INITIAL"),
    57: held(None),
    81: Replay.over,
    93: none_waits,
    101: Replay.over,
    115: submit(fails=True),
    119: submit(fails=False),
    127: submit(fails=True),
    132: put("vault-ed25519", refused=True),
    148: put("vault-rsa_pkcs1", refused=True),
    151: put("vaulttpl-ed25519"),
    167: put("vaulttpl-rsa_pkcs1", refused=True, seconds=0.05),
    174: submit(fails=False, deployment="vaulttpl-rsa_pkcs1"),
    184: custom_command,
    195: Replay.over,
    200: held("RUNNING"),
    201: none_waits,
    202: held(None),
    216: gone,
    219: Replay.deploy_again,
}
"""What happened before the recording of a number."""


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    with Simulator([], cancel_time=0.5) as simulator:
        replay = Replay(simulator)
        for name in RECORDINGS:
            if hook := BEFORE.get(int(name[:3])):
                hook(replay)
            replay.send(name)
        yield replay


def normal(value: Any) -> Any:
    """A value without ids."""
    return json.loads(UUID.sub("ID", json.dumps(value)))


def shape(entry: Any) -> tuple[tuple[str, str], ...]:
    """Members of an entry, and what kind of values they have."""
    return tuple(sorted((key, type(value).__name__) for key, value in entry.items()))


def entries(kind: str) -> Iterator[Any]:
    """All entries that were recorded."""
    for recording in RECORDINGS.values():
        if isinstance(recording["response"]["body"], dict):
            yield from recording["response"]["body"].get(kind) or ()


SHAPES = {kind: {shape(entry) for entry in entries(kind)} for kind in ("logs", "events")}


@pytest.mark.parametrize("name", RECORDINGS)
def test_answers_as_recorded(replay: Replay, name: str) -> None:
    expected, actual = RECORDINGS[name]["response"], replay.answers[name]
    assert (actual.status_code, actual.reason) == (expected["status"], expected["reason"])
    body = expected["body"]
    if body is None:
        assert actual.text == ""
    elif isinstance(body, str):
        assert actual.text == body
    elif isinstance(body, list):
        assert sorted(actual.json(), key=str) == sorted(body, key=str)
    elif "last_index" in body:
        answer = actual.json()
        (kind,) = body.keys() & {"logs", "events"}
        assert answer.keys() == body.keys()
        assert bool(answer[kind]) == bool(body[kind]) or name.startswith(("18", "19"))  # other batches
        assert {shape(entry) for entry in answer[kind]} <= SHAPES[kind]
    elif name.startswith(FREE):
        assert normal(actual.json()) == normal(body)
    else:
        answer = actual.json()
        # In the order of ids, which are others each time.
        for document in (answer, body):
            if "links" in document:
                document["links"].sort(key=lambda link: normal(link["href"]))
        assert normal(answer) == normal(body)
        if "links" not in body:
            assert answer == json.loads(replay.translated(json.dumps(body)))


@pytest.mark.parametrize("name", RECORDINGS)
def test_headers_as_recorded(replay: Replay, name: str) -> None:
    expected = RECORDINGS[name]["response"]
    headers = {key.lower(): replay.translated(value) for key, value in expected["headers"].items()}
    actual = {key.lower(): value for key, value in replay.answers[name].headers.items()}
    of_no_account = {"date"}
    if "x-yorc-index" in headers:
        of_no_account |= {"x-yorc-index", "content-length", "transfer-encoding"}  # other entries, or other batches
        newest = int(actual["x-yorc-index"])
        assert "content-type" not in actual or newest == replay.answers[name].json()["last_index"]
    for name_ in of_no_account:
        headers.pop(name_, None)
        actual.pop(name_, None)
    assert actual == headers


@pytest.mark.parametrize(
    "task",
    [
        pytest.param("a48d0b00-5c4e-40bf-b719-c5a3efb38533", id="hello"),
        pytest.param("fe1acb9d-9789-41b7-8b37-ef09e3599617", id="an input is missing"),
        pytest.param("80f38d4e-4d6a-499b-abf0-cd7272d37a4a", id="cancelled"),
        pytest.param("1d144593-272d-4e64-b647-9c3a74cc36b9", id="failed and resumed"),
        pytest.param("cc5a11c5-21ac-4802-be08-2d00d759d6bf", id="goes on after an error"),
    ],
)
def test_what_a_task_writes_as_recorded(replay: Replay, task: str) -> None:
    recording, answer = (
        RECORDINGS["110-logs-all-deployments"]["response"]["body"],
        replay.answers["110-logs-all-deployments"].json(),
    )
    log, recorded_log = (
        [
            (entry["level"], normal(entry["content"].partition("\ngithub.com")[0].partition("\n\tgithub.com")[0]))
            for entry in found["logs"]
            if entry.get("executionId") == identifier
        ]
        for found, identifier in ((answer, replay.ids[task]), (recording, task))
    )
    assert [line for line in log if line[0] != "DEBUG"] == [line for line in recorded_log if line[0] != "DEBUG"]
    assert [line[1].split("\n")[0] for line in log] == [line[1].split("\n")[0] for line in recorded_log]
    events, recorded_events = (
        [
            (entry["type"], entry["status"], entry.get("stepId"), entry.get("operationName"))
            for entry in found["events"]
            if entry.get("alienExecutionId") == identifier
        ]
        for found, identifier in (
            (replay.answers["109-events-all-deployments"].json(), replay.ids[task]),
            (RECORDINGS["109-events-all-deployments"]["response"]["body"], task),
        )
    )
    assert events == recorded_events


def test_all_recordings_are_replayed(replay: Replay) -> None:
    assert len(RECORDINGS) == 217
    assert replay.answers.keys() == RECORDINGS.keys()
