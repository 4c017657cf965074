"""The private half of a key is in the vault and nowhere else: everything that the service leaves is searched for it."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from hpcwaas.vault.keyring import Keyring
from tests.e2e.processes import Service, eventually
from tests.key_marks import marks
from tests.service import Client
from tests.simulators.vault import Fault, Vault, vault_server

KINDS: tuple[dict[str, str], ...] = ({}, {"type": "rsa"}, {"type": "ecdsa"})


@pytest.fixture
def vault() -> Iterator[Vault]:
    with vault_server() as server:
        yield server


class Watch:
    """Looks at the command lines and environments of the service's processes while it works."""

    def __init__(self, service: Service) -> None:
        self.seen = bytearray()
        self._service = service
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            for process in self._service.processes():
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError, psutil.Error):
                        self.seen += Path(f"/proc/{process.pid}/{name}").read_bytes()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def use(user: Client, answers: list[requests.Response]) -> None:
    """All that can be done with keys."""
    for kind in KINDS:
        made = user("POST", "/ssh_keys", json=kind)
        answers.append(made)
        path = f"/ssh_keys/{made.json()['id']}"
        answers += [user("POST", f"{path}/rotate"), user("GET", path), user("GET", "/ssh_keys")]
        answers.append(user("GET", path, headers={"Accept": "text/plain"}))
        answers.append(user("POST", f"{path}/confirm"))
    answers.append(user("GET", "/health/ready"))


def found(marked: set[bytes], service: Service, watch: Watch, answers: list[requests.Response]) -> list[str]:
    """Where something of a private key was found."""
    places = {f"answer {number}": answer.content for number, answer in enumerate(answers)}
    places |= {f"headers {number}": str(answer.headers).encode() for number, answer in enumerate(answers)}
    places["processes"] = bytes(watch.seen)
    files = [path for path in service.home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert service.log in files
    assert service.data / "hpcwaas.db" in files
    places |= {str(path): path.read_bytes() for path in files}
    return [name for name, content in places.items() if any(mark in content for mark in marked)]


def test_with_hashicorp_vault(tmp_path: Path, vault: Vault) -> None:
    role = vault.role()
    (tmp_path / "tmp").mkdir()
    service = Service(
        tmp_path,
        HWA_VAULT_CONFIG_ADDRESS=vault.url,
        HWA_VAULT_CONFIG_ROLE_ID=role.role_id,
        HWA_VAULT_CONFIG_SECRET_ID=vault.secret_id(role),
        TMPDIR=str(tmp_path / "tmp"),
    ).start()
    answers: list[requests.Response] = []
    tried: list[str] = []
    try:
        eventually(service.profile.exists)
        with Watch(service) as watch:
            use(service.user, answers)
            for what in ("echo", "500", "nonsense", "lose", "drop", "400", "503"):
                vault.faults = [Fault("POST", "secret/data", what, times=2)]
                answers.append(service.user("POST", "/ssh_keys"))
                tried.append(what)
            assert len(watch.seen) > 1000
        service.stop()
        pems = [each["data"]["privateKey"] for secret in vault.pairs().values() for each in secret.versions]
        assert len(pems) >= 6
        marked = set().union(*map(marks, pems))
        assert found(marked, service, watch, answers) == []
        # What was only ever sent, and quoted by a vault that echoes it, has the shape of a key at least.
        texts = b"".join([answer.content for answer in answers] + [service.log.read_bytes()])
        assert b"PRIVATE KEY" not in texts
        assert b"privateKey" not in texts
        # The search does find what is there.
        (tmp_path / "leak").write_text(f"x{pems[0]}")
        assert found(marked, service, watch, answers) == [str(tmp_path / "leak")]
    finally:
        service.end()


def test_with_the_embedded_vault(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    service = Service(tmp_path, TMPDIR=str(tmp_path / "tmp")).start()
    answers: list[requests.Response] = []
    try:
        eventually(service.profile.exists)
        with Watch(service) as watch:
            use(service.user, answers)
        keys = Keyring([base64.b64decode((service.data / "vault.key").read_text())])
        with service.database() as database:
            rows = database.execute("SELECT key_id, ciphertext FROM secrets WHERE key_id NOT LIKE '*%'").fetchall()
        service.stop()
        pems = [json.loads(keys.open(name, text))["privateKey"] for name, text in rows]
        assert len(pems) == len(KINDS)
        assert found(set().union(*map(marks, pems)), service, watch, answers) == []
    finally:
        service.end()
