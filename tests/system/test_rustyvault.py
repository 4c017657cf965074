"""Keys in a real server that speaks Vault's API: logins, tokens that end, sealing, restarts.

RustyVault has KV version 1 and no policies, renewal or wrapping; those are tested against the look-alike.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hvac
import paramiko
import pytest
import requests

from tests.ports import free_port
from tests.service import as_user, make_settings, serving

PROGRAM = Path(__file__).parents[2] / ".venv-rustyvault" / "bin" / "rvault"
CONFIGURATION = """
storage "file" {{
  path = "{home}/data"
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = "true"
}}
api_addr = "http://127.0.0.1:{port}"
log_level = "warn"
pid_file = "{home}/pid"
work_dir = "{home}"
"""

pytestmark = pytest.mark.system


def eventually(condition: Callable[[], object], seconds: float = 30) -> float:
    """Waits for something to become true; the seconds that it took."""
    started = time.monotonic()
    while True:
        with contextlib.suppress(
            *(
                requests.ConnectionError,
                hvac.exceptions.VaultDown,
                hvac.exceptions.InvalidRequest,
                hvac.exceptions.Forbidden,
            )
        ):
            if condition():
                return time.monotonic() - started
        assert time.monotonic() - started < seconds, "waited too long"
        time.sleep(0.05)


class Server:
    """A RustyVault with one AppRole, whose tokens live for 2 seconds."""

    def __init__(self, home: Path) -> None:
        assert PROGRAM.exists(), "RustyVault isn't installed: use `make test-system`"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.home = home
        home.mkdir()
        (home / "config.hcl").write_text(CONFIGURATION.format(home=home, port=port))
        self.client = hvac.Client(self.url, "")
        self.start()
        made: dict[str, Any] = {}
        eventually(lambda: made.update(self.client.sys.initialize(1, 1)) or made)
        self.client.token, (self._key,) = made["root_token"], made["keys"]
        self.unseal()
        self.call("post", "sys/auth/approle", {"type": "approle"})
        role = {"token_policies": ["default"], "token_ttl": "2s", "token_max_ttl": "4s", "secret_id_num_uses": 0}
        self.call("post", "auth/approle/role/api", role)
        self.role_id = self.call("get", "auth/approle/role/api/role-id")["data"]["role_id"]
        self.secret_id = self.call("post", "auth/approle/role/api/secret-id", {})["data"]["secret_id"]

    def start(self) -> None:
        """Starts the process; it is sealed."""
        with (self.home / "log").open("ab") as log:
            command: list[str | Path] = [PROGRAM, "server", f"--config={self.home}/config.hcl"]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def stop(self, how: int = signal.SIGKILL) -> None:
        """Ends the process."""
        self.process.send_signal(how)
        self.process.wait(60)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Asks as root."""
        return self.client.adapter.request(method, f"/v1/{path}", json=body)

    def restart(self) -> None:
        """Kills it, starts it again, and opens it."""
        self.stop()
        self.start()
        self.unseal()

    def unseal(self) -> None:
        """Opens it, without its leases: it can't take up one that ends within a second, and stays half open then."""
        shutil.rmtree(self.home / "data/sys/id", ignore_errors=True)
        eventually(lambda: self.call("put", "sys/unseal", {"key": self._key})["sealed"] is False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("vault") / "home")
    yield server
    server.stop()
    server.client.adapter.close()


@pytest.fixture(scope="module")
def alice(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    config = {"address": server.url, "role_id": server.role_id, "secret_id": server.secret_id}
    settings = make_settings(tmp_path_factory.mktemp("service"), vault_config=config)
    with serving(settings) as url:
        yield as_user(url, "alice")


def makes_keys(alice: Any) -> bool:
    return bool(alice("POST", "/ssh_keys").status_code == 201)


def test_life_of_a_key(alice: Any, server: Server) -> None:
    made = alice("POST", "/ssh_keys", json={"metadata": {"project": "climate"}}).json()
    path = f"secret/ssh-credentials/{made['id']}"
    record = server.call("get", path)["data"]
    assert record.keys() == {"privateKey", "publicKey", "project"}
    private = paramiko.Ed25519Key.from_private_key(io.StringIO(record["privateKey"]))
    assert private.get_base64() == made["public_key"].split()[1]
    rotated = alice("POST", f"/ssh_keys/{made['id']}/rotate").json()
    assert server.call("get", path)["data"]["publicKey"] == rotated["public_key"] != made["public_key"]
    assert alice("DELETE", f"/ssh_keys/{made['id']}").status_code == 204
    with pytest.raises(hvac.exceptions.InvalidPath):
        server.call("get", path)


def test_tokens_end_and_nobody_notices(alice: Any) -> None:
    ends = time.monotonic() + 7
    while time.monotonic() < ends:
        assert makes_keys(alice)
        time.sleep(0.3)
    time.sleep(3)  # longer than a token lives, without a request
    assert makes_keys(alice)


def test_sealed_and_opened(alice: Any, server: Server) -> None:
    server.call("put", "sys/seal")
    answer = alice("POST", "/ssh_keys")
    assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
    ready = as_user(alice.url, "root")("GET", "/health/ready").json()
    assert {check["name"]: check["status"] for check in ready["checks"]}["vault"] == "degraded"
    time.sleep(3)  # the token ends meanwhile
    assert alice("GET", "/workflows").status_code == 200
    server.unseal()
    eventually(lambda: makes_keys(alice))
    eventually(lambda: alice("GET", "/health/ready").json()["status"] == "ok")


def test_killed_and_started_again(alice: Any, server: Server) -> None:
    server.restart()  # RustyVault may hang for good, some seconds after it was sealed and opened again
    eventually(lambda: makes_keys(alice))
    kept = alice("POST", "/ssh_keys").json()
    server.stop()
    assert alice("POST", "/ssh_keys").status_code == 503
    assert alice("GET", f"/ssh_keys/{kept['id']}").status_code == 200
    server.start()
    server.unseal()
    eventually(lambda: makes_keys(alice))
    assert server.call("get", f"secret/ssh-credentials/{kept['id']}")["data"]["publicKey"] == kept["public_key"]


def test_a_wrong_secret_id(server: Server, tmp_path: Path) -> None:
    server.restart()
    config = {"address": server.url, "role_id": server.role_id, "secret_id": "wrong"}
    settings = make_settings(tmp_path, vault_config=config)
    with serving(settings) as url:
        alice = as_user(url, "alice")
        assert alice("POST", "/ssh_keys").status_code == 503
        checks = as_user(url, "root")("GET", "/health/ready").json()["checks"]
        problems = {check["name"]: check["problems"] for check in checks if check["problems"]}
        assert "login by approle" in problems["vault"][0]
        assert alice("GET", "/workflows").status_code == 200
