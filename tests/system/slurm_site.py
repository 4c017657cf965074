"""A site with a real Slurm and a real SSH server, and a service that knows it."""

from __future__ import annotations

import atexit
import base64
import contextlib
import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from examples.slurm.logins import Login
from examples.slurm.one_node import OneNode
from examples.slurm.programs import for_everybody
from hpcwaas.vault.keyring import Keyring
from tests.e2e.processes import Service
from tests.service import PASSWORDS, Client, as_user

ROOT = Path(__file__).parents[2]
EXAMPLES = ("word-statistics", "parameter-sweep", "slow-count", "failing-halfway")
RUNNERS = {
    "cwltool": {"command": ["cwltool"]},
    "toil": {"command": ["toil-cwl-runner"], "arguments": ["--batchSystem", "slurm"]},
}


@cache
def _toil() -> Path:
    """The directory of Toil's programs, at a place that every account reaches."""
    copy = Path(tempfile.mkdtemp(prefix="hpcwaas-toil-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    return for_everybody(ROOT / ".venv-toil", copy)


class Site(OneNode):
    """The site, as its administrators see it and as an operator of the service describes it."""

    @property
    def alice(self) -> Login:
        """The account of one user."""
        return self.logins[0]

    @property
    def bob(self) -> Login:
        """The account of another."""
        return self.logins[1]

    def settings(self, kind: str = "cwltool", /, **changes: Any) -> dict[str, Any]:
        """What an operator writes of it.

        Args:
            kind: of the runner, `cwltool` or `toil`. Both are found by the prologue: Toil brings cwltool along.
        """
        prologue = self.directory / "prologue.sh"
        prologue.write_text(f"export PATH={_toil()}:$PATH\n")
        return {
            "title": "Laptop",
            "host": self.host,
            "host_keys": [self.host_key],
            "prologue": str(prologue),
            "runner": RUNNERS[kind],
            "slurm": {"partition": "main", "time": "00:10:00"},
            **changes,
        }

    def log(self, daemon: str) -> str:
        """What a server has written so far."""
        return (self.directory / "log" / f"{daemon}.log").read_text(errors="replace")

    def connections(self, login: Login) -> int:
        """How often somebody has signed in so far."""
        return len(re.findall(rf"^Accepted publickey for {login.name} ", self.log("sshd"), re.MULTILINE))

    def refusals(self, login: Login) -> int:
        """How often somebody came and wasn't let in."""
        tried = rf"^Connection \w+ by (?:authenticating|invalid) user {login.name} "
        return len(re.findall(tried, self.log("sshd"), re.MULTILINE))

    def commands(self, login: Login) -> int:
        """How many sessions there were so far in their connections; transfers of files are sessions, too."""
        return len(re.findall(rf"^Starting session: \S.* for {login.name} from", self.log("sshd"), re.MULTILINE))

    def submitted(self) -> list[str]:
        """Ids of all jobs so far."""
        return re.findall(r"_slurm_rpc_submit_batch_job: JobId=(\d+)", self.log("slurmctld"))

    def queued(self) -> list[str]:
        """Ids of the jobs that wait or run."""
        return self.said("squeue", "--noheader", "--format=%i").split()

    def executions(self, login: Login) -> list[Path]:
        """The directories of executions."""
        return sorted((login.home / ".hpcwaas" / "executions").glob("*"))


@contextlib.contextmanager
def one_node(**options: Any) -> Iterator[Site]:
    """A site for the tests of a file.

    Args:
        options: of `OneNode`.
    """
    directory = Path(tempfile.mkdtemp(prefix="hpcwaas-site-"))
    try:
        with Site(directory, **options) as site:
            yield site
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class SiteService(Service):
    """The service with sites in its settings, users with passwords, and the examples in its catalogue.

    Args:
        sites: their settings by their ids.
        settings: further settings.
    """

    def __init__(self, home: Path, sites: Mapping[str, Mapping[str, Any]], **settings: Any) -> None:
        home.mkdir(exist_ok=True)
        super().__init__(home)
        for example in EXAMPLES:
            shutil.copytree(ROOT / "examples" / example, self.catalogue / example)
        accounts = [{"username": name, "password": password} for name, password in PASSWORDS.items()]
        self.settings: dict[str, Any] = {
            "auth": {"auth_type": "basic", "basic_auth": {"accounts": accounts}, "operators": ["root"]},
            "vault": {"key": base64.b64encode(secrets.token_bytes(32)).decode()},
            "limits": {"executions": 10_000, "requests": 1_000_000},
            "sites": dict(sites),
            **settings,
        }
        self.configuration = home / "hpcwaas-api.yml"
        self.configuration.touch(0o600)
        self.arguments = ["--config", self.configuration]

    def launch(self) -> None:
        """Starts it with the settings as they are now."""
        self.configuration.write_text(yaml.safe_dump(self.settings))
        super().launch()

    def as_user(self, name: str) -> Client:
        """A user of it."""
        return as_user(self.url, name)

    def start_on(self, client: Client, site: str, workflow: str, **inputs: Any) -> str:
        """Starts an execution on a site, and gives its path."""
        answer = client("POST", f"/workflows/{workflow}", json={"inputs": inputs, "site": site})
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"]

    def private_key(self, key: str) -> str:
        """What only the vault knows."""
        keyring = Keyring([base64.b64decode(self.settings["vault"]["key"])])
        with self.database() as database:
            (sealed,) = database.execute("SELECT ciphertext FROM secrets WHERE key_id = ?", (key,)).fetchone()
        return str(json.loads(keyring.open(key, sealed))["privateKey"])

    def connect(self, user: str, site: str, login: Login) -> str:
        """Lets a user use an account: makes a key, and lets it in there. Gives the key's id."""
        client = self.as_user(user)
        key = client("POST", "/ssh_keys", json={"name": f"{site} {secrets.token_hex(3)}"}).json()
        login.authorize(key["public_key"])
        answer = client("PUT", f"/sites/{site}/account", json={"user": login.name, "ssh_key": key["id"]})
        assert answer.ok, answer.text
        identifier: str = key["id"]
        return identifier
