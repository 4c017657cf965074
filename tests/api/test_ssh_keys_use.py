"""SSH keys and the executions that use them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service import Client, as_user, make_settings, serving

WORKFLOW = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sleep]
inputs:
  seconds: {type: float, inputBinding: {position: 1}}
  vault_id: string?
  login_key: string?
outputs: []
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    catalogue = tmp_path_factory.mktemp("catalogue")
    (catalogue / "job.cwl").write_text(WORKFLOW)
    (catalogue / "job.meta.yaml").write_text("ssh_keys: [login_key]")
    settings = make_settings(tmp_path_factory.mktemp("service"), cwl={"catalogue": catalogue})
    with serving(settings) as url:
        yield url


@pytest.fixture
def alice(url: str) -> Client:
    return as_user(url, "alice")


@pytest.fixture
def key(alice: Client) -> str:
    made: str = alice("POST", "/ssh_keys").json()["id"]
    return made


def test_a_key_in_use_is_deleted_by_force_only(alice: Client, key: str) -> None:
    first = alice.trigger("job", seconds=30, vault_id=key)
    second = alice.trigger("job", seconds=0, vault_id=key)
    alice.finished(second)
    answer = alice("DELETE", f"/ssh_keys/{key}")
    assert answer.status_code == 409
    assert answer.json()["executions"] == [first.rpartition("/")[2]]
    assert first.rpartition("/")[2] in answer.json()["detail"]
    assert alice("GET", f"/ssh_keys/{key}").status_code == 200
    assert alice("POST", f"/ssh_keys/{key}/rotate").status_code == 200  # that is no reason against a rotation
    assert alice("DELETE", f"/ssh_keys/{key}", params={"force": "true"}).status_code == 204
    assert alice("DELETE", first).status_code == 202
    assert alice.finished(first)["inputs"]["vault_id"] == key


def test_after_the_end_a_key_is_free(alice: Client, key: str) -> None:
    path = alice.trigger("job", seconds=0.2, vault_id=key)
    assert alice("DELETE", f"/ssh_keys/{key}").status_code == 409
    alice.finished(path)
    assert alice("DELETE", f"/ssh_keys/{key}").status_code == 204


def test_last_use_is_told(alice: Client, key: str) -> None:
    assert alice("GET", f"/ssh_keys/{key}").json()["last_used_at"] is None
    path = alice.trigger("job", seconds=0, vault_id=key)
    assert alice("GET", f"/ssh_keys/{key}").json()["last_used_at"] == alice("GET", path).json()["created_at"]


def test_a_foreign_key_is_refused_like_an_unknown_one(url: str, alice: Client, key: str) -> None:
    bob = as_user(url, "bob")
    details = []
    for named in (key, "nothing"):
        for query in ({}, {"dry_run": "true"}):
            inputs = {"inputs": {"seconds": 0, "vault_id": named}}
            answer = bob("POST", "/workflows/job", json=inputs, params=query)
            assert answer.status_code == 400
            (problem,) = answer.json()["inputs"]
            assert problem["input"] == "vault_id"
            details.append(problem["detail"].replace(named, "…"))
    assert len(set(details)) == 1
    assert bob("GET", "/executions").json()["executions"] == []


def test_without_a_key_nothing_is_asked(alice: Client) -> None:
    assert alice.finished(alice.trigger("job", seconds=0, vault_id=""))["status"] == "SUCCEEDED"
    assert alice.finished(alice.trigger("job", seconds=0))["status"] == "SUCCEEDED"


def test_an_input_may_be_marked(alice: Client, key: str) -> None:
    properties = alice("GET", "/workflows/job").json()["inputs"]["properties"]
    assert {name for name, schema in properties.items() if schema.get("x-ssh-key")} == {"login_key"}
    alice.finished(alice.trigger("job", seconds=0, login_key=key))
    assert alice("GET", f"/ssh_keys/{key}").json()["last_used_at"]
    answer = alice("POST", "/workflows/job", json={"inputs": {"seconds": 0, "login_key": "nothing"}})
    assert [problem["input"] for problem in answer.json()["inputs"]] == ["login_key"]
