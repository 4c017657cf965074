"""The commands `hpcwaas-api backup` and `hpcwaas-api restore`: what is in a backup, and what of a file is believed."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hpcwaas.command import backing_up, restoring
from hpcwaas.command.main import main
from hpcwaas.configuration.checks import RESTORING
from hpcwaas.core.endings import RESTORED
from hpcwaas.core.models import Status
from hpcwaas.engines.cwl.storage.spool import Spool
from hpcwaas.store.models import Base
from tests import databases
from tests.unit.backup_world import ENDED, OLD, World, configure, done, rebuilt, refused, rows, untouched
from tests.unit.test_store_backup import plain, value

pytest_plugins = "tests.unit.backup_fixtures"
pytestmark = pytest.mark.usefixtures("home_of_backups")


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz"])
def test_there_and_back(full: World, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"one.{ending}"
    said = done("backup", file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "the content of the upload u2 isn't there" in said
    assert f"{full.path('done', 'outputs/far')} was left out: it is a link that leads elsewhere" in said
    assert f"{full.data / 'vault.key'}, without which no private key can be read" in said
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


def test_a_backup_again_is_the_same(full: World, tmp_path: Path) -> None:
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


def test_only_an_empty_place_is_restored_to(plain_backup: Path, tmp_path: Path, full: World) -> None:
    before = databases.content(f"sqlite:///{full.data / 'hpcwaas.db'}")
    assert "isn't empty, it has cwl, files: move that away" in refused("restore", plain_backup)
    elsewhere = {"store": {"url": f"sqlite:///{full.data / 'hpcwaas.db'}"}}
    configure(tmp_path, tmp_path / "other", **elsewhere)
    assert "store.url: the database isn't empty" in refused("restore", plain_backup)
    assert databases.content(f"sqlite:///{full.data / 'hpcwaas.db'}") == before
    configure(tmp_path, full.data)
    with (full.data / "hpcwaas-api.lock").open("w") as lock:
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


def test_a_file_that_is_there_is_not_replaced(full: World, tmp_path: Path) -> None:
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


def test_a_full_disk(full: World, plain_backup: Path, tmp_path: Path) -> None:
    """`RLIMIT_FSIZE` fails a write as a full disk does."""
    full.upload("large", "x" * 3_000_000)
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
    full: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An execution, after its files were copied in part; an upload, before its content was."""
    write_files = backing_up._write_files

    def late(*arguments: Any) -> set[str]:
        with closing(full.database) as database, database.write() as session:
            for table, gone in (("executions", "done"), ("uploads", "u1")):
                found = plain(Base.metadata.tables[table])
                session.execute(found.delete().where(found.c.id == gone))
        (full.data / "files" / "u1").unlink()
        return write_files(*arguments)

    monkeypatch.setattr(backing_up, "_write_files", late)
    assert "2 executions and uploads were deleted while the backup was made" in done("backup", tmp_path / "one.tar")
    configure(tmp_path, tmp_path / "target")
    done("restore", tmp_path / "one.tar")
    assert ("done",) not in rows(tmp_path / "target", "executions", "id")
    assert rows(tmp_path / "target", "uploads", "id") == set()
    assert not (tmp_path / "target/cwl/executions/done").exists()
