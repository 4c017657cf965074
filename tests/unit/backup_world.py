"""A service with something of everything, for tests of backups."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result
from sqlalchemy import insert, select

from hpcwaas.command.main import main
from hpcwaas.common.archive import ArchiveWriter
from hpcwaas.common.chained import ChainedFile
from hpcwaas.core.models import ExecutionState, Status
from hpcwaas.engines.cwl.storage.spool import Spool
from hpcwaas.store.database import Database
from hpcwaas.store.models import Base
from tests import databases
from tests.unit.test_store_backup import plain, value

ENDED = ExecutionState(Status.SUCCEEDED, ended_at=datetime(2026, 1, 2, tzinfo=UTC), outputs=None)
OLD = 1_700_000_000


def configure(home: Path, data_dir: Path, **settings: Any) -> None:
    """Has the commands use a data directory."""
    accounts = [{"username": "sam", "password": "sam's password"}]
    file = home / ".hpcwaas-api.yaml"
    file.touch(0o600)
    auth = {"auth_type": "basic", "basic_auth": {"accounts": accounts}}
    file.write_text(yaml.safe_dump({"data_dir": str(data_dir), "auth": auth, **settings}))


class World:
    """What a service has left in a data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.cwl = data / "cwl"
        (data / "files").mkdir(parents=True)
        self.spool = Spool(self.cwl)
        databases.prepare(f"sqlite:///{data / 'hpcwaas.db'}")
        audit = ChainedFile(data / "audit.jsonl")
        audit.append({"time": "2026-01-01T00:00:00Z", "operation": "listWorkflows"})
        audit.close()
        (data / "audit.jsonl.2025-12-31").write_text("yesterday\n")
        (data / "vault.key").write_text("the key")
        (data / "local-token").write_text("the token")
        for name in ("running", "queued", "done"):
            self.execution(name)
        self.write("done", "log.jsonl", "[]\n")
        self.write("done", "outputs/d/data.txt", "result\n")
        os.link(self.path("done", "outputs/d/data.txt"), self.path("done", "outputs/again.txt"))
        self.path("done", "outputs/near").symlink_to("d/data.txt")
        self.path("done", "outputs/far").symlink_to("/etc/passwd")
        os.mkfifo(self.path("done", "outputs/pipe"))
        self.path("done", "outputs/d").chmod(0o750)
        self.spool.write_state("done", ENDED)
        self.write("running", "work/tmp/x", "passing")
        self.spool.write_state("running", ExecutionState(Status.RUNNING, started_at=ENDED.ended_at))
        self.write("queued", "uploads/0", "input")
        (self.spool.queue / Spool.new_ticket("queued")).touch()
        self.row("executions", id="fresh", engine="cwl", reference=None, status="PENDING", ended_at=None)
        self.row("shares", execution_id="fresh", status="PENDING")
        self.row("executions", id="asked", engine="yorc", reference=None, status="PENDING", ended_at=None)
        self.row("starts", execution_id="asked", reference=None)
        self.upload("u1", "content\n")
        self.row("uploads", id="u2")
        (data / "files" / "orphan").write_text("nobody's")
        self.write("unknown", "state.json", "{}")
        for name in ("sessions", "tickets", "counters", "listings", "tokens"):
            self.row(name)

    def path(self, execution_id: str, name: str) -> Path:
        """Of a file of an execution."""
        return self.cwl / "executions" / execution_id / name

    def write(self, execution_id: str, name: str, content: str) -> None:
        """Writes such a file."""
        self.path(execution_id, name).parent.mkdir(parents=True, exist_ok=True)
        self.path(execution_id, name).write_text(content)

    def upload(self, name: str, content: str) -> None:
        """Adds an upload."""
        (self.data / "files" / name).write_text(content)
        os.utime(self.data / "files" / name, (OLD, OLD))
        self.row("uploads", id=name)

    def execution(self, execution_id: str) -> None:
        """Adds an execution of the engine `cwl`, and its directory."""
        self.write(execution_id, "job.json", "{}")
        self.row("executions", id=execution_id, engine="cwl", reference=execution_id, status="PENDING", ended_at=None)

    def row(self, table: str, **values: Any) -> None:
        """Adds a row."""
        columns = plain(Base.metadata.tables[table])
        with closing(self.database) as database, database.write() as session:
            filled = {each.name: value(each, 0) for each in Base.metadata.tables[table].columns}
            session.execute(insert(columns), [{**filled, **values}])

    @property
    def database(self) -> Database:
        """The store, to be closed."""
        return Database(f"sqlite:///{self.data / 'hpcwaas.db'}")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def done(*arguments: str | Path) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stderr


def refused(*arguments: str | Path) -> str:
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


def rows(data: Path, table: str, *columns: str) -> set[tuple[Any, ...]]:
    """What the store has."""
    found = plain(Base.metadata.tables[table])
    with closing(Database(f"sqlite:///{data / 'hpcwaas.db'}")) as database, database.read() as session:
        return {tuple(row) for row in session.execute(select(*(found.c[name] for name in columns)))}


def members(file: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """All of an archive."""
    with tarfile.open(file) as archive:
        return [
            (info, reader.read() if (reader := archive.extractfile(info)) and info.isreg() else b"") for info in archive
        ]


def rebuilt(file: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], object]) -> Path:
    """A backup with other members, whose manifest says that all is well."""
    found = members(file)[:-1]
    head = json.loads(found.pop(0)[1])
    target = file.with_name("changed.tar")
    result = change(found)
    with target.open("wb") as stream:
        writer = ArchiveWriter(stream, {**head, **(result if isinstance(result, dict) else {})}, compressed=False)
        for info, content in found:
            writer._add(info, io.BytesIO(content))
        writer.finish({})
    return target


def untouched(data: Path) -> bool:
    """Whether a restore has left nothing but what a look needs."""
    if not data.exists():
        return True
    left = {path.name for path in data.iterdir()} - {
        "hpcwaas-api.lock",
        "hpcwaas.db",
        "hpcwaas.db-wal",
        "hpcwaas.db-shm",
    }
    with closing(Database(f"sqlite:///{data / 'hpcwaas.db'}")) as database:
        return not left and database.is_empty()
