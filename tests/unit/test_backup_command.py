"""The commands `hpcwaas-api backup` and `hpcwaas-api restore`: what is in a backup, and what of a file is believed."""

from __future__ import annotations

import fcntl
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from sqlalchemy import insert, select

from hpcwaas.command import backing_up, restoring
from hpcwaas.command.main import main
from hpcwaas.common.archive import ArchiveWriter
from hpcwaas.common.chained import ChainedFile
from hpcwaas.configuration.checks import RESTORING
from hpcwaas.core.endings import RESTORED
from hpcwaas.core.models import ExecutionState, Status
from hpcwaas.engines.cwl.storage.spool import Spool
from hpcwaas.store.database import Database
from hpcwaas.store.models import Base
from tests import databases
from tests.unit.test_store_backup import plain, value

ENDED = ExecutionState(Status.SUCCEEDED, ended_at=datetime(2026, 1, 2, tzinfo=UTC), outputs=None)
OLD = 1_700_000_000


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("hpcwaas.configuration.load.SYSTEM_FILE", tmp_path / "etc.yml")
    configure(tmp_path, tmp_path / "data")


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


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data")


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


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz"])
def test_there_and_back(world: World, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"one.{ending}"
    said = done("backup", file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "the content of the upload u2 isn't there" in said
    assert f"{world.path('done', 'outputs/far')} was left out: it is a link that leads elsewhere" in said
    assert f"{world.data / 'vault.key'}, without which no private key can be read" in said
    content = file.read_bytes()
    assert b"the key" not in content
    assert b"the token" not in content

    target = tmp_path / "target"
    configure(tmp_path, target)
    target.mkdir()
    (target / "vault.key").write_text("the same key")
    (target / "vault.key").chmod(0o600)
    said = done("restore", file)
    assert "1 executions were about to begin" in said
    assert "warning: 1 uploads aren't there any more" in said
    place = Spool(target / "cwl")
    found = {path.name for path in (target / "cwl/executions").iterdir()}
    assert found == {"done", "queued", "running"}
    assert {path.name for path in (target / "files").iterdir()} == {"u1"}
    assert ((target / "files/u1").read_text(), (target / "files/u1").stat().st_mtime) == ("content\n", OLD)
    assert place.state("done") == ENDED
    outputs = target / "cwl/executions/done/outputs"
    assert {path.name for path in outputs.iterdir()} == {"d", "again.txt", "near"}
    assert (outputs / "again.txt").samefile(outputs / "d/data.txt")
    assert (str((outputs / "near").readlink()), (outputs / "near").read_text()) == ("d/data.txt", "result\n")
    assert (outputs / "d").stat().st_mode & 0o777 == 0o750
    for name in ("queued", "running"):
        state = place.state(name)
        assert state is not None
        assert (state.status, state.reason, state.ended_at is not None) == (Status.FAILED, RESTORED, True)
        assert "RESTORED" not in (target / f"cwl/executions/{name}/log.jsonl").read_text()
    assert not place.busy()
    assert not (target / "cwl/executions/running/work").exists()
    assert rows(target, "executions", "id", "status") == {
        *(("done", "PENDING"), ("running", "PENDING"), ("queued", "PENDING")),  # the engine says more
        *(("fresh", "FAILED"), ("asked", "PENDING")),
    }
    assert rows(target, "shares", "execution_id", "status") == {("fresh", "FAILED")}
    assert rows(target, "uploads", "id") == {("u1",)}
    assert [len(rows(target, name, "expires_at")) for name in ("sessions", "tickets", "counters", "tokens")] == [
        0,
        0,
        0,
        1,
    ]
    assert (target / "audit.jsonl.2025-12-31").read_text() == "yesterday\n"
    acts = [json.loads(line)["operation"] for line in (target / "audit.jsonl").read_text().splitlines()]
    assert acts == ["listWorkflows", "restore"]
    assert not (target / RESTORING).exists()
    assert {path.name for path in target.iterdir()} - {"hpcwaas.db-shm", "hpcwaas.db-wal"} == {
        *("audit.jsonl", "audit.jsonl.2025-12-31", "cwl", "files", "hpcwaas-api.lock", "hpcwaas.db", "vault.key")
    }
    assert CliRunner().invoke(main, ["audit", "verify"]).exit_code == 0


def test_a_backup_again_is_the_same(world: World, tmp_path: Path) -> None:
    done("backup", tmp_path / "one.tar")
    configure(tmp_path, tmp_path / "target")
    done("restore", tmp_path / "one.tar")
    done("backup", tmp_path / "two.tar")
    configure(tmp_path, tmp_path / "again")
    done("restore", tmp_path / "two.tar")
    for table in Base.metadata.tables.values():
        names = [column.name for column in table.columns]
        first, second = (
            (rows(tmp_path / name, table.name, *names) for name in ("target", "again"))
            if not any(isinstance(value(column, 0), dict) for column in table.columns)
            else (set(), set())
        )
        assert first == second, table.name


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


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    return info, content


EVIL = {
    "absolute": [member("/tmp/evil")],
    "dots": [member("files/../../evil")],
    "dot": [member("engines/./x")],
    "empty part": [member("engines//x")],
    "another folder": [member("vault.key")],
    "folder beside": [member("etc/x")],
    "engine that isn't there": [member("engines/other/x")],
    "file in a folder of uploads": [member("files/a/b")],
    "link out": [member("engines/cwl/x", tarfile.SYMTYPE, "../../../x")],
    "absolute link": [member("engines/cwl/x", tarfile.SYMTYPE, "/etc/passwd")],
    "through a link": [member("engines/cwl/x", tarfile.SYMTYPE, "executions"), member("engines/cwl/x/y")],
    "below a file": [member("engines/cwl/f"), member("engines/cwl/f/y")],
    "link to nothing": [member("engines/cwl/x", tarfile.LNKTYPE, "engines/cwl/nothing")],
    "hard link out": [member("engines/cwl/x", tarfile.LNKTYPE, "/etc/passwd")],
    "link to a link": [
        member("engines/cwl/x", tarfile.SYMTYPE, "executions"),
        member("engines/cwl/y", tarfile.LNKTYPE, "engines/cwl/x"),
    ],
    "upload that is a link": [member("files/x", tarfile.SYMTYPE, "u1")],
    "device": [member("engines/cwl/x", tarfile.CHRTYPE)],
    "pipe": [member("engines/cwl/x", tarfile.FIFOTYPE)],
    "twice": [member("files/x"), member("files/x")],
    "table that is a folder": [member("store/9-x", tarfile.DIRTYPE)],
    "no table": [member("store/9-uploads", content=b"nonsense")],
    "no such table": [member("store/9-sqlite_master", content=b'{"columns": [["name", "text"]]}\n["x"]')],
    "row twice": [member("store/9-starts", content=b'{"columns": [["execution_id", "text"]]}\n["1"]\n["1"]')],
}


@pytest.fixture(scope="module")
def plain_backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that is made once."""
    home = tmp_path_factory.mktemp("plain")
    configure(home, home / "data")
    World(home / "data")
    before = os.environ["HOME"]
    os.environ["HOME"] = str(home)
    try:
        done("backup", home / "one.tar")
    finally:
        os.environ["HOME"] = before
    return home / "one.tar"


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


@pytest.mark.parametrize("evil", EVIL)
def test_a_member_that_no_backup_has(evil: str, plain_backup: Path, tmp_path: Path) -> None:
    file = rebuilt(plain_backup, lambda found: found.extend(EVIL[evil]))
    said = refused("restore", file)
    assert "This backup can't be restored: " in said
    assert untouched(tmp_path / "data")


def test_what_is_cut_or_changed_anywhere_is_found(plain_backup: Path, tmp_path: Path) -> None:
    whole = plain_backup.read_bytes()
    file = tmp_path / "bad.tar"
    length = len(whole.rstrip(b"\0"))
    for end in range(0, length, length // 40):
        file.write_bytes(whole[:end])
        assert "can't be restored: it" in refused("restore", "--check", file), end
    infos = [info for info, _ in members(plain_backup)]
    for info in infos:
        for place in (info.offset, *([info.offset_data] if info.size else [])):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert "can't be restored: " in refused("restore", "--check", file), (info.name, place)
    for cut in infos[1:]:  # a member that is missing as a whole
        after = next((info.offset for info in infos if info.offset > cut.offset), length)
        file.write_bytes(whole[: cut.offset] + whole[after:])
        assert "can't be restored: " in refused("restore", "--check", file), cut.name
    file.write_bytes(whole)
    assert "whole; made at" in done("restore", "--check", file)
    assert untouched(tmp_path / "data")


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ({"product": "other"}, "it isn't a backup of this service"),
        ({"format": 2, "version": "9.1"}, "version 9.1 of the service made it"),
        ({"schema": "9999", "version": "9.1"}, "restore it with version 9.1 or a later one"),
        ({"schema": None}, "doesn't know its form"),
    ],
)
def test_a_backup_of_something_else(head: dict[str, object], says: str, plain_backup: Path) -> None:
    assert says in refused("restore", rebuilt(plain_backup, lambda _: head))


def test_a_file_that_is_no_backup(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as archive:
        archive.add(__file__)
    (tmp_path / "empty.tar").touch()
    (tmp_path / "text.tar").write_text("a text\n" * 1000)
    for name in ("other.tar.gz", "empty.tar", "text.tar"):
        assert "This backup can't be restored: it " in refused("restore", tmp_path / name)


def test_only_an_empty_place_is_restored_to(plain_backup: Path, tmp_path: Path, world: World) -> None:
    before = databases.content(f"sqlite:///{world.data / 'hpcwaas.db'}")
    assert "isn't empty, it has cwl, files: move that away" in refused("restore", plain_backup)
    elsewhere = {"store": {"url": f"sqlite:///{world.data / 'hpcwaas.db'}"}}
    configure(tmp_path, tmp_path / "other", **elsewhere)
    assert "store.url: the database isn't empty" in refused("restore", plain_backup)
    assert databases.content(f"sqlite:///{world.data / 'hpcwaas.db'}") == before
    configure(tmp_path, world.data)
    with (world.data / "hpcwaas-api.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert "is used by a running service" in refused("restore", plain_backup)


def test_an_audit_that_is_there_stays(plain_backup: Path, tmp_path: Path) -> None:
    audit = tmp_path / "log" / "audit.jsonl"
    audit.parent.mkdir()
    audit.write_text("kept\n")
    configure(tmp_path, tmp_path / "data", audit={"file": str(audit)})
    assert f"{audit} was there already and was left as it is" in done("restore", plain_backup)
    assert audit.read_text().startswith("kept\n")


def test_a_broken_off_restore_keeps_the_service_from_starting(
    plain_backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        for name in ("_clear", "_unmark"):
            patch.setattr(restoring, name, kill)
        with pytest.raises(Killed):
            CliRunner().invoke(main, ["restore", str(plain_backup)])
    data = tmp_path / "data"
    assert rows(data, "uploads", "id") == {("u1",)}  # killed when all was there but for the mark
    for command in (["config", "check"], ["db", "upgrade"], ["user", "list"]):
        result = CliRunner().invoke(main, command)
        assert (result.exit_code, "run `hpcwaas-api restore` again" in result.stderr) == (1, True), result.output
    other = rebuilt(plain_backup, lambda _: {"made_at": "yesterday"})
    assert "the database isn't empty" in refused("restore", other)
    assert "nothing is left to do" in done("restore", plain_backup)
    assert CliRunner().invoke(main, ["db", "current"]).exit_code == 0


def test_a_file_that_is_there_is_not_replaced(world: World, tmp_path: Path) -> None:
    file = tmp_path / "one.tar"
    file.write_text("precious")
    assert "is there already" in refused("backup", file)
    assert file.read_text() == "precious"
    assert "should end in .tar, .tar.gz or .tgz" in refused("backup", tmp_path / "one.zip")
    assert "No backup was made: " in refused("backup", tmp_path / "nowhere" / "one.tar")
    configure(tmp_path, tmp_path / "empty")
    assert "there is nothing to back up" in refused("backup", tmp_path / "two.tar")


def limited(tmp_path: Path, size: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command that can write so many bytes to a file."""
    return subprocess.run(
        [Path(sys.executable).parent / "hpcwaas-api", *arguments],
        env={"HOME": str(tmp_path), "PATH": os.defpath},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_full_disk(world: World, plain_backup: Path, tmp_path: Path) -> None:
    """`RLIMIT_FSIZE` fails a write as a full disk does."""
    world.upload("large", "x" * 3_000_000)
    file = tmp_path / "one.tar"
    said = limited(tmp_path, 2_000_000, "backup", file)
    assert (said.returncode, f"No backup was made: {file}: File too large" in said.stderr) == (1, True), said.stderr
    assert not list(tmp_path.glob("one.tar*"))
    done("backup", file)
    configure(tmp_path, tmp_path / "target")
    said = limited(tmp_path, 2_000_000, "restore", file)
    assert (said.returncode, "File too large. Nothing was restored." in said.stderr) == (1, True), said.stderr
    assert untouched(tmp_path / "target")
    done("restore", file)


def test_what_is_deleted_while_it_is_made_is_left_out(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An execution, after its files were copied in part; an upload, before its content was."""
    write_files = backing_up._write_files

    def late(*arguments: Any) -> set[str]:
        with closing(world.database) as database, database.write() as session:
            for table, gone in (("executions", "done"), ("uploads", "u1")):
                found = plain(Base.metadata.tables[table])
                session.execute(found.delete().where(found.c.id == gone))
        (world.data / "files" / "u1").unlink()
        return write_files(*arguments)

    monkeypatch.setattr(backing_up, "_write_files", late)
    assert "2 executions and uploads were deleted while the backup was made" in done("backup", tmp_path / "one.tar")
    configure(tmp_path, tmp_path / "target")
    done("restore", tmp_path / "one.tar")
    assert ("done",) not in rows(tmp_path / "target", "executions", "id")
    assert rows(tmp_path / "target", "uploads", "id") == set()
    assert not (tmp_path / "target/cwl/executions/done").exists()
