"""Two replicas behind nginx on one PostgreSQL: whichever is asked, and whichever dies."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import signing_in
from tests.e2e.processes import eventually
from tests.service import Client
from tests.simulators.faults import Fault
from tests.system.replicas import Replicas, patiently, replicas

pytestmark = pytest.mark.system

LAUNCH = "POST .*workflows/"


@pytest.fixture(scope="module", params=["cwl", "alien4cloud"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    with replicas(request.param, tmp_path_factory.mktemp(request.param)) as both:
        yield both


def followed(client: Client, path: str) -> list[str]:
    """The log as one gets it who follows from the beginning."""
    lines: list[str] = []
    while True:
        page = client("GET", f"{path}/logs", params={"from": len(lines), "timeout": "20s", "levels": 15}).json()
        lines += [entry["content"] for entry in page["logs"]]
        if page["over"]:
            return lines


def test_a_token_made_at_one_is_good_at_the_other(both: Replicas) -> None:
    first, second = both.each
    made = first("POST", "/tokens", json={"name": uuid.uuid4().hex, "scopes": ["executions:read"]})
    assert made.status_code == 201, made.text
    with_token = [Client(client.url, signing_in.header(made.json()["token"])) for client in (first, second)]
    assert [client("GET", "/executions").status_code for client in with_token] == [200, 200]
    assert second("DELETE", f"/tokens/{made.json()['id']}").status_code == 204
    eventually(lambda: [client("GET", "/executions").status_code for client in with_token] == [401, 401])


def test_who_signs_in_at_one_is_signed_in_at_the_other(both: Replicas) -> None:
    settings: Any = None  # nothing here looks into the database
    front = signing_in.Service(both.nginx.url, settings, both.provider, both.nginx.url)
    sides = [signing_in.Service(service.url, settings, both.provider, both.nginx.url) for service in both.services]
    for number in range(4):  # the proxy sends a browser to one and the provider's redirect to another
        token = signing_in.shown_token(front.browser().sign_in(f"user-{number}").text)
        assert [side.whoami(token).json()["subject"] for side in sides] == [f"user-{number}"] * 2
    tokens = front.sign_in("carol")
    renewed = [tokens]
    for side in (*sides, *sides):
        renewed.append(signing_in.renewed(side, renewed[-1]))
        assert [each.whoami(renewed[-1]["access_token"]).status_code for each in sides] == [200, 200]
    assert sides[0].logout(renewed[-1]["access_token"]).status_code == 204
    eventually(lambda: [each.whoami(renewed[-1]["access_token"]).status_code for each in sides] == [401, 401])


def test_a_key_sent_to_both_makes_one_execution(both: Replicas) -> None:
    launched = both.launched()
    for _ in range(3):
        key = uuid.uuid4().hex
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: both.trigger(both.each[n % 2], both.quick, key), range(8)))  # noqa: B023
        assert {answer.status_code for answer in answers} <= {200, 201}, [answer.text for answer in answers]
        (path,) = {answer.headers["Location"] for answer in answers}
        assert both.through.finished(path)["status"] == "SUCCEEDED"
    assert both.launched() == launched + 3


def test_an_execution_is_followed_at_either(both: Replicas) -> None:
    first, second = both.each
    path = both.started(first, both.quick)
    with ThreadPoolExecutor(3) as pool:
        logs = list(pool.map(lambda client: followed(client, path), (first, second, both.through)))
    assert logs[0] == logs[1] == logs[2]
    assert len(logs[0]) >= 5
    seen = [client("GET", path).json() for client in (first, second)]
    assert seen[0] == seen[1]
    assert seen[0]["status"] == "SUCCEEDED"
    for name in seen[0]["outputs"]:
        contents = [client("GET", f"{path}/outputs/{name}").content for client in (first, second)]
        assert contents[0] == contents[1]
    lists = [client("GET", "/executions").json() for client in (first, second)]
    assert lists[0] == lists[1]


def test_one_ends_what_the_other_has_begun(both: Replicas) -> None:
    first, second = both.each
    path = both.started(first, both.slow)
    eventually(lambda: first("GET", path).json()["status"] == "RUNNING")
    assert second("DELETE", path).status_code == 202
    assert [client.finished(path)["status"] for client in (first, second)] == ["CANCELLED"] * 2


def test_an_ssh_key_belongs_to_both(both: Replicas) -> None:
    first, second = both.each
    made = first("POST", "/ssh_keys", json={"name": uuid.uuid4().hex}).json()
    rotated = second("POST", f"/ssh_keys/{made['id']}/rotate")
    assert rotated.status_code == 200, rotated.text
    assert first("GET", f"/ssh_keys/{made['id']}").json()["public_key"] == rotated.json()["public_key"]
    assert second("DELETE", f"/ssh_keys/{made['id']}").status_code == 204
    assert first("GET", f"/ssh_keys/{made['id']}").status_code == 404
    assert all(client("GET", "/health/ready").status_code == 200 for client in (first, second))


@pytest.mark.parametrize("both", ["cwl"], indirect=True)
def test_what_is_uploaded_at_one_is_an_input_at_the_other(both: Replicas) -> None:
    first, second = both.each
    inputs = {"script": 'echo read >&2; cat "$0" > out.txt', "given": [first.upload("a.dat", b"shared")]}
    path = second("POST", "/workflows/script", json={"inputs": inputs}).headers["Location"]
    assert first.finished(path)["status"] == "SUCCEEDED"
    assert "read" in followed(first, path)
    assert [client("GET", f"{path}/outputs/files", params={"path": "0"}).text for client in (first, second)] == [
        "shared"
    ] * 2
    taken = second("GET", path).json()["outputs"]["files"]
    path = first("POST", "/workflows/script", json={"inputs": inputs | {"given": taken}}).headers["Location"]
    assert second.finished(path)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("both", ["cwl"], indirect=True)
def test_who_comes_with_another_directory_is_refused(both: Replicas, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    service = both.services[0]
    before = dict(service.variables)
    listed = service.command("machines", "list").stdout
    assert "first   yes" in listed
    assert "second  yes" in listed
    try:
        service.variables["HWA_SHARED_DIR"] = str(tmp_path / "shared")
        for words in ((), ("config", "check")):
            refused = service.command(*words)
            assert refused.returncode == 1
            assert "shared_dir: " in refused.stderr
            assert "isn't the directory with the uploads and executions of this database" in refused.stderr
        service.variables |= {"HWA_DATA_DIR": str(tmp_path / "data")}
        del service.variables["HWA_SHARED_DIR"], service.variables["HWA_MACHINE"]
        refused = service.command()
        assert refused.returncode == 1
        assert "data_dir: " in refused.stderr
    finally:
        service.variables = before


class Load:
    """Users who list, trigger and follow through the proxy, until told to stop.

    Attributes:
        failures: of requests that must not fail: those that can be repeated without harm, which the proxy does.
        repeated: how many requests to start an execution had to be sent again, with the same key.
        paths: executions by the key that each was triggered with.
    """

    def __init__(self, both: Replicas) -> None:
        self._both = both
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.requests = 0
        self.repeated = 0
        self.paths: dict[str, str] = {}

    def read(self) -> None:
        """Asks for what doesn't change."""
        client = self._both.through
        while not self._stop.is_set():
            for path in ("/workflows", "/executions", "/whoami", "/health/live"):
                self._get(client, path)

    def run(self, workflow: str) -> None:
        """Triggers executions and follows them, one after the other."""
        client = self._both.through
        while not self._stop.is_set():
            key = uuid.uuid4().hex
            attempts = 0

            def trigger(key: str = key) -> requests.Response:
                nonlocal attempts
                attempts += 1
                return self._both.trigger(client, workflow, key)

            answer = patiently(trigger)
            if answer.status_code not in (200, 201):
                self.failures.append(f"{workflow}: {answer.status_code} {answer.text}")
                continue
            self.repeated += attempts - 1
            self.paths[key] = path = answer.headers["Location"]
            for _ in range(3):
                self._get(client, path)
                self._get(client, f"{path}/logs", {"from": 0, "timeout": "1s"})

    def stop(self) -> None:
        """Ends everything after what it does just now."""
        self._stop.set()

    def _get(self, client: Client, path: str, parameters: dict[str, object] | None = None) -> None:
        self.requests += 1
        try:
            answer = client("GET", path, params=parameters)
        except requests.RequestException as error:
            self.failures.append(f"{path}: {error}")
        else:
            if answer.status_code != 200:
                self.failures.append(f"{path}: {answer.status_code} {answer.text}")


def test_one_is_killed_under_load_and_nobody_notices(both: Replicas) -> None:
    load = Load(both)
    victim, survivor = both.services
    with ThreadPoolExecutor(6) as pool:
        tasks = [pool.submit(load.read) for _ in range(2)]
        tasks += [pool.submit(load.run, workflow) for workflow in (both.quick, both.quick_too)]
        time.sleep(3)
        victim.kill("master", "worker")
        time.sleep(4)
        victim.start()
        time.sleep(3)  # the proxy knows again that it lives
        survivor.kill("master", "worker")
        time.sleep(3)
        survivor.start()
        time.sleep(1)
        load.stop()
        assert [task.exception() for task in tasks] == [None] * len(tasks)
    assert load.failures == []
    assert load.requests > 100
    assert len(load.paths) > 5
    assert len(set(load.paths.values())) == len(load.paths)
    ends = {path: both.through.finished(path, within=100)["status"] for path in load.paths.values()}
    assert set(ends.values()) == {"SUCCEEDED"}
    for key, path in load.paths.items():  # the key still finds it
        assert both.trigger(both.through, both.quick, key).headers.get("Location", path) == path
    listed = patiently(lambda: both.through("GET", "/executions", params={"limit": 100})).json()
    assert all(each["status"] in ("SUCCEEDED", "CANCELLED") for each in listed["executions"])


@pytest.mark.parametrize("both", ["alien4cloud"], indirect=True)  # which can be asked and not answer
def test_what_dies_while_it_starts_something_is_not_started_twice(both: Replicas) -> None:
    assert both.alien4cloud
    victim, _ = both.services
    first, second = both.each
    launched = both.launched()
    both.alien4cloud.fault(Fault("hang", LAUNCH, after=True, seconds=5, times=1))
    key = uuid.uuid4().hex
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(both.trigger, first, both.quick, key)
        eventually(lambda: both.launched() == launched + 1)
        victim.kill("master", "worker")
        assert isinstance(request.exception(), requests.ConnectionError)
    both.alien4cloud.heal()
    try:
        path = both.trigger(second, both.quick, key).headers["Location"]
        assert second("GET", path).json()["status"] == "PENDING"
        assert second.finished(path, within=90)["status"] == "SUCCEEDED"
        assert both.launched() == launched + 1
    finally:
        victim.start()
