"""Who tries to run what is not for them, or to use what is not theirs: by misspelt, replaced or broken metadata,
and by SSH keys of others."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import requests

from tests.e2e.processes import Service, eventually
from tests.service import PASSWORDS, Client, as_user

TOOL = "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: 'true'\ninputs: {}\noutputs: []\n"
KEYS = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: 'true'
inputs:
  logins: 'string[]?'
  servers:
    - 'null'
    - type: array
      items: {type: record, fields: {host: string, key: string}}
  settings: string?
  anything: Any?
outputs: []
"""
LOOKS = 1.3
"""Seconds after which the service has looked at the catalogue once more."""
MISSPELT = {
    "secret1": "secret1.cwl.meta.yaml",
    "secret2": "secret2/secret2.meta.yaml",
    "secret3": "secret3.yaml",
    "secret4": "secret4/Meta.yaml",
    "secret5": "secret5/meta.yml",
    "secret6": "secret6.meta.yaml~",
    "secret7": "secret7.meta.yml",
    "secret8": "secrett8.meta.yaml",
    "secret9": "secret9/.meta.yaml.swp",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("rights"))
    configuration = service.home / "service.yml"
    accounts = ", ".join(f'{{username: {name}, password: "{password}"}}' for name, password in PASSWORDS.items())
    configuration.write_text(
        f"auth: {{auth_type: basic, operators: [root], basic_auth: {{accounts: [{accounts}]}}}}\n", "utf-8"
    )
    service.arguments = ["--config", configuration]
    for name, meta in MISSPELT.items():
        document = service.catalogue / (f"{name}/main.cwl" if "/" in meta else f"{name}.cwl")
        document.parent.mkdir(exist_ok=True)
        document.write_text(TOOL)
        (service.catalogue / meta).write_text("authorized_users: [bob]")
    (service.catalogue / "private.meta.yaml").write_text("authorized_users: [bob]")
    (service.catalogue / "private.cwl").write_text(TOOL)
    (service.catalogue / "keys.meta.yaml").write_text("ssh_keys: [logins, servers.key]")
    (service.catalogue / "keys.cwl").write_text(KEYS)
    service.start()
    # What it has never read with its metadata it can't know as withheld: the edits below come after the first read.
    eventually(lambda: listed(as_user(service.url, "bob")) == {"script", "keys", "private"})
    yield service
    service.end()


@pytest.fixture
def alice(service: Service) -> Client:
    return as_user(service.url, "alice")


@pytest.fixture
def bob(service: Service) -> Client:
    return as_user(service.url, "bob")


def listed(client: Client) -> set[str]:
    return {item["id"] for item in client("GET", "/workflows").json()["workflows"]}


def test_misspelt_metadata_open_nothing(service: Service, alice: Client, bob: Client) -> None:
    assert listed(alice) == {"script", "keys"}
    assert listed(bob) == {"script", "keys", "private"}
    for name in (*MISSPELT, "private"):
        assert alice("POST", f"/workflows/{name}", json={}).status_code == 404
    assert requests.get(f"{service.url}/workflows", timeout=60).status_code == 401
    found = {item["id"]: item for item in json.loads(service.command("catalogue", "access", "-o", "json").stdout)}
    log = service.log.read_text()
    for name, meta in MISSPELT.items():
        assert not found[name]["published"]
        assert meta in found[name]["problem"]
        assert meta in log
    report = as_user(service.url, "root")("GET", "/health/ready").json()
    problems = [problem for check in report["checks"] for problem in check["problems"]]
    assert report["status"] == "degraded"
    assert {name for name in MISSPELT if any(MISSPELT[name] in problem for problem in problems)} == set(MISSPELT)


def test_no_moment_of_an_edit_opens_a_workflow(service: Service, alice: Client, bob: Client) -> None:
    meta = service.catalogue / "private.meta.yaml"
    good = meta.read_text()
    states = [
        None,  # an editor has moved it away
        "",  # and written nothing yet
        "name: Private\n",  # half of it
        "authorized_users: [bob]\nauthorized_users: [alice]\n",
        "authorized_users: [bob\n",
        "authorized_user: [bob]\n",
    ]
    for state in states:
        meta.unlink(missing_ok=True)
        if state is not None:
            meta.write_text(state)
        end = time.monotonic() + LOOKS
        while time.monotonic() < end:
            assert "private" not in listed(alice), state
            assert alice("POST", "/workflows/private", json={}).status_code == 404, state
            time.sleep(0.1)
        meta.write_text(good)
        eventually(lambda: "private" in listed(bob))


def test_a_broken_document_keeps_its_rights(service: Service, alice: Client, bob: Client) -> None:
    document, meta = service.catalogue / "private.cwl", service.catalogue / "private.meta.yaml"
    document.write_text("x: [")
    time.sleep(LOOKS)
    assert bob.finished(bob.trigger("private"))["status"] == "SUCCEEDED"
    assert "private" not in listed(alice)
    meta.write_text("authorized_users: []")
    eventually(lambda: "private" not in listed(bob))
    assert bob("POST", "/workflows/private", json={}).status_code == 404
    meta.write_text("authorized_users: [bob]")
    document.write_text(TOOL)
    eventually(lambda: "private" in listed(bob))


def test_keys_of_others_are_refused_wherever_they_are_named(alice: Client, bob: Client) -> None:
    theirs = alice("POST", "/ssh_keys").json()["id"]
    own = bob("POST", "/ssh_keys").json()["id"]

    def inputs(key: str) -> dict[str, dict[str, object]]:
        server = {"host": "h", "key": key}
        return {
            "logins[1]": {"logins": [own, key]},
            "logins[0]": {"logins": json.dumps([key])},
            "servers[0].key": {"servers": [server]},
            "servers[1].key": {"servers": json.dumps([{"host": "h", "key": own}, server])},
            "settings.vault_id": {"settings": json.dumps({"vault_id": key})},
            "settings[0].vault_id": {"settings": json.dumps([{"vault_id": key, "x": 1}])},
            "anything.a[0].vault_id": {"anything": {"a": [{"vault_id": key}]}},
        }

    for way, given in inputs(theirs).items():
        answer = bob("POST", "/workflows/keys", json={"inputs": given})
        assert answer.status_code == 400, (way, answer.text)
        assert [problem["input"] for problem in answer.json()["inputs"]] == [way]
        assert bob("POST", "/workflows/keys", json={"inputs": given}, params={"dry_run": "true"}).status_code == 400
    twice = f'[{{"host": "h", "key": "{theirs}", "key": "{own}"}}]'
    assert bob("POST", "/workflows/keys", json={"inputs": {"servers": twice}}).status_code == 400
    for given in inputs(own).values():
        assert bob("POST", "/workflows/keys", json={"inputs": given}, params={"dry_run": "true"}).status_code == 200
    path = bob.trigger("keys", logins=[own])
    assert bob("GET", f"/ssh_keys/{own}").json()["last_used_at"] == bob("GET", path).json()["created_at"]
