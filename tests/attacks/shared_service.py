"""A real service for several users, with workflows that hand a user's text to the file system or to a shell."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.attacks.ordinary import give, ordinary
from tests.e2e.processes import BIN, Service, eventually
from tests.service import PASSWORDS, Client, as_user

HOSTILE = Path(__file__).parent / "workflows"
SECRETS = {"upload": "what alice uploaded", "input": "what alice typed", "output": "what alice computed"}
LONG = str(10**6 + os.getpid())
"""Seconds that alice's long execution sleeps. Services of other test processes have executions of their own."""


class SharedService(Service):
    """A service with alice, who trusts it, and mallory.

    Args:
        home: of the service's account, and of all that is the service's.
        settings: besides the usual ones.
        before: a command that starts another one, for a machine with less.
        shared: False for the local mode.
    """

    def __init__(
        self, home: Path, settings: Mapping[str, Any] | None = None, before: tuple[str, ...] = (), shared: bool = True
    ) -> None:
        super().__init__(home)
        self.before = before
        shutil.copytree(HOSTILE, self.catalogue, dirs_exist_ok=True)
        self.configuration = home / "hpcwaas-api.yml"
        if shared:
            accounts = [{"username": name, "password": PASSWORDS[name]} for name in ("alice", "bob", "root")]
            basic = {"auth_type": "basic", "basic_auth": {"accounts": accounts}, "operators": ["root"]}
            self.configure({"auth": basic})
        self.configure({"limits": {"requests": None, "executions": None}})
        self.configure(settings or {})
        self.arguments = ["--config", self.configuration]
        give(home)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Adds sections to the configuration."""
        present = yaml.safe_load(self.configuration.read_text()) if self.configuration.exists() else {}
        self.configuration.write_text(yaml.safe_dump({**present, **settings}, allow_unicode=True))
        self.configuration.chmod(0o600)

    def launch(self) -> None:
        """Starts the service as an ordinary account."""
        self._seen = self.log.stat().st_size if self.log.exists() else 0
        command = [*self.before, str(BIN / "hpcwaas-api"), *map(str, self.arguments), "-l", self.address]
        with self.log.open("ab") as log, self.printed.open("ab") as printed:
            self.process = subprocess.Popen(
                ordinary(command), env=self.environment | self.variables, cwd="/", stdout=printed, stderr=log
            )

    @property
    def operator(self) -> Client:
        return as_user(self.url, "root")

    @property
    def alice(self) -> Client:
        return as_user(self.url, "alice")

    @property
    def mallory(self) -> Client:
        return as_user(self.url, "bob")


@contextlib.contextmanager
def serving(
    settings: Mapping[str, Any] | None = None, before: tuple[str, ...] = (), *, shared: bool = True, start: bool = True
) -> Iterator[SharedService]:
    """Serves until the block ends."""
    # Not below pytest's own directories, which are root's where the tests run as root.
    with tempfile.TemporaryDirectory(prefix="attacks-", dir="/var/tmp", ignore_cleanup_errors=True) as name:
        service = SharedService(Path(name), settings, before, shared)
        try:
            if start:
                service.start()
            yield service
        finally:
            if service.process is not None:
                service.process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    service.process.wait(60)
            service.end()


def attack(service: SharedService, workflow: str, **inputs: Any) -> tuple[dict[str, Any], str]:
    """Runs a workflow as mallory.

    Returns:
        the execution, and all that mallory can read of it: its log and its outputs.
    """
    return attacks(service, [(workflow, inputs)])[0]


def attacks(service: SharedService, tries: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[dict[str, Any], str]]:
    """As `attack`, several beside each other."""
    seen = []
    for path in [service.mallory.trigger(workflow, **inputs) for workflow, inputs in tries]:
        execution = service.mallory.finished(path)
        log = service.mallory("GET", f"{path}/logs", params={"from": 0, "size": -1, "timeout": "0"}).text
        outputs = execution.get("outputs")
        seen.append((execution, "\n".join([log, json.dumps(execution), *_contents(service.mallory, outputs)])))
    return seen


def _contents(user: Client, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _contents(user, item)
    elif isinstance(value, dict):
        if isinstance(value.get("location"), str):
            yield user("GET", value["location"]).content.decode(errors="replace")
        for item in value.values():
            yield from _contents(user, item)


def text(service: SharedService, execution: Mapping[str, Any], name: str = "text") -> str:
    """The content of an output file."""
    return service.mallory("GET", execution["outputs"][name]["location"]).text


def alices(service: SharedService) -> dict[str, str]:
    """Lets alice work: gives the ids of her upload, of an execution that is over and of one that runs."""
    upload = service.alice.upload("secret.txt", SECRETS["upload"].encode())
    over = service.alice.trigger(
        "script", script=f"echo {SECRETS['output']} > a.txt # {SECRETS['input']}", given=[upload]
    )
    assert service.alice.finished(over)["status"] == "SUCCEEDED"
    runs = service.alice.trigger("script", script=f"sleep {LONG} # {SECRETS['input']}", given=[upload])
    eventually(lambda: service.alice("GET", runs).json()["status"] == "RUNNING")
    return {"upload": upload, "over": Path(over).name, "runs": Path(runs).name}
