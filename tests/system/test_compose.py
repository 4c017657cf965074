"""The compose file: valid, and each server takes the very files that it mounts."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from examples.slurm.daemons import Daemon, free_ports, listens
from hpcwaas.configuration.settings import ServerSettings
from tests.e2e.processes import BIN, eventually
from tests.system.deploying import DEPLOY, said_by
from tests.system.openbao import PROGRAM

pytestmark = pytest.mark.system


class Stack:
    """The files of `deploy/compose`, prepared in a directory of their own as docs/how-to/containers.md says."""

    def __init__(self, home: Path) -> None:
        self.home = home / "compose"
        shutil.copytree(DEPLOY / "compose", self.home, ignore=shutil.ignore_patterns("secrets", ".env"))
        self.said = self.prepare()
        variables = dict(line.split("=", 1) for line in (self.home / ".env").read_text().splitlines())
        text = (self.home / "compose.yaml").read_text(encoding="utf-8")
        self.text = re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda it: variables.get(it[1], it[2] or ""), text)
        self.content: dict[str, Any] = yaml.safe_load(self.text)
        self.services: dict[str, Any] = self.content["services"]

    def prepare(self) -> str:
        return subprocess.run([self.home / "prepare"], capture_output=True, text=True, check=True, timeout=60).stdout

    def secret(self, name: str) -> str:
        return (self.home / "secrets" / name).read_text()

    def placed(self, text: str, places: Mapping[str, object]) -> str:
        """What a container has at other places and addresses than this machine."""
        for name, place in {"/run/secrets": self.home / "secrets", **places}.items():
            assert name in text, name
            text = text.replace(name, str(place))
        return text


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return Stack(tmp_path_factory.mktemp("stack"))


class Vault:
    """OpenBao as the compose file starts it, prepared by its script; runs inside a `with` block."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self.credentials = stack, stack.home / "credentials"
        self._port, cluster = free_ports(2)
        self.url = f"http://127.0.0.1:{self._port}"
        data, configuration = stack.home / "vault", stack.home / "placed.hcl"
        data.mkdir()
        (stack.home / "kept").mkdir()
        places = {"/openbao/file": data, "0.0.0.0:8200": f"127.0.0.1:{self._port}", "http://openbao:8200": self.url}
        places |= {"http://openbao:8201": f"http://127.0.0.1:{cluster}"}
        configuration.write_text(stack.placed((stack.home / "openbao.hcl").read_text(), places))
        command: list[str | Path] = [PROGRAM, "server", f"-config={configuration}"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(stack.home)}
        self._daemon = Daemon("openbao", command, stack.home / "log", environment, lambda: listens(self._port))

    def __enter__(self) -> Vault:
        self._daemon.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.stop()

    def restart(self) -> None:
        self._daemon.stop()
        self._daemon.start()
        eventually(lambda: requests.get(f"{self.url}/v1/sys/health", timeout=60).status_code == 200)

    def set_up(self) -> None:
        stated = self._stack.services["vault-setup"]["environment"]
        own = {"BAO_ADDR": self.url, "CREDENTIALS": self.credentials, "POLICIES": DEPLOY / "vault"}
        own |= {"KEPT": self._stack.home / "kept", "OWNER": os.getuid()}
        assert own.keys() == stated.keys()
        environment = {name: str(value) for name, value in own.items()}
        environment |= {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": str(self._stack.home)}
        script = ["sh", str(self._stack.home / "vault-setup")]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def vault(stack: Stack) -> Iterator[Vault]:
    with Vault(stack) as vault:
        vault.set_up()
        yield vault


def service_environment(stack: Stack, vault: Vault) -> dict[str, str]:
    """The variables of the service's container, with this machine's places."""
    stated = stack.services["hpcwaas"]["environment"]
    text = stack.placed(
        yaml.safe_dump(stated), {"/run/credentials": vault.credentials, "http://openbao:8200": vault.url}
    )
    environment: dict[str, str] = yaml.safe_load(text)
    store = stack.home / "secrets" / "store_url_here"
    store.write_text(f"sqlite:///{stack.home / 'service.db'}")
    return environment | {
        "HWA_STORE_URL_FILE": str(store),
        "HWA_DATA_DIR": str(stack.home / "data"),
        "PATH": f"{BIN}:{os.defpath}",
        "HOME": str(stack.home),
    }


def test_the_file_is_a_compose_file(stack: Stack) -> None:
    file = stack.home / "interpolated.yaml"
    file.write_text(stack.text)
    assert said_by("compose", file).keys() == stack.services.keys()


def test_only_the_proxy_is_reached_from_outside(stack: Stack) -> None:
    published = {name: service["ports"] for name, service in stack.services.items() if "ports" in service}
    assert published == {"nginx": ["127.0.0.1:8443:8443"], "prometheus": ["127.0.0.1:9091:9090"]}


def test_every_server_has_a_health_check_and_every_secret_is_made(stack: Stack) -> None:
    once = {"upgrade", "vault-setup"}
    by_image = {"hpcwaas"}
    assert {name for name, service in stack.services.items() if "healthcheck" not in service} == by_image | {
        "vault-setup"
    }
    for service in stack.services.values():
        for other, condition in service.get("depends_on", {}).items():
            finished = condition["condition"] == "service_completed_successfully"
            assert finished == (other in once) or condition["condition"] == "service_started", other
    for secret in stack.content["secrets"].values():
        assert (stack.home / secret["file"]).stat().st_size > 0, secret


def test_the_service_is_not_killed_while_it_ends_what_is_under_way(stack: Stack) -> None:
    service = stack.services["hpcwaas"]
    drain = int(service["environment"].get("HWA_SERVER_DRAIN", ServerSettings().drain))
    assert int(service["stop_grace_period"].removesuffix("s")) >= drain + 10


def test_secrets_are_made_once_and_nobody_else_gets_at_them(stack: Stack) -> None:
    files = list((stack.home / "secrets").iterdir())
    before = {file: file.read_bytes() for file in files}
    assert re.search(r"as admin@example.org with the password [0-9a-f]{16}\n", stack.said)
    assert stack.prepare() == ""
    assert {file: file.read_bytes() for file in files} == before
    assert (stack.home / "secrets").stat().st_mode & 0o777 == 0o700
    assert stack.secret("postgresql_password") in stack.secret("store_url")
    assert f"DEX_CLIENT_SECRET={stack.secret('client_secret')}\n" in stack.secret("dex.env")


def test_the_hash_of_the_first_password_is_one(stack: Stack) -> None:
    (found,) = re.findall(
        r"^DEX_PASSWORD_HASH='(\$2[aby]\$10\$[./A-Za-z0-9]{53})'$", stack.secret("dex.env"), re.MULTILINE
    )
    password = stack.said.split()[-1]
    check = ["perl", "-e", "exit(crypt($ARGV[0], $ARGV[1]) ne $ARGV[1])", password, found]
    assert subprocess.run(check, check=False).returncode == 0


def test_openbao_opens_by_itself_and_is_set_up_again_without_a_change(vault: Vault) -> None:
    files = sorted(vault.credentials.glob("*/*"))
    before = [file.read_text() for file in files]
    assert len(files) == 4
    assert all(before)
    vault.restart()
    vault.set_up()
    assert [file.read_text() for file in files] == before


def test_the_service_accepts_its_variables(stack: Stack, vault: Vault) -> None:
    environment = service_environment(stack, vault)
    for command in (["db", "upgrade"], ["config", "check"]):
        done = subprocess.run(
            [BIN / "hpcwaas-api", *command], env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == "OK\n"


def test_dex_knows_what_the_service_asks_for(stack: Stack) -> None:
    config = (stack.home / "dex.yaml").read_text()
    given = stack.services["dex"]["environment"] | dict(
        line.split("=", 1) for line in stack.secret("dex.env").splitlines()
    )
    filled = yaml.safe_load(re.sub(r"\{\{ \.Env\.(\w+) \}\}", lambda it: given[it[1]], config))
    service = stack.services["hpcwaas"]["environment"]
    (client,) = filled["staticClients"]
    assert filled["issuer"] == service["HWA_AUTH_ISSUER"] == "https://workflows.localhost:8443/dex"
    assert client["redirectURIs"] == [service["HWA_AUTH_REDIRECT_URL"]]
    assert client["id"] == service["HWA_AUTH_CLIENT_ID"]
    assert {client["secretEnv"], filled["staticPasswords"][0]["hashFromEnv"]} <= given.keys()
    assert filled["staticPasswords"][0]["email"] == service["HWA_AUTH_OPERATORS"]


def test_prometheus_accepts_its_configuration(stack: Stack) -> None:
    shutil.copy(DEPLOY / "prometheus" / "hpcwaas.rules.yml", stack.home)
    mounted = stack.services["prometheus"]["volumes"]
    assert "../prometheus/hpcwaas.rules.yml:/etc/prometheus/hpcwaas.rules.yml:ro" in mounted
    config = stack.home / "placed.yml"
    config.write_text(stack.placed((stack.home / "prometheus.yml").read_text(), {}))
    done = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_users_reach_the_service_by_the_proxy(stack: Stack, vault: Vault) -> None:
    """Everything but addresses and places is as it is mounted."""
    port, behind, nowhere = free_ports(3)
    config = stack.home / "placed.conf"
    places: dict[str, object] = {"listen 8443": f"listen 127.0.0.1:{port}", "hpcwaas:9090": f"127.0.0.1:{behind}"}
    places |= {"dex:5556": f"127.0.0.1:{nowhere}", "/tmp/nginx.pid": stack.home / "nginx.pid"}
    config.write_text(stack.placed((stack.home / "nginx.conf").read_text(), places))
    environment = service_environment(stack, vault)
    started: list[str | Path] = [BIN / "hpcwaas-api", "-l", f"127.0.0.1:{behind}"]
    service = Daemon("service", started, stack.home / "service.log", environment, lambda: listens(behind))
    command: list[str | Path] = ["nginx", "-c", config, "-e", "stderr", "-g", "daemon off;"]
    path = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    proxy = Daemon("nginx", command, stack.home / "nginx.log", path, lambda: listens(port))
    service.start()
    try:
        proxy.start()
        eventually(lambda: status(stack, port, "/health/live") == 200)
        assert status(stack, port, "/workflows") == 401
        assert status(stack, port, "/dex/keys") == 502  # nobody is there
    finally:
        proxy.stop()
        service.stop()


def status(stack: Stack, port: int, path: str) -> int:
    """What is answered to the name that the certificate is for."""
    context = ssl.create_default_context(cafile=str(stack.home / "secrets" / "tls_certificate"))
    with (
        socket.create_connection(("127.0.0.1", port), 60) as plain,
        context.wrap_socket(plain, server_hostname="workflows.localhost") as connection,
    ):
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: workflows.localhost:8443\r\n\r\n".encode())
        return int(connection.recv(1000).split()[1])
