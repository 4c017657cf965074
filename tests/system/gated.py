"""Executions that run on a site until a test lets them go, and count how often they were begun."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from examples.slurm.logins import Login
from tests.e2e.processes import eventually, log_text
from tests.service import Client
from tests.system.slurm_site import Site, SiteService

PATIENCE = 120.0
_PAUSE = 0.1

RUNNER = """\
#!/usr/bin/python3
# Runs as `runner --outdir DIRECTORY DOCUMENT JOB` what the workflow `script` is, and needs no second to begin.
import json, pathlib, subprocess, sys, urllib.parse
out, order = sys.argv[2], pathlib.Path(sys.argv[4])
job = json.loads(order.read_text())
places = [urllib.parse.urljoin(order.as_uri(), each["location"]) for each in job.get("given") or []]
given = [urllib.parse.unquote(urllib.parse.urlsplit(place).path) for place in places]
status = subprocess.run(["sh", "-c", job["script"], *given], cwd=out).returncode
files = [{"class": "File", "location": path.as_uri()} for path in sorted(pathlib.Path(out).glob("*.txt"))]
print(json.dumps({"files": files}))
sys.exit(status)
"""


def runner(site: Site) -> dict[str, Any]:
    """Settings of a runner that costs next to nothing, for what doesn't depend on the runner."""
    path = site.directory / "runner"
    path.write_text(RUNNER)
    path.chmod(0o755)
    return {"command": [str(path)]}


def connect(service: SiteService, accounts: Mapping[str, Login], user: str = "alice") -> None:
    """Lets a user use accounts with one key.

    Args:
        accounts: by the ids of sites.
    """
    client = service.as_user(user)
    key = client("POST", "/ssh_keys", json={"name": "a key"}).json()
    for login in {login.name: login for login in accounts.values()}.values():
        before = login.authorized_keys.read_text().splitlines() if login.authorized_keys.exists() else []
        login.authorize(*before, key["public_key"])
    for name, login in accounts.items():
        answer = client("PUT", f"/sites/{name}/account", json={"user": login.name, "ssh_key": key["id"]})
        assert answer.ok, answer.text


class Gated:
    """An execution that runs on the site until it is let go, and counts how often it was begun.

    Args:
        where: id of the site.
        then: what it does when it is let go.
        given: uploads that it needs.

    Attributes:
        path: of it in the API.
    """

    def __init__(
        self,
        service: SiteService,
        site: Site,
        where: str,
        then: str = "echo done >out.txt",
        *,
        user: str = "alice",
        given: Sequence[str] = (),
    ) -> None:
        self.client = service.as_user(user)
        place = site.directory / "gates"  # whatever happens to homes
        place.mkdir(exist_ok=True)
        place.chmod(0o1777)
        name = uuid.uuid4().hex
        self._gate, self._count = place / f"go-{name}", place / f"ran-{name}"
        script = f"echo begun >>{self._count}; echo at work >&2; until [ -e {self._gate} ]; do sleep 0.1; done; {then}"
        self.path = service.start_on(self.client, where, "script", script=script, given=list(given))

    @property
    def id(self) -> str:
        """Its id."""
        return self.path.rpartition("/")[2]

    @property
    def begun(self) -> int:
        """How often it was begun."""
        return len(self._count.read_text().splitlines()) if self._count.exists() else 0

    def running(self) -> Gated:
        """Waits until it runs, and the service knows."""
        told = reads(self.client, self.path, lambda told: told["status"] not in ("PENDING", "UNKNOWN") and self.begun)
        assert told["status"] == "RUNNING", (told, log_text(self.client, self.path))
        return self

    def let_go(self) -> None:
        """Lets it end."""
        self._gate.touch()

    @property
    def now(self) -> dict[str, Any]:
        """What the user reads."""
        execution: dict[str, Any] = self.client("GET", self.path).json()
        return execution

    def says(self, *words: str) -> dict[str, Any]:
        """Waits until the user reads all of these."""
        return reads(self.client, self.path, lambda told: all(word in (told["reason"] or "") for word in words))

    def ended(self) -> dict[str, Any]:
        """Waits for the end."""
        execution: dict[str, Any] = self.client.finished(self.path, within=PATIENCE)
        return execution

    def failed(self, *words: str, begun: int) -> dict[str, Any]:
        """Makes sure that it fails, and says why; what the user reads."""
        execution = self.ended()
        assert execution["status"] == "FAILED", execution
        for each in words:
            assert each in execution["reason"], execution
        assert self.begun == begun
        return execution

    def succeeded_once(self) -> None:
        """Lets it end, and makes sure that nothing was lost or done twice."""
        self.let_go()
        execution = self.ended()
        told = log_text(self.client, self.path)
        assert execution["status"] == "SUCCEEDED", (execution["reason"], told)
        assert self.begun == 1
        output = self.client("GET", f"{self.path}/outputs/files", params={"path": "0"})
        assert output.text == "done\n"
        assert [line for line in told if "at work" in line]


def job_of(site: Site, execution: Gated) -> str:
    """The id of the job of an execution."""

    def found() -> list[str]:
        jobs = site.said("squeue", "--noheader", "--format=%i %k").splitlines()
        return [job.split()[0] for job in jobs if job.endswith(f"hpcwaas:{execution.id}")]

    eventually(found, PATIENCE)
    (job,) = found()
    return job


def reads(client: Client, path: str, so: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Waits until what a user reads of an execution is so."""
    seen: dict[str, Any] = {}

    def read() -> bool:
        seen.update(client("GET", path).json())
        return bool(so(seen)) or seen["status"] in ("FAILED", "CANCELLED")

    with contextlib.suppress(AssertionError):
        eventually(read, PATIENCE, _PAUSE)
    assert so(seen), f"{path} never said it, but {seen}"
    return seen


def check(client: Client, *sites: str) -> None:
    """Has accounts checked that can be used again, so that what waits for them goes on at once."""
    for site in sites:
        # One has to be over within seconds, for which this machine may be too busy.
        eventually(lambda: checked(client, site)["usable"], PATIENCE, 2)  # noqa: B023


def checked(client: Client, site: str) -> dict[str, Any]:
    """What the check of an account finds."""
    answer = client("POST", f"/sites/{site}/account/check")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
