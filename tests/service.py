"""The service for tests: the real application behind a real server, in a thread."""

from __future__ import annotations

import base64
import contextlib
import functools
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import requests
import uvicorn

from hpcwaas.app import create_app
from hpcwaas.configuration.settings import Settings
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.server.connections import Connections
from hpcwaas.server.protocol import Protocol
from tests import databases
from tests.waiting import pause, until

CATALOGUE = Path(__file__).parent / "api" / "catalogue"
CWL = {"catalogue": CATALOGUE, "max_running": 4}
PASSWORDS = {"alice": "alice's password", "bob": "bob:pässword", "carol": "carol's password", "root": "root's password"}
IDLE = {"catalogue": CATALOGUE, "runner": {"command": ["true"]}}
"""For `cwl` where no test waits for an execution: nothing loads cwltool to be ready for one then."""

GROUPS = {"carol": ["climate"]}
OPERATORS = ["root"]


@dataclass(frozen=True)
class Client:
    """A user of a running service."""

    url: str
    headers: Mapping[str, str]

    def __call__(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Sends a request."""
        headers = {**self.headers, **arguments.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=60, **arguments)

    def trigger(self, workflow_id: str, **inputs: Any) -> str:
        """Starts an execution and returns its path."""
        answer = self("POST", f"/workflows/{workflow_id}", json={"inputs": inputs})
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"]

    def finished(self, path: str, within: float = 90) -> Any:
        """Waits for the end of an execution and returns it."""
        begun = time.monotonic()
        while time.monotonic() < begun + within:
            execution = self("GET", path).json()
            if execution["status"] in ("SUCCEEDED", "FAILED", "CANCELLED"):
                return execution
            pause(begun)
        raise AssertionError(f"{path} is still {execution}")

    def upload(self, name: str, content: bytes) -> str:
        """Uploads a file and returns its id."""
        answer = self("POST", "/files", params={"name": name}, data=content)
        assert answer.status_code == 201, answer.text
        identifier: str = answer.json()["id"]
        return identifier


@contextlib.contextmanager
def serving(settings: Settings, connections: Connections | None = None, **options: Any) -> Iterator[str]:
    """Serves the application on a free port until the block ends; gives its address.

    Args:
        options: for `create_app`.
    """
    connections = connections or Connections(settings.server.trusted_proxies)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    databases.prepare(settings.database_url)
    _prepare_catalogue(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, validate_responses=True, **options),
            log_level="warning",
            lifespan="on",
            http=partial(Protocol, connections=connections),  # type: ignore[arg-type] # a function does as well
            ws="none",
            proxy_headers=False,
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the service didn't start"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive(), "the service didn't stop"


def _prepare_catalogue(settings: Settings) -> None:
    """Makes the tests' catalogue one that a new service has read: a copy is faster than cwltool."""
    state = settings.data_dir / "cwl" / "catalogue"
    if "cwl" in settings.engines and cwl_section(settings).catalogue == CATALOGUE and not state.exists():
        for name, content in _read_catalogue().items():
            file = state / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


@functools.cache
def _read_catalogue() -> Mapping[Path, bytes]:
    """What remains of reading the tests' catalogue, by name."""
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory)
        catalogue = Catalogue(CATALOGUE, state)
        until(lambda: len(catalogue.workflows()) == len([*CATALOGUE.glob("*.cwl")]))
        catalogue.close()
        return {file.relative_to(state): file.read_bytes() for file in state.rglob("*") if file.is_file()}


def make_settings(data_dir: Path, **changes: Any) -> Settings:
    """Settings with the users above and, unless Alien4Cloud is to run the workflows, the tests' catalogue."""
    accounts = [
        {"username": name, "password": password, "groups": GROUPS.get(name, [])} for name, password in PASSWORDS.items()
    ]
    return Settings.model_validate(
        {
            "data_dir": data_dir,
            "auth": {"auth_type": "basic", "basic_auth": {"accounts": accounts}, "operators": OPERATORS},
            **({} if changes.keys() & {"alien_config", "yorc"} else {"cwl": CWL}),
            "limits": {"requests": None, "executions": None},  # tests are in a hurry
            "store": {"url": databases.url_in(data_dir, ready=True)} if databases.POSTGRESQL else {},
            **changes,
        }
    )


def cwl_section(settings: Settings) -> CWLSettings:
    """The settings of the engine `cwl`, which has to be active."""
    section = settings.engines["cwl"]
    assert isinstance(section, CWLSettings)
    return section


def as_user(url: str, name: str) -> Client:
    """A client that signs in with the user's password."""
    credentials = base64.b64encode(f"{name}:{PASSWORDS[name]}".encode()).decode()
    return Client(url, {"Authorization": f"Basic {credentials}"})
