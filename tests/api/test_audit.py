"""What the service records of who did what."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hpcwaas.configuration.settings import Settings
from tests.service import PASSWORDS, Client, as_user, make_settings, serving


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(tmp_path_factory.mktemp("audit"), limits={"stored": 1_000_000})


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[Callable[[str], Client]]:
    with serving(settings) as url:
        yield lambda name: as_user(url, name)


class Acts:
    """The acts that were recorded since it was made."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.audit_file
        self._begin = self._file.stat().st_size

    def __call__(self) -> list[dict[str, Any]]:
        text = self._file.read_bytes()[self._begin :]
        found = [json.loads(line) for line in text.splitlines()]
        return [act for act in found if act["operation"] != "strangers"]

    def brief(self) -> list[tuple[Any, ...]]:
        return [(act["who"], act["operation"], act.get("owner"), act["result"]) for act in self()]


@pytest.fixture
def acts(service: Callable[[str], Client], settings: Settings) -> Acts:
    return Acts(settings)


def test_what_changes_something_is_an_act(alice: Client, acts: Acts, settings: Settings) -> None:
    answer = alice("POST", "/files?name=secret-name", data=b"x", headers={"X-Request-ID": "mine"})
    alice("DELETE", answer.headers["Location"])
    alice("DELETE", "/files/nope")
    alice("POST", "/files?name=b", data=bytes(1_000_001))
    first, *more = acts()
    assert first.pop("time").endswith("Z")
    assert len(first.pop("previous") or "") in (0, 64)
    assert first == {
        "request_id": "mine",
        "who": "alice",
        "credential": "basic",
        "operation": "uploadFile",
        "object": "/files",
        "result": 201,
        "address": "127.0.0.1",
        "created": answer.headers["Location"],
    }
    assert [(act["operation"], act["object"], act["result"]) for act in more] == [
        ("deleteFile", answer.headers["Location"], 204),
        ("deleteFile", "/files/nope", 404),
        ("uploadFile", "/files", 429),
    ]
    assert stat.S_IMODE(settings.audit_file.stat().st_mode) == 0o600


def test_looking_at_ones_own_is_none(alice: Client, acts: Acts) -> None:
    path = alice.trigger("echo", message="x")
    alice.finished(path)
    before = len(acts())
    for own in ("/workflows", "/executions", path, "/files", "/ssh_keys", "/tokens", "/whoami"):
        assert alice("GET", own).status_code == 200
        assert alice("HEAD", own).status_code == 200
    for free in ("/health/live", "/auth/methods", "/openapi.json", "/ui/", "/nothing"):
        alice("GET", free)
    assert alice("GET", "/executions/nope").status_code == 404
    assert len(acts()) == before == 1


def test_looking_at_what_is_somebody_elses_is(
    alice: Client, bob: Client, service: Callable[[str], Client], acts: Acts
) -> None:
    path = alice.trigger("echo", message="x")
    alice.finished(path)
    root = service("root")
    for foreign in (path, f"{path}/logs", "/executions?owner=alice", "/files?owner=*", "/tokens?owner=alice"):
        assert root("GET", foreign).status_code == 200
    assert root("HEAD", path).status_code == 200
    bob("GET", path)
    bob("GET", "/executions?owner=alice")
    alice("PUT", f"{path}/shares", json={"users": ["bob"], "groups": []})
    assert bob("GET", path).status_code == 200
    assert acts.brief() == [
        ("alice", "triggerWorkflow", None, 201),
        ("root", "getExecution", "alice", 200),
        ("root", "getExecutionLogs", "alice", 200),
        ("root", "listExecutions", "alice", 200),
        ("root", "listFiles", "*", 200),
        ("root", "listTokens", "alice", 200),
        ("root", "getExecution", "alice", 200),
        ("bob", "listExecutions", None, 403),
        ("alice", "putShares", None, 200),
        ("bob", "getExecution", "alice", 200),
    ]


def test_what_credentials_are_too_weak_for_is(alice: Client, acts: Acts) -> None:
    def get(path: str, **headers: str) -> None:
        Client(alice.url, headers)("GET", path)

    token = alice("POST", "/tokens", json={"name": "acts", "scopes": ["workflows:read"]})
    secret, identifier = token.json()["token"], token.json()["id"]
    get("/executions", Authorization="Basic " + base64.b64encode(b"alice:wrong").decode())
    get("/executions", Authorization="Bearer nonsense")
    get("/executions", Authorization=f"Bearer {secret}")
    get("/workflows", Authorization=f"Bearer {secret}")
    get("/executions")  # nobody tried anything
    Client(alice.url, {})("POST", "/workflows/echo", json={})
    alice("DELETE", f"/tokens/{identifier}")
    get("/workflows", Authorization=f"Bearer {secret}")
    assert [(act["who"], act["credential"], act["operation"], act["result"]) for act in acts()] == [
        ("alice", "basic", "createToken", 201),
        ("alice", f"token {identifier}", "listExecutions", 403),
        ("alice", "basic", "deleteToken", 204),
    ]
    assert acts()[0]["scopes"] == ["workflows:read"]
    assert acts()[0]["created"] == f"/tokens/{identifier}"


def test_operators_acts_tell_whose_it_was(alice: Client, service: Callable[[str], Client], acts: Acts) -> None:
    root = service("root")
    path = alice.trigger("slow", seconds=60)
    token = alice("POST", "/tokens", json={"name": "taken", "scopes": ["admin", "workflows:read"]})
    assert token.status_code == 403
    token = alice("POST", "/tokens", json={"name": "taken", "scopes": ["workflows:read"]})
    assert root("DELETE", path).status_code == 202
    assert root("DELETE", token.headers["Location"]).status_code == 204
    alice.finished(path)
    assert acts.brief() == [
        ("alice", "triggerWorkflow", None, 201),
        ("alice", "createToken", None, 403),
        ("alice", "createToken", None, 201),
        ("root", "cancelExecution", "alice", 202),
        ("root", "deleteToken", "alice", 204),
    ]


def test_no_secret_is_ever_recorded(alice: Client, service: Callable[[str], Client], settings: Settings) -> None:
    made = alice("POST", "/tokens", json={"name": "kept secret", "scopes": ["executions:write"]}).json()
    secret = made["token"]
    encoded = base64.b64encode(secret.encode()).decode()
    holder = Client(alice.url, {"Authorization": f"Bearer {encoded}"})
    holder("POST", f"/workflows/echo?access_token={secret}", json={"inputs": {"message": "an input's text"}})
    holder("POST", "/files?name=a-file's-name", data=b"the content")
    for path in (f"/tokens/{secret}", f"/tokens/{encoded}", f"/files/{secret}%0A{secret}", "/files/alice's password"):
        alice("DELETE", path, headers={"Referer": secret, "X-Request-ID": f"{secret}!"})
    alice("POST", "/ssh_keys", json={"name": "a key's name", "metadata": {"note": "a key's note"}})
    wrong = base64.b64encode(b"alice:not the password").decode()
    Client(alice.url, {"Authorization": f"Basic {wrong}"})("DELETE", "/files/x")
    alice("DELETE", f"/files/x?token={wrong}")
    service("root")("GET", "/executions?owner=alice&cursor=c2VjcmV0")
    text = settings.audit_file.read_text()
    secrets = [secret, secret[12:], encoded, encoded[16:], wrong, "not the password", "an input's text", "the content"]
    secrets += ["a key's name", "a key's note", "a-file's-name", "c2VjcmV0", *PASSWORDS.values()]
    secrets += [json.dumps(password)[1:-1] for password in PASSWORDS.values()]
    assert [word for word in secrets if word in text] == []
    assert made["id"] in text


def test_an_answer_comes_after_its_record(alice: Client, acts: Acts) -> None:
    for number in range(1, 30):
        alice("DELETE", "/files/nope")
        assert len(acts()) == number
