"""`/ssh_keys` with HashiCorp Vault behind: users notice nothing of tokens, and something useful of failures."""

from __future__ import annotations

import base64
import io
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from sqlalchemy import update

from hpcwaas.configuration.settings import Settings
from hpcwaas.store.database import Database
from hpcwaas.store.models import IntentRow, SSHKeyRow
from tests.service import IDLE, Client, as_user, make_settings, serving
from tests.simulators.vault import Fault, Vault, vault_server

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    with vault_server() as server:
        yield server


@pytest.fixture(scope="module")
def settings(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    role = vault.role(ttl=4, longest=8)
    config = {"address": vault.url, "role_id": role.role_id, "secret_id": vault.secret_id(role)}
    return make_settings(tmp_path_factory.mktemp("service"), cwl=IDLE, vault_config=config)


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with serving(settings) as url:
        yield url


@pytest.fixture
def alice(url: str) -> Client:
    return as_user(url, "alice")


@pytest.fixture
def root(url: str) -> Client:
    return as_user(url, "root")


def test_what_consumers_find_in_the_vault(alice: Client, vault: Vault) -> None:
    metadata = {"project": "climate", "privateKey": "evil", "empty": ""}
    made = alice("POST", "/ssh_keys", json={"name": "m", "metadata": metadata}).json()
    record = vault.pairs()[made["id"]].versions[0]["data"]
    assert record.keys() == {"privateKey", "publicKey", "project", "empty"}
    assert record["publicKey"] == made["public_key"]
    private = paramiko.Ed25519Key.from_private_key(io.StringIO(record["privateKey"]))
    assert private.get_base64() == made["public_key"].split()[1]
    custom = vault.pairs()[made["id"]].custom or {}
    assert custom["owner"] == "alice"


def test_a_key_is_in_the_form_that_orchestrators_log_in_with(alice: Client, vault: Vault, tmp_path: Path) -> None:
    """Yorc's SSH (golang.org/x/crypto/ssh) takes PEM without a passphrase, in the lines of a file."""
    made = alice("POST", "/ssh_keys", json={"name": "for Yorc"}).json()
    stored = vault.pairs()[made["id"]].versions[0]["data"]["privateKey"]
    first, *body, last = stored.removesuffix("\n").split("\n")
    assert (first, last) == ("-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----")
    assert stored.endswith("-----\n")
    assert not set(stored) & {"\r", "\\", " "} - set(first)
    content = base64.b64decode("".join(body), validate=True)
    # Neither a cipher nor a passphrase: `openssh-key-v1`, then the names of both.
    assert content.startswith(b"openssh-key-v1\0\0\0\0\4none\0\0\0\4none")
    private = load_ssh_private_key(stored.encode(), password=None)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert made["public_key"].split()[:2] == public.split() != []
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(stored)
    command = ["ssh-keygen", "-y", "-P", "", "-f", str(file)]
    read = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert read.split()[:2] == public.split()


def test_200_at_once_are_all_distinct_and_all_stored_once(alice: Client, vault: Vault) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: alice("POST", "/ssh_keys", json={}), range(200)))
    assert Counter(answer.status_code for answer in answers) == {201: 200}
    made = {answer.json()["id"]: answer.json()["public_key"] for answer in answers}
    assert len(made) == len(set(made.values())) == 200
    for key_id, public_key in made.items():
        (only,) = vault.pairs()[key_id].versions
        assert only["data"]["publicKey"] == public_key
    listed = {key["id"] for key in alice("GET", "/ssh_keys").json()["ssh_keys"]}
    assert made.keys() <= listed
    assert len({each.versions[0]["data"]["privateKey"] for each in vault.pairs().values()}) == len(vault.pairs())


def test_rotation_keeps_the_history(alice: Client, vault: Vault) -> None:
    made = alice("POST", "/ssh_keys", json={"type": "ecdsa", "bits": 384, "comment": "for tests"}).json()
    path = f"/ssh_keys/{made['id']}"
    rotated = alice("POST", f"{path}/rotate").json()
    assert (rotated["id"], rotated["type"], rotated["bits"]) == (made["id"], "ecdsa", 384)
    assert rotated["public_key"] != made["public_key"]
    assert rotated["public_key"].endswith(" for tests\n")
    (old,) = rotated["replaced"]
    assert (old["public_key"], old["fingerprint"]) == (made["public_key"], made["fingerprint"])
    assert old["replaced_at"] == rotated["rotated_at"]
    assert alice("GET", path).json() == rotated
    first, second = vault.pairs()[made["id"]].versions
    assert (first["data"]["publicKey"], second["data"]["publicKey"]) == (made["public_key"], rotated["public_key"])
    custom = vault.pairs()[made["id"]].custom or {}
    assert custom["fingerprint"] == rotated["fingerprint"]
    confirmed = alice("POST", f"{path}/confirm").json()
    assert confirmed == rotated | {"replaced": []}
    assert alice("DELETE", path).status_code == 204
    assert made["id"] not in vault.pairs()


def test_while_it_is_sealed_all_else_is_served(alice: Client, root: Client, vault: Vault) -> None:
    made = alice("POST", "/ssh_keys", json={"name": "before"}).json()
    path = f"/ssh_keys/{made['id']}"
    vault.state.sealed = True
    try:
        for method, way in (("POST", "/ssh_keys"), ("POST", f"{path}/rotate"), ("DELETE", path)):
            answer = alice(method, way)
            assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
        ready = root("GET", "/health/ready")
        (check,) = [each for each in ready.json()["checks"] if each["name"] == "vault"]
        assert (ready.status_code, check["status"]) == (200, "degraded")
        assert "is sealed" in check["problems"][0]
        assert alice("GET", path).json() == made
        assert alice("GET", "/workflows").status_code == 200
    finally:
        vault.state.sealed = False
    assert alice("POST", f"{path}/rotate").status_code == 200
    assert alice("DELETE", path).status_code == 204
    deadline = time.monotonic() + 60
    while alice("GET", "/health/ready").json()["status"] != "ok":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_tokens_end_and_nobody_notices(alice: Client, vault: Vault) -> None:
    vault.revoke_all()
    assert alice("POST", "/ssh_keys").status_code == 201
    ends = time.monotonic() + 9  # longer than the longest life of a token
    while time.monotonic() < ends:
        assert alice("POST", "/ssh_keys").status_code == 201
        time.sleep(0.2)


def test_a_failed_rotation_may_be_repeated_at_once(alice: Client, vault: Vault) -> None:
    made = alice("POST", "/ssh_keys").json()
    path = f"/ssh_keys/{made['id']}"
    vault.faults = [Fault("POST", f"data.*{made['id']}", "500")]
    assert alice("POST", f"{path}/rotate").status_code == 502
    assert alice("GET", path).json()["public_key"] == made["public_key"]
    assert alice("POST", f"{path}/rotate").status_code == 200
    vault.faults = [Fault("POST", f"data.*{made['id']}", "lose", times=2)]  # the vault has it, and nobody knows
    answer = alice("POST", f"{path}/rotate")
    assert answer.status_code == 503
    rotated = alice("POST", f"{path}/rotate").json()
    assert vault.pairs()[made["id"]].versions[-1]["data"]["publicKey"] == rotated["public_key"]


def test_what_was_left_half_done_is_ended(alice: Client, vault: Vault, settings: Settings) -> None:
    database = Database(settings.database_url)
    keys = [alice("POST", "/ssh_keys").json() for _ in range(2)]
    (kept, gone), orphan = [key["id"] for key in keys], "0" * 8 + "-orphan"
    vault.state.kv2["secret"][f"ssh-credentials/{orphan}"] = vault.pairs()[kept]
    with database.write() as session:
        for change, key_id in (("rotate", kept), ("delete", gone)):
            values = {"change": change, "changing_since": LONG_AGO}
            session.execute(update(SSHKeyRow).where(SSHKeyRow.id == key_id).values(values))
        session.add(IntentRow(key_id=orphan, created_at=LONG_AGO))
    deadline = time.monotonic() + 60
    while {gone, orphan} & vault.pairs().keys() or alice("GET", f"/ssh_keys/{gone}").status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    rotated = alice("GET", f"/ssh_keys/{kept}").json()
    assert rotated["replaced"][0]["public_key"] == keys[0]["public_key"]
    assert vault.pairs()[kept].versions[-1]["data"]["publicKey"] == rotated["public_key"]
    with database.read() as session:
        left = session.connection().exec_driver_sql("SELECT count(*) FROM vault_intents").scalar()
    assert left == 0
    database.close()


def test_a_changed_key_is_not_changed_by_two(alice: Client, vault: Vault) -> None:
    path = f"/ssh_keys/{alice('POST', '/ssh_keys').json()['id']}"
    vault.faults = [Fault("POST", "secret/data", "late 0.5", times=1)]
    with ThreadPoolExecutor(4) as pool:
        statuses = Counter(pool.map(lambda _: alice("POST", f"{path}/rotate").status_code, range(4)))
    assert statuses == {200: 1, 409: 3}


def test_other_answers_than_the_service_expects(alice: Client, vault: Vault) -> None:
    for what in ("nonsense", "echo", "500"):
        vault.faults = [Fault("POST", "secret/data", what)]
        answer = alice("POST", "/ssh_keys")
        assert answer.status_code == 502
        assert "PRIVATE" not in answer.text
