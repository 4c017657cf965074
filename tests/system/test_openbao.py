"""Keys in a real OpenBao: logins, policies, tokens that end, wrapping, sealing, restarts."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hvac
import paramiko
import pytest

from tests.service import IDLE, Client, as_user, make_settings, serving
from tests.system.openbao import OpenBao
from tests.waiting import until

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with OpenBao(tmp_path_factory.mktemp("vault")) as vault:
        yield vault


@pytest.fixture(scope="module")
def alice(vault: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A user of a service whose tokens live for 2 seconds, and for 4 when they are renewed."""
    config = vault.settings() | vault.role("hpcwaas-service", token_ttl="2s", token_max_ttl="4s")
    with serving(make_settings(tmp_path_factory.mktemp("service"), vault_config=config, cwl=IDLE)) as url:
        yield as_user(url, "alice")


def makes_keys(alice: Client) -> bool:
    return alice("POST", "/ssh_keys").status_code == 201


def of_vault(alice: Client) -> dict[str, Any]:
    """What operators read of it."""
    checks = as_user(alice.url, "root")("GET", "/health/ready").json()["checks"]
    (found,) = [check for check in checks if check["name"] == "vault"]
    return dict(found)


def test_life_of_a_key(alice: Client, vault: OpenBao) -> None:
    made = alice("POST", "/ssh_keys", json={"name": "mine", "metadata": {"project": "climate"}}).json()
    stored = vault.client.secrets.kv.v2
    path = f"ssh-credentials/{made['id']}"
    record = stored.read_secret_version(path, raise_on_deleted_version=True)["data"]
    assert record["data"].keys() == {"privateKey", "publicKey", "project"}
    assert record["metadata"]["custom_metadata"].items() >= {"owner": "alice", "name": "mine"}.items()
    private = paramiko.Ed25519Key.from_private_key(io.StringIO(record["data"]["privateKey"]))
    assert private.get_base64() == made["public_key"].split()[1]
    rotated = alice("POST", f"/ssh_keys/{made['id']}/rotate").json()
    record = stored.read_secret_version(path, raise_on_deleted_version=True)["data"]
    assert record["data"]["publicKey"] == rotated["public_key"] != made["public_key"]
    assert alice("DELETE", f"/ssh_keys/{made['id']}").status_code == 204
    with pytest.raises(hvac.exceptions.InvalidPath):
        stored.read_secret_metadata(path)


def test_the_policies_let_one_identity_write_and_another_read(alice: Client, vault: OpenBao) -> None:
    path = f"ssh-credentials/{alice('POST', '/ssh_keys').json()['id']}"
    for policy, reads in (("hpcwaas-service", False), ("hpcwaas-reader", True)):
        client = hvac.Client(vault.url, "")
        client.auth.approle.login(**vault.role(policy))
        secrets = client.secrets.kv.v2
        if reads:
            assert secrets.read_secret_version(path, raise_on_deleted_version=True)["data"]["data"]["privateKey"]
            with pytest.raises(hvac.exceptions.Forbidden):
                secrets.create_or_update_secret(path, {"privateKey": "mine"})
        else:
            with pytest.raises(hvac.exceptions.Forbidden):
                secrets.read_secret_version(path, raise_on_deleted_version=True)
        client.adapter.close()


def test_version_1_of_the_engine(vault: OpenBao, tmp_path: Path) -> None:
    vault.client.sys.enable_secrets_engine("kv", path="old", options={"version": "1"})
    vault.client.sys.create_or_update_policy(
        "version-1", 'path "old/ssh-credentials/*" { capabilities = ["create", "update", "delete"] }'
    )
    config = vault.settings() | vault.role("version-1") | {"mount": "old"}
    with serving(make_settings(tmp_path, vault_config=config, cwl=IDLE)) as url:
        alice = as_user(url, "alice")
        made = alice("POST", "/ssh_keys").json()
        rotated = alice("POST", f"/ssh_keys/{made['id']}/rotate").json()
        path = f"ssh-credentials/{made['id']}"
        record = vault.client.secrets.kv.v1.read_secret(path, mount_point="old")["data"]
        assert record["publicKey"] == rotated["public_key"] != made["public_key"]
        assert alice("DELETE", f"/ssh_keys/{made['id']}").status_code == 204
        with pytest.raises(hvac.exceptions.InvalidPath):
            vault.client.secrets.kv.v1.read_secret(path, mount_point="old")


def test_rights_that_a_policy_lacks_are_told(alice: Client, vault: OpenBao) -> None:
    assert of_vault(alice)["problems"] == []
    policy = vault.client.sys.read_policy("hpcwaas-service")["data"]["rules"]
    less = policy.replace('"create", "update", "read", "list", "delete"', '"create", "update"')
    assert less != policy
    vault.client.sys.create_or_update_policy("hpcwaas-service", less)
    try:
        until(lambda: of_vault(alice)["status"] == "degraded")
        assert "deleted" in of_vault(alice)["problems"][0]
    finally:
        vault.client.sys.create_or_update_policy("hpcwaas-service", policy)
    until(lambda: of_vault(alice)["status"] == "ok")


def test_tokens_end_and_nobody_notices(alice: Client) -> None:
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        assert makes_keys(alice)
        time.sleep(0.2)
    time.sleep(3)  # longer than a token lives, without a request
    assert makes_keys(alice)


def test_sealed_and_opened(alice: Client, vault: OpenBao) -> None:
    vault.seal()
    answer = alice("POST", "/ssh_keys")
    assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
    assert "sealed" in of_vault(alice)["problems"][0]
    time.sleep(3)  # the token ends meanwhile
    assert alice("GET", "/workflows").status_code == 200
    vault.unseal()
    until(lambda: makes_keys(alice))
    until(lambda: of_vault(alice)["status"] == "ok")


def test_killed_and_started_again(alice: Client, vault: OpenBao) -> None:
    kept = alice("POST", "/ssh_keys").json()
    vault.kill()
    assert alice("POST", "/ssh_keys").status_code == 503
    assert alice("GET", f"/ssh_keys/{kept['id']}").status_code == 200
    vault.start()
    vault.unseal()
    until(lambda: makes_keys(alice))
    record = vault.client.secrets.kv.v2.read_secret_version(
        f"ssh-credentials/{kept['id']}", raise_on_deleted_version=True
    )
    assert record["data"]["data"]["publicKey"] == kept["public_key"]


def test_a_wrapped_secret_id_is_opened_once(vault: OpenBao, tmp_path: Path) -> None:
    config = vault.settings()
    config["secret_id"] = vault.client.sys.wrap({"secret_id": config["secret_id"]})["wrap_info"]["token"]
    settings = make_settings(tmp_path, vault_config=config | {"is_secret_wrapped": True}, cwl=IDLE)
    with serving(settings) as url:
        assert makes_keys(as_user(url, "alice"))
    with pytest.raises(hvac.exceptions.InvalidRequest):
        vault.client.sys.unwrap(config["secret_id"])


def test_a_wrong_secret_id(vault: OpenBao, tmp_path: Path) -> None:
    config = vault.settings(secret_id="wrong")
    with serving(make_settings(tmp_path, vault_config=config, cwl=IDLE)) as url:
        alice = as_user(url, "alice")
        assert alice("POST", "/ssh_keys").status_code == 503
        assert "login by approle" in of_vault(alice)["problems"][0]
        until(lambda: alice("GET", "/workflows").status_code == 200)  # it may be about to be read
