"""Backups of a service that people work with, and what becomes of a backup or a restore that is killed."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.e2e.processes import BIN, Service, eventually


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("busy"), HWA_CWL_MAX_RUNNING="2")
    service.start()
    eventually(lambda: service.user("GET", "/workflows/script").status_code == 200)
    yield service
    service.end()


def work(service: Service, stop: threading.Event) -> None:
    """Starts, uploads and deletes, for as long as it may."""
    user, chance = service.user, random.Random(3)  # noqa: S311 (nothing secret)
    uploads: list[str] = []
    started: list[str] = []
    while not stop.is_set():
        with suppress(requests.RequestException):
            uploads.append(user.upload("a.bin", chance.randbytes(chance.choice((10, 300_000)))))
            script = chance.choice(("echo done > a.txt", "sleep 30"))
            started.append(user.trigger("script", script=script))
            user("POST", "/ssh_keys")
            if len(uploads) > 2:
                user("DELETE", f"/files/{uploads.pop(chance.randrange(len(uploads)))}")
            if len(started) > 3:
                path = started.pop(chance.randrange(len(started)))
                user("DELETE", path)
                user("DELETE", path, params={"purge": "true"})


def restored(service: Service, file: Path, home: Path) -> Service:
    """Another service with what a backup holds, before its start."""
    home.mkdir()
    other = Service(home)
    other.data.mkdir()
    shutil.copy2(service.data / "vault.key", other.data)
    done = other.command("restore", file)
    assert done.returncode == 0, done.stderr
    return other


def check_whole(service: Service) -> None:
    """Every record has its files, and every file its record; nothing runs, all private keys can be opened."""
    with service.database() as database:
        uploads = dict(database.execute("SELECT id, sha256 FROM uploads"))
        executions = dict(database.execute("SELECT id, status FROM executions"))
        keys = {key for (key,) in database.execute("SELECT id FROM ssh_keys")}
        secrets = {key for (key,) in database.execute("SELECT key_id FROM secrets")} - {"*probe*"}
        links = {key for (key,) in database.execute("SELECT execution_id FROM idempotency_keys")}
    contents = {path.name: path.read_bytes() for path in (service.data / "files").iterdir()}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()} == uploads
    assert keys == secrets
    assert links <= executions.keys()
    directories = {path.name for path in (service.data / "cwl" / "executions").iterdir()}
    assert directories <= executions.keys()
    for name in directories:
        state = json.loads((service.data / "cwl" / "executions" / name / "state.json").read_bytes())
        assert state["status"] in ("SUCCEEDED", "FAILED", "CANCELLED"), name
    assert not [*(service.data / "cwl").glob("queue/*"), *(service.data / "cwl").glob("active/*")]


def test_a_backup_of_a_busy_service_is_whole(service: Service, tmp_path: Path) -> None:
    stop = threading.Event()
    workers = [threading.Thread(target=work, args=(service, stop)) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        with service.database() as database:
            count = "SELECT count(*) FROM executions"
            eventually(lambda: database.execute(count).fetchone()[0] > 8, 120)
        files = [tmp_path / f"{number}.tar" for number in range(3)]
        for file in files:
            done = service.command("backup", file)
            assert done.returncode == 0, done.stderr
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    for number, file in enumerate(files):
        other = restored(service, file, tmp_path / f"home{number}")
        check_whole(other)
    other.start()
    try:
        with other.database() as database:
            eventually(
                lambda: (
                    database.execute(
                        "SELECT count(*) FROM executions WHERE status IN ('PENDING', 'RUNNING')"
                    ).fetchone()
                    == (0,)
                )
            )
        assert not list((other.data / "cwl").glob("executions/*/supervisor.lock"))  # nothing was begun
        listed = other.user("GET", "/executions", params={"limit": 100}).json()["executions"]
        assert listed
        for execution in listed:
            found = other.user("GET", f"/executions/{execution['id']}").json()
            assert found["status"] != "FAILED" or "restored from a backup" in found["reason"]
            if found["status"] == "SUCCEEDED":
                outputs = other.user("GET", f"/executions/{execution['id']}/outputs").json()
                assert "done" in json.dumps(outputs) or outputs
        key = other.user("GET", "/ssh_keys").json()["ssh_keys"][0]["id"]
        assert other.user("POST", f"/ssh_keys/{key}/rotate").status_code == 200
    finally:
        other.end()


def killed(service: Service, after: float, *arguments: str | Path) -> bool:
    """Kills a command after some seconds; whether it hadn't ended by then."""
    process = subprocess.Popen(
        [BIN / "hpcwaas-api", *arguments],
        env=service.environment | service.variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(after)
    process.kill()
    return process.wait(60) != 0


def test_whatever_is_killed_can_be_done_again(service: Service, tmp_path: Path) -> None:
    for number in range(20):
        service.user.upload(f"{number}.bin", random.Random(number).randbytes(500_000))  # noqa: S311 (nothing secret)
    begun = time.monotonic()
    whole = tmp_path / "whole.tar.gz"
    assert service.command("backup", whole).returncode == 0
    lasts = time.monotonic() - begun
    file = tmp_path / "one.tar.gz"
    cuts = 0
    for part in range(2, 6):
        cuts += killed(service, lasts * part / 6, "backup", file)
        if file.exists():  # it was quicker
            assert service.command("restore", "--check", file).returncode == 0
            file.unlink()
    assert cuts
    assert service.command("backup", file).returncode == 0
    assert service.command("restore", "--check", file).returncode == 0
    assert [path.name for path in tmp_path.glob("one*")] == ["one.tar.gz"]

    home = tmp_path / "home"
    home.mkdir()
    other = Service(home)
    other.data.mkdir()
    shutil.copy2(service.data / "vault.key", other.data)
    begun = time.monotonic()
    cuts = 0
    for part in range(2, 7):
        if not killed(other, lasts * part / 6, "restore", file):
            break
        if (other.data / "restoring.json").exists():
            cuts += 1
            refused = other.command("config", "check")
            assert (refused.returncode, "run `hpcwaas-api restore` again" in refused.stderr) == (1, True)
    if (other.data / "restoring.json").exists() or not (other.data / "files").exists():
        done = other.command("restore", file)
        assert done.returncode == 0, done.stderr
        assert cuts == 0 or "begun anew" in done.stderr or "nothing is left to do" in done.stderr
    check_whole(other)
    with tarfile.open(file) as archive:
        names = {info.name for info in archive}
    assert {f"files/{path.name}" for path in (other.data / "files").iterdir()} == {
        name for name in names if name.startswith("files/")
    }
