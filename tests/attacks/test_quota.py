"""One user fills neither the disk nor the queue: what they leave counts, and others get their turn."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.e2e.processes import Service, eventually
from tests.service import Client

STORED = 2_000_000
INPUTS = 20_000
TOO_MUCH = STORED + 100_000
USERS = ("ann", "ben", "cleo", "dan", "eve", "fay", "gus", "hal")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("quota")
    marks = home / "marks"  # executions are confined, and see this of all that isn't theirs
    marks.mkdir()
    service = Service(
        home,
        HWA_CWL_WRITABLE=f"[{marks}]",
        HWA_LIMITS_STORED=str(STORED),
        HWA_LIMITS_INPUTS=str(INPUTS),
        HWA_CWL_MAX_RUNNING="1",
    )
    configuration = service.home / "service.yml"
    accounts = ", ".join(f'{{username: {name}, password: "{name} secret"}}' for name in USERS)
    configuration.write_text(f"auth: {{auth_type: basic, basic_auth: {{accounts: [{accounts}]}}}}\n")
    service.arguments = ["--config", configuration]
    service.publish(
        "endless", "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: [sleep, '99']\ninputs: []\noutputs: []\n"
    )
    (service.catalogue / "endless.meta.yaml").write_text("time_limit: 1")
    yield service.start()
    service.end()


def client(service: Service, name: str) -> Client:
    credentials = base64.b64encode(f"{name}:{name} secret".encode()).decode()
    return Client(service.url, {"Authorization": f"Basic {credentials}"})


def stored(user: Client) -> int:
    used: int = user("GET", "/whoami").json()["limits"]["stored"]["used"]
    return used


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("ann", f"head -c {TOO_MUCH} /dev/zero > a.txt"),
        ("ben", f"head -c {TOO_MUCH} /dev/zero | tr '\\0' x | fold >&2"),
    ],
    ids=["outputs", "log"],
)
def test_what_executions_leave_counts(service: Service, name: str, script: str) -> None:
    user = client(service, name)
    assert stored(user) == 0
    assert user.finished(user.trigger("script", script=script), 60)["status"] == "SUCCEEDED"
    assert stored(user) > STORED
    for answer in (
        user("POST", "/workflows/script", json={"inputs": {"script": "true"}}),
        user("POST", "/files?name=a", data=b"x"),
    ):
        assert answer.status_code == 429
        assert answer.headers["Retry-After"]
        assert f"bytes stored, of {STORED} that you may" in answer.json()["detail"]
        assert "inputs, outputs and logs of executions" in answer.json()["detail"]
    other = client(service, "cleo")
    assert other.finished(other.trigger("script", script="true"))["status"] == "SUCCEEDED"


def test_what_was_an_input_counts_as_an_output(service: Service) -> None:
    user = client(service, "hal")
    upload = user.upload("data", bytes(600_000))
    path = user.trigger("script", script='ln -L "$0" a.txt || cp "$0" a.txt', given=[upload])
    assert user.finished(path)["status"] == "SUCCEEDED"
    assert stored(user) > 1_200_000


def test_inputs_are_small(service: Service) -> None:
    user = client(service, "dan")
    large = {"inputs": {"script": f"true {'x' * INPUTS}"}}
    for query in ({}, {"dry_run": "true"}):
        answer = user("POST", "/workflows/script", json=large, params=query)
        assert answer.status_code == 413
        assert f"at most {INPUTS} are accepted. Upload what is large as a file" in answer.json()["detail"]
    before = stored(user)
    path = user.trigger("script", script=f"true {'x' * (INPUTS - 100)}")
    assert stored(user) - before >= INPUTS - 100, "inputs that wait count, too"
    assert user.finished(path)["status"] == "SUCCEEDED"


def test_files_that_an_execution_holds_count_though_they_are_deleted(service: Service) -> None:
    user = client(service, "eve")
    running = user.trigger("script", script="sleep 60")
    upload = user.upload("large", bytes(1_200_000))
    waiting = user.trigger("script", script="true", given=[upload])
    assert user("DELETE", f"/files/{upload}").status_code == 204
    assert user("GET", f"/files/{upload}").status_code == 404
    assert user("DELETE", f"/files/{upload}").status_code == 404
    assert user("GET", "/files").json()["files"] == []
    answer = user("POST", "/workflows/script", json={"inputs": {"script": "true", "given": [upload]}})
    assert answer.status_code == 400
    assert stored(user) > 1_200_000
    assert user("POST", "/files?name=a", data=bytes(1_200_000)).status_code == 429
    for path in (waiting, running):
        assert user("DELETE", path).status_code == 202
        user.finished(path)
    eventually(lambda: stored(user) < 1_200_000)
    eventually(lambda: not (service.data / "files" / upload).exists())


def test_users_take_turns(service: Service) -> None:
    greedy, modest = client(service, "fay"), client(service, "gus")
    gate = service.home / "marks" / "gate"
    script = f"while [ ! -e {gate} ]; do sleep 0.1; done"
    paths = [greedy.trigger("script", script=script) for _ in range(5)]
    eventually(lambda: greedy("GET", paths[0]).json()["status"] == "RUNNING")
    last = modest.trigger("script", script="true")
    assert "user who has the fewest running" in modest("GET", last).json()["reason"]
    service.kill("launcher")  # who takes over does so, too
    gate.touch()
    begun = modest.finished(last)["started_at"]
    others = [greedy.finished(path)["started_at"] for path in paths]
    assert sum(other < begun for other in others) <= 2


def test_no_execution_runs_for_ever(service: Service) -> None:
    assert "time: 86400" in service.command("config", "show").stdout
    user = client(service, "cleo")
    ended = user.finished(user.trigger("endless"))
    assert ended["status"] == "FAILED"
    assert "ran for more than 1 seconds" in ended["reason"]
