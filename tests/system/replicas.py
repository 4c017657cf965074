"""Two replicas of the service behind nginx on one PostgreSQL, all of them real. They have a data directory each, as
those on two machines; with the engine `cwl` they have a shared directory as well."""

from __future__ import annotations

import base64
import contextlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
import yaml

from tests.e2e.processes import Service, eventually
from tests.ports import free_port
from tests.postgresql import PostgreSQL
from tests.service import PASSWORDS, Client, as_user
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_worlds import recorded
from tests.simulators.oidc import OIDCSimulator

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"
USER = "bob"
"""Who has a password. Others sign in by the identity provider."""

_WRAPPING = """\
daemon off;
pid {directory}/pid;
error_log {directory}/error.log;
user root;
events {{}}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{site}
}}
"""


class Nginx:
    """A reverse proxy as the guide describes it; runs inside a `with` block."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="hpcwaas-nginx-"))
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self, *replicas: str) -> None:
        """Starts it before replicas, given as HOST:PORT."""
        self._start(self._site(replicas))

    def send_to(self, replicas: Sequence[str], all_of_them: Sequence[str]) -> None:
        """Has it send requests to some of the replicas from now on, as whatever watches their health would."""
        site = self._site(all_of_them)
        for replica in set(all_of_them) - set(replicas):
            site = site.replace(f"server {replica} fail_timeout=2s;", f"server {replica} down;")
        self._write(site)
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def _site(self, replicas: Sequence[str]) -> str:
        section = (GUIDES / "scale.md").read_text(encoding="utf-8").partition("## Several replicas")[2]
        found = re.search(r"```nginx\n(.*?)```", section, re.DOTALL)
        assert found
        site = re.sub(r"listen 443 ssl;", f"listen 127.0.0.1:{self._port};", found[1])
        site = re.sub(r"\n *ssl_\w+ [^;]+;", "", site)
        for number, replica in enumerate(replicas, start=11):
            site = site.replace(f"10.0.0.{number}:9090", replica)
        assert "10.0.0." not in site
        return site

    def start_below_a_path(self, service: str, *, taken_off: bool) -> None:
        """Starts it before one service, given as HOST:PORT, which it shows at `/workflows-api/`."""
        section = (GUIDES / "proxy.md").read_text(encoding="utf-8").partition("## Below a path")[2]
        found = re.search(r"```nginx\n(.*?)```", section, re.DOTALL)
        assert found
        location = found[1].replace("http://hpcwaas;", "http://hpcwaas/;") if taken_off else found[1]
        listen = f"listen 127.0.0.1:{self._port};"
        self._start(f"upstream hpcwaas {{ server {service}; }}\nserver {{ {listen}\n{location} }}")

    def _start(self, site: str) -> None:
        configuration = self._write(site)
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self._process = subprocess.Popen(
            [nginx, "-p", self._directory, "-e", self._directory / "error.log", "-c", configuration],
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: self._answers())

    def _write(self, site: str) -> Path:
        configuration = self._directory / "nginx.conf"
        configuration.write_text(_WRAPPING.format(directory=self._directory, site=site))
        return configuration

    def log(self) -> str:
        """What went wrong."""
        return (self._directory / "error.log").read_text()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        return False


@dataclass
class Replicas:
    """Two services and the proxy before them.

    Attributes:
        engine: that they run workflows with.
        quick, slow: workflows of about a second, and of a minute.
        quick_too: another quick one.
        inputs: of them all.
    """

    engine: str
    services: tuple[Service, Service]
    nginx: Nginx
    provider: OIDCSimulator
    alien4cloud: Simulator | None
    quick: str
    quick_too: str
    slow: str
    inputs: dict[str, dict[str, Any]]

    @property
    def shared(self) -> Path:
        """What the engine `cwl` shares."""
        return Path(self.services[0].variables["HWA_SHARED_DIR"]) / "cwl"

    @property
    def through(self) -> Client:
        """The user, asking whichever the proxy chooses."""
        return as_user(self.nginx.url, USER)

    @property
    def each(self) -> tuple[Client, Client]:
        """The user, asking one of them and the other."""
        first, second = (as_user(service.url, USER) for service in self.services)
        return first, second

    def trigger(self, client: Client, workflow: str, key: str | None = None) -> requests.Response:
        """Starts an execution."""
        headers = {"Idempotency-Key": key} if key else {}
        return client("POST", f"/workflows/{workflow}", json={"inputs": self.inputs[workflow]}, headers=headers)

    def launched(self) -> int:
        """How many executions the engine has begun so far."""
        if self.alien4cloud is not None:
            return sum(
                call.method == "POST" and re.search("/workflows/", call.path) is not None
                for call in self.alien4cloud.calls()
            )
        return len(list((self.shared / "executions").iterdir()))

    def started(self, client: Client, workflow: str) -> str:
        """Starts an execution and gives its path."""
        answer = self.trigger(client, workflow)
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"]


@contextlib.contextmanager
def replicas(engine: str, directory: Path) -> Iterator[Replicas]:
    """Two replicas that start at the same moment on an empty database."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(PostgreSQL())
        provider = stack.enter_context(OIDCSimulator())
        nginx = stack.enter_context(Nginx())
        settings: dict[str, Any] = {
            "auth": {
                "auth_type": ["basic", "sso"],
                "basic_auth": {"accounts": [{"username": USER, "password": PASSWORDS[USER]}]},
                "issuer": provider.issuer,
                "client_id": provider.client_id,
                "client_secret": provider.client_secret,
                "redirect_url": f"{nginx.url}/auth/authorize",
            },
            "store": {"url": database.url},
            "vault": {"key": base64.b64encode(secrets.token_bytes(32)).decode()},
            "limits": {"executions": 10_000, "requests": 1_000_000},
            "server": {"workers": 2},
            **({"cwl": {"max_running": 8}} if engine == "cwl" else {}),
        }
        alien4cloud = None
        if engine == "alien4cloud":
            alien4cloud = stack.enter_context(Simulator(recorded(duration=1.0), lag=0.1, cancel_time=0.3))
            settings["alien_config"] = {"address": alien4cloud.url}
        first, second = (_service(directory / name, directory, engine, settings) for name in ("first", "second"))
        for service in (first, second):
            stack.callback(service.end)
        first.launch()
        second.launch()
        for service in (first, second):
            service.wait_until_ready()
        nginx.start(first.address, second.address)
        workflows = _ALIEN4CLOUD if alien4cloud else _CWL
        quick, quick_too, slow = workflows
        yield Replicas(engine, (first, second), nginx, provider, alien4cloud, quick, quick_too, slow, workflows)


_EXEC_JOB = {"user_id": USER}
_ALIEN4CLOUD: dict[str, dict[str, Any]] = {
    "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@exec_job": _EXEC_JOB,
    "RecApp2@eaf6541e-fc9a-4de2-8911-9daa95490038@exec_job": _EXEC_JOB,
    "RecApp1@5de4279f-d629-47ca-ac92-586a8cc534fd@slow_job": {},
}
_QUICK = "for n in 1 2 3 4 5; do echo line $n; sleep 0.2; done >&2; echo done > out.txt"
_CWL: dict[str, dict[str, Any]] = {
    "script": {"script": _QUICK},
    "script-too": {"script": _QUICK},
    "script-slow": {"script": "sleep 60"},
}


def _service(home: Path, directory: Path, engine: str, settings: dict[str, Any]) -> Service:
    home.mkdir()
    service = Service(home)
    if engine == "cwl":
        shared = directory / "shared"
        (shared / "service").mkdir(parents=True, exist_ok=True)
        service.variables |= {"HWA_SHARED_DIR": str(shared / "service"), "HWA_MACHINE": home.name}
        service.catalogue, source = shared / "catalogue", service.catalogue / "script.cwl"
        service.catalogue.mkdir(exist_ok=True)
        for workflow in _CWL:
            service.publish(workflow, source.read_text())
        service.variables["HWA_CWL_CATALOGUE"] = str(service.catalogue)
    else:
        del service.variables["HWA_CWL_CATALOGUE"]
    configuration = home / "hpcwaas-api.yml"
    configuration.touch(0o600)
    configuration.write_text(yaml.safe_dump(settings))
    service.arguments = ["--config", configuration]
    return service


def patiently(task: Any, seconds: float = 60) -> Any:
    """What a client does that knows that a request may be repeated: does so until there is an answer of the service."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(requests.RequestException):
            answer = task()
            if answer.status_code not in (502, 503, 504):
                return answer
        assert time.monotonic() < deadline, "no answer"
        time.sleep(0.1)
