"""Nothing secret is found where it does not belong: logs, answers, files, environments and command lines."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from hpcwaas.vault.keyring import Keyring
from tests.e2e.processes import Service, eventually, log_text
from tests.service import Client

PASSWORDS = {"alice": "Wolkenkuckucksheim 42", "bob": "n0t:even/this+one"}
WRONG = "Rumpelstilzchen-0815"
SHOW = "env >&2; for p in self $PPID; do tr '\\0' '\\n' < /proc/$p/environ >&2; done; echo shown >&2"
KEYS: tuple[dict[str, Any], ...] = (
    {"type": "ed25519"},
    {"type": "rsa", "bits": 3072},
    {"type": "rsa", "bits": 4096},
    *({"type": "ecdsa", "bits": bits} for bits in (256, 384, 521)),
)


@dataclass
class Hunt:
    """Things that were found, by their place, and what must not be in them."""

    found: dict[str, bytes] = field(default_factory=dict)

    def take_files(self, directory: Path, *known: str) -> None:
        for file in directory.rglob("*"):
            if file.is_file() and file.name not in known:
                with contextlib.suppress(FileNotFoundError):  # an execution goes on meanwhile
                    self.found[str(file)] = file.read_bytes()

    def take_processes(self, processes: list[psutil.Process]) -> None:
        for process in processes:
            for name in ("cmdline", "environ"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    self.found[f"{process.pid}: {name}"] = Path(f"/proc/{process.pid}/{name}").read_bytes()

    def take_answer(self, answer: requests.Response) -> None:
        self.found[f"{answer.request.method} {answer.request.url} {len(self.found)}"] = (
            str(answer.headers).encode() + answer.content
        )

    def places(self, secret: str | bytes) -> list[str]:
        needle = secret.encode() if isinstance(secret, str) else secret
        forms = {needle, base64.b64encode(needle).rstrip(b"="), json.dumps(needle.decode()).encode()[1:-1]}
        return [place for place, content in self.found.items() if any(form in content for form in forms)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, HWA_CWL_MAX_RUNNING="2")
    yield service
    service.end()


def private_halves(service: Service, key: bytes) -> list[str]:
    """A line of each private key, as only the vault can open them; not one that holds the public half."""
    keys = Keyring([key])
    halves = []
    with service.database() as database:
        for key_id, sealed in database.execute("SELECT key_id, ciphertext FROM secrets WHERE key_id <> '*probe*'"):
            record = json.loads(keys.open(key_id, sealed))
            lines = record["privateKey"].splitlines()[1:-1]
            halves.append(next(line for line in lines[::-1] if len(line) > 40 and line not in record["publicKey"]))
    return halves


def work(hunt: Hunt, users: list[Client], wrong: Client) -> str:
    """Whatever users do, right and wrong. The path of an execution that still runs."""
    for user in users:
        for number, wanted in enumerate(KEYS):
            made = user("POST", "/ssh_keys", json={**wanted, "name": f"key {number}"})
            assert made.status_code == 201, made.text
            hunt.take_answer(made)
            hunt.take_answer(user("GET", made.headers.get("Location", "/ssh_keys")))
        for script in (SHOW, f"{SHOW}; exit 7"):
            path = user.trigger("script", script=script)
            user.finished(path)
            assert "shown" in log_text(user, path)
            for part in ("", "/logs", "/outputs/files", "/outputs/none"):
                hunt.take_answer(user("GET", path + part))
        for method, where, body in (
            ("POST", "/workflows/script", b'{"inputs": {"script": 1}}'),
            ("POST", "/workflows/script", b'{"inputs": '),
            ("POST", "/workflows/script", b"\xff"),
            ("PUT", "/workflows", b""),
            ("GET", "/nothing/here", b""),
            ("GET", "/executions?cursor=nonsense", b""),
            ("DELETE", "/ssh_keys/none", b""),
            ("GET", "/health/ready", b""),
        ):
            hunt.take_answer(user(method, where, data=body, headers={"Content-Type": "application/json"}))
    answer = wrong("GET", "/workflows")
    assert answer.status_code == 401
    hunt.take_answer(answer)
    running = users[0].trigger("script", script=f"{SHOW}; sleep 60")
    eventually(lambda: "shown" in log_text(users[0], running))
    return running


def test_passwords_the_vault_key_and_private_keys(service: Service) -> None:
    key = os.urandom(32)
    configuration = service.home / "service.yml"
    accounts = [{"username": name, "password": password} for name, password in PASSWORDS.items()]
    configuration.write_text(json.dumps({"auth": {"auth_type": "basic", "basic_auth": {"accounts": accounts}}}))
    configuration.chmod(0o600)
    service.arguments = ["--config", configuration]
    service.variables["HWA_VAULT_KEY"] = base64.b64encode(key).decode()
    hunt = Hunt()
    for words in (("config", "check"), ("db", "upgrade"), ("config", "show")):
        answer = service.command(*words)
        assert answer.returncode == 0, answer.stderr
        hunt.found[" ".join(words)] = (answer.stdout + answer.stderr).encode()
    service.start()

    def user(name: str, password: str) -> Client:
        credentials = base64.b64encode(f"{name}:{password}".encode()).decode()
        return Client(service.url, {"Authorization": f"Basic {credentials}"})

    users = [user(name, password) for name, password in PASSWORDS.items()]
    running = work(hunt, users, user("alice", WRONG))
    hunt.take_processes(own := service.processes() + service.strangers())
    kinds = {f"{each.pid}: environ": service.kind(each) for each in own}
    assert {"master", "worker", "launcher", "supervisor", "runner"} <= set(kinds.values())
    assert any("sleep" in each.name() for each in own)
    hunt.take_answer(users[0]("DELETE", running))
    users[0].finished(running)
    service.stop()
    hunt.take_files(service.data)
    hunt.found["log"], hunt.found["printed"] = service.log.read_bytes(), service.printed.read_bytes()

    for name, password in {**PASSWORDS, "": WRONG}.items():
        assert hunt.places(password) == []
        assert hunt.places(f"{name}:{password}") == []
    halves = private_halves(service, key)
    assert len(halves) == len(KEYS) * len(PASSWORDS)
    for half in (*halves, "PRIVATE KEY"):
        assert hunt.places(half) == []
    # Who starts the service with a variable has put it into the environment of its processes, and of no other.
    places = hunt.places(base64.b64encode(key).decode())
    assert {kinds.get(place, place) for place in places} <= {"master", "worker"}
    assert hunt.places(key.hex()) == []


def test_the_local_token(service: Service) -> None:
    service.start()
    token, hunt = service.token, Hunt()
    shown = service.command("config", "show")
    hunt.found["config show"] = (shown.stdout + shown.stderr).encode()
    running = work(hunt, [service.user], Client(service.url, {"Authorization": f"Bearer {WRONG}"}))
    command = service.waas_started("executions", "logs", running, "-f")
    hunt.take_processes([*service.processes(), *service.strangers(), psutil.Process(command.pid)])
    hunt.take_answer(service.user("DELETE", running))
    command.communicate(timeout=60)
    service.stop()
    (local,) = service.data.glob("local-token")
    assert local.stat().st_mode & 0o777 == 0o600
    hunt.take_files(service.data, local.name, "vault.key")
    hunt.found["log"], hunt.found["printed"] = service.log.read_bytes(), service.printed.read_bytes()
    for secret in (token, WRONG, "PRIVATE KEY", (service.data / "vault.key").read_text().strip()):
        assert hunt.places(secret) == []


def test_secrets_among_the_flags_are_wiped_from_the_list_of_processes(service: Service) -> None:
    secret = "Wolkenkuckucksheim-42"
    service.arguments = ["--vault_address", "http://127.0.0.1:1", "--vault_role_id", "r", f"--vault_secret_id={secret}"]
    service.start()
    hunt = Hunt()
    hunt.take_processes(service.processes())
    assert len(hunt.found) >= 4
    assert any(b"--vault_secret_id=****" in content for content in hunt.found.values())
    hunt.found["log"] = service.log.read_bytes()
    assert b"--vault_secret_id: other users of this machine may have seen it" in hunt.found["log"]
    assert hunt.places(secret) == []
