"""Two replicas are replaced by a later version, one after the other, while users work with them through nginx: no
request fails, nothing is lost, nothing runs twice.

The later version is this one with a migration more. So this proves the way it is done, and that the version before goes
on with such a schema; what a real migration changes is looked at by `tests/unit/test_store_migrations.py`.
"""

from __future__ import annotations

import base64
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from alembic.script import ScriptDirectory

import hpcwaas
from hpcwaas.store.database import _alembic
from tests.e2e.processes import Service, eventually
from tests.postgresql import PostgreSQL
from tests.service import PASSWORDS, Client, as_user
from tests.system.replicas import USER, Nginx

DRAIN = 4
_HEAD = str(ScriptDirectory.from_config(_alembic()).get_current_head())
_LATER = f"{int(_HEAD[:4]) + 1:04}_{_HEAD[:4]}"
_MIGRATION = f'''"""Adds what the version before doesn't know."""

import sqlalchemy as sa
from alembic import op

revision = "{_LATER}"
down_revision = "{_HEAD}"


def upgrade() -> None:
    """Adds a table, columns and an index."""
    op.create_table("hints", sa.Column("id", sa.String(), nullable=False, primary_key=True))
    op.add_column("executions", sa.Column("hint", sa.String(), nullable=True))
    op.add_column("uploads", sa.Column("hints", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_executions_hint", "executions", ["hint"])
'''


@dataclass
class Users:
    """Who works with the service meanwhile.

    Attributes:
        failures: what wasn't answered as it should.
        done: how many requests of each kind were.
    """

    url: str
    marks: Path
    followed: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    failures: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    started: dict[str, str] = field(default_factory=dict)
    uploaded: dict[str, bytes] = field(default_factory=dict)

    def begin(self) -> list[threading.Thread]:
        """Each kind goes on until it is told to stop."""
        kinds: Mapping[str, Callable[[Client, int], None]] = {
            "look": self._look,
            "trigger": self._trigger,
            "upload": self._upload,
            "follow": self._follow,
        }
        threads = [threading.Thread(target=self._run, args=(name, kinds[name])) for name in [*kinds, "look", "follow"]]
        for thread in threads:
            thread.start()
        return threads

    def _run(self, name: str, once: Callable[[Client, int], None]) -> None:
        client, number = as_user(self.url, USER), 0
        while not self.stop.is_set():
            number += 1
            try:
                once(client, number)
                self.done[name] += 1
            except (requests.RequestException, AssertionError) as error:
                self.failures.append(f"{time.strftime('%X')} {name}: {error}")
            time.sleep(0.02)

    def _look(self, client: Client, number: int) -> None:
        path = ("/whoami", "/executions", "/workflows", self.followed)[number % 4]
        answer = client("GET", path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"

    def _trigger(self, client: Client, number: int) -> None:
        script = f"echo {number} >> {self.marks}; echo {number} > a.txt"
        answer = client("POST", "/workflows/script", json={"inputs": {"script": script}})
        assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
        self.started[str(number)] = answer.headers["Location"]
        time.sleep(0.3)

    def _upload(self, client: Client, number: int) -> None:
        content = secrets.token_bytes(200_000)
        answer = client("POST", "/files", params={"name": f"{number}.bin"}, data=iter([content[:1000], content[1000:]]))
        assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
        self.uploaded[answer.json()["id"]] = content
        time.sleep(0.1)

    def _follow(self, client: Client, number: int) -> None:
        """Waits for what won't come soon."""
        answer = client("GET", f"{self.followed}/logs", params={"from": 1_000_000, "timeout": "20s"})
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"


class Watcher:
    """What looks after the health of replicas: it has nginx send nothing to those that aren't ready."""

    def __init__(self, nginx: Nginx, addresses: list[str]) -> None:
        self._nginx, self._addresses = nginx, addresses
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent_to = addresses

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            ready = [address for address in self._addresses if self._ready(address)]
            if ready and ready != self.sent_to:
                self._nginx.send_to(ready, self._addresses)
                self.sent_to = ready

    @staticmethod
    def _ready(address: str) -> bool:
        try:
            return requests.get(f"http://{address}/health/ready", timeout=10).status_code == 200
        except requests.RequestException:
            return False


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """Where the later version lies."""
    code = tmp_path / "later"
    shutil.copytree(Path(hpcwaas.__file__).parent, code / "hpcwaas", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(hpcwaas.__file__).parents[1] / "openapi.yaml", code)
    versions = code / "hpcwaas" / "store" / "migrations" / "versions"
    (versions / f"v{_LATER[:4]}_hints.py").write_text(_MIGRATION)
    return code


@pytest.fixture
def services(tmp_path: Path) -> Iterator[tuple[Service, Service, Nginx]]:
    """Two of the version before, behind nginx."""
    with ExitStack() as stack:
        database, nginx = stack.enter_context(PostgreSQL()), stack.enter_context(Nginx())
        shared, marks = tmp_path / "shared", tmp_path / "marks"
        marks.mkdir()
        settings: dict[str, Any] = {
            "data_dir": str(shared / "data"),
            "auth": {
                "auth_type": "basic",
                "basic_auth": {"accounts": [{"username": USER, "password": PASSWORDS[USER]}]},
            },
            "store": {"url": database.url},
            "vault": {"key": base64.b64encode(secrets.token_bytes(32)).decode()},
            "limits": {"executions": None, "requests": None},
            "server": {"workers": 2, "drain": DRAIN},
            "cwl": {"catalogue": str(tmp_path / "first" / "catalogue"), "max_running": 4, "writable": [str(marks)]},
        }
        made = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            service = Service(tmp_path / name)
            service.variables, service.data = {}, shared / "data"
            file = tmp_path / name / ".hpcwaas-api.yaml"
            file.touch(0o600)
            file.write_text(yaml.safe_dump(settings))
            stack.callback(service.end)
            made.append(service)
        first, second = made
        first.start()
        second.start()
        nginx.start(first.address, second.address)
        yield first, second, nginx


def replace(service: Service, later: Path, watcher: Watcher) -> None:
    """As an operator does it: stop, install, start, wait until it is ready."""
    service.stop()
    assert service.address not in watcher.sent_to
    service.variables["PYTHONPATH"] = str(later)
    service.start()
    eventually(lambda: service.address in watcher.sent_to)


@pytest.mark.system
@pytest.mark.timeout(900)
def test_no_request_fails_while_both_replicas_are_replaced(
    services: tuple[Service, Service, Nginx], later: Path, tmp_path: Path
) -> None:
    first, second, nginx = services
    users = Users(nginx.url, tmp_path / "marks" / "begun")
    through = as_user(nginx.url, USER)
    eventually(lambda: through("GET", "/workflows/script").status_code == 200)
    users.followed = through.trigger("script", script="sleep 600")
    threads = users.begin()
    try:
        with Watcher(nginx, [first.address, second.address]) as watcher:
            eventually(lambda: min(users.done[name] for name in ("look", "trigger", "upload")) > 3)
            first.variables["PYTHONPATH"] = str(later)
            told = first.command("db", "current")
            assert (told.returncode, "may go on" in told.stdout, "stop" in told.stdout) == (1, True, False), told
            upgraded = first.command("db", "upgrade")
            assert upgraded.stdout == f"{_LATER}: upgraded from {_HEAD}\n", upgraded
            del first.variables["PYTHONPATH"]
            assert first.command("db", "current").stdout == f"{_LATER}: up to date\n"
            before = users.done.copy()
            eventually(lambda: all(users.done[name] > before[name] + 3 for name in ("look", "trigger", "upload")))
            replace(first, later, watcher)
            replace(second, later, watcher)
            before = users.done.copy()
            eventually(lambda: all(users.done[name] > before[name] + 3 for name in ("look", "trigger", "upload")))
    finally:
        users.stop.set()
        through("DELETE", users.followed)
        for thread in threads:
            thread.join(60)
    assert users.failures == []
    for path in users.started.values():
        assert through.finished(path)["status"] == "SUCCEEDED"
    begun = Counter((tmp_path / "marks" / "begun").read_text().split())
    assert begun == dict.fromkeys(users.started, 1)
    for upload, content in users.uploaded.items():
        assert (tmp_path / "shared" / "data" / "files" / upload).read_bytes() == content
