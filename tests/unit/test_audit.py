"""The file of acts."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.common.chained import Finding, verify
from hpcwaas.common.scrubbing import scrubber_of
from hpcwaas.configuration.settings import Settings
from hpcwaas.errors import ConfigurationError
from hpcwaas.store.audit import Audit


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {
            "data_dir": tmp_path,
            "auth": {"auth_type": "basic", "basic_auth": {"accounts": [{"username": "a", "password": "s3cret/word"}]}},
        }
    )


def audit_of(settings: Settings) -> Audit:
    return Audit(settings.audit_file, settings.audit.syslog, scrubber_of(settings))


@pytest.fixture
def acts(settings: Settings) -> Iterator[Audit]:
    audit = audit_of(settings)
    yield audit
    audit.close()


def sha256(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def recorded(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_an_act_is_a_line_of_ascii(acts: Audit, settings: Settings) -> None:
    acts.record({"who": "alice", "object": "/x\n\x1b[31m\x7f\u2028\ud800é", "result": 201, "owner": None})
    acts.record({"scopes": ["a", "b"], "ok": True, "long": "x" * 9999})
    line, _ = settings.audit_file.read_bytes().splitlines()
    assert line.isascii()
    assert all(0x20 <= byte < 0x7F for byte in line)
    first, second = recorded(settings.audit_file)
    assert first["object"] == "/x\n\x1b[31m\x7f\u2028\ud800é"
    assert first["time"].endswith("Z")
    assert (first["who"], first["result"], first["owner"]) == ("alice", 201, None)
    assert (second["scopes"], second["ok"], len(second["long"])) == (["a", "b"], True, 501)
    assert stat.S_IMODE(settings.audit_file.stat().st_mode) == 0o600


def test_secrets_are_masked_wherever_they_stand(acts: Audit, settings: Settings) -> None:
    pat, encoded = "hpcwaas_pat_0h9MNHBxLqgV3p8z-_x", "aHBjd2Fhc19zZXNfMGg5TU5IQnhMcWdWM3A4ei1feA=="
    for secret in ("s3cret/word", "s3cret%2Fword", pat, encoded, "Bearer abcdefghijklmnopqrstuvwxyz"):
        acts.record({"object": f"/tokens/{secret}", "list": [f"x {secret} y"]})
    text = settings.audit_file.read_text()
    for part in ("s3cret", "0h9MNHBx", "MGg5TU5IQ", "klmnop"):
        assert part not in text
    assert text.count("********") == 10


def test_it_follows_logrotate(acts: Audit, settings: Settings) -> None:
    acts.record({"number": 1})
    settings.audit_file.rename(settings.audit_file.with_suffix(".1"))
    acts.record({"number": 2})
    settings.audit_file.unlink()
    acts.record({"number": 3})
    settings.audit_file.rename(settings.audit_file.with_suffix(".2"))
    settings.audit_file.touch(0o640)
    acts.record({"number": 4})
    assert [act["number"] for act in recorded(settings.audit_file.with_suffix(".1"))] == [1]
    assert [act["number"] for act in recorded(settings.audit_file.with_suffix(".2"))] == [3]
    assert [act["number"] for act in recorded(settings.audit_file)] == [4]


def test_processes_do_not_tear_each_others_lines(settings: Settings) -> None:
    script = (
        "import sys; from hpcwaas.store.audit import Audit; from hpcwaas.configuration.settings import Settings\n"
        "audit = Audit(Settings.model_validate({'data_dir': sys.argv[1]}).audit_file, None, str)\n"
        "[audit.record({'who': sys.argv[2], 'object': 'x' * 400, 'number': number}) for number in range(1000)]\n"
        "audit.close()"
    )
    running = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", script, settings.data_dir, name]) for name in "abc"
    ]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    found = recorded(settings.audit_file)
    for name in "abc":
        assert [act["number"] for act in found if act["who"] == name] == list(range(1000))
    assert verify([settings.audit_file]) == Finding(
        3000, last=sha256(settings.audit_file.read_bytes().splitlines()[-1])
    )


def test_a_full_disk_fails_nothing_and_is_told_once_a_minute(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = settings.model_copy(update={"audit": settings.audit.model_copy(update={"file": Path("/dev/full")})})
    acts = audit_of(full)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with caplog.at_level(logging.ERROR, "hpcwaas.store.audit"):
        for _ in range(5):
            acts.record({"who": "alice"})
        assert [entry.getMessage() for entry in caplog.records] == [
            "The audit can't be written to /dev/full: [Errno 28] No space left on device"
        ]
        now += 61
        acts.record({"who": "alice"})
        assert len(caplog.records) == 2
    acts.close()


def test_after_half_a_line_the_next_begins_at_the_left(
    acts: Audit, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts.record({"number": 1})
    size = settings.audit_file.stat().st_size

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
        acts.record({"number": 2})
        acts.record({"number": 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    acts.record({"number": 4})
    lines = settings.audit_file.read_bytes().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 4]
    with settings.audit_file.open("ab") as file:
        file.write(b'{"half a')  # a crash of the machine
    acts.record({"number": 5})
    lines = settings.audit_file.read_bytes().splitlines()
    assert json.loads(lines[-1])["number"] == 5
    assert "line 3: it isn't a record of the chain" in verify([settings.audit_file]).faults[0]


@pytest.mark.parametrize("file", ["missing/audit.jsonl", "."])
def test_what_cannot_be_written_stops_the_start(settings: Settings, tmp_path: Path, file: str) -> None:
    wrong = settings.model_copy(update={"audit": settings.audit.model_copy(update={"file": tmp_path / file})})
    with pytest.raises(ConfigurationError, match=r"^audit\.file: can't append to "):
        audit_of(wrong)


def test_acts_at_the_machine_are_recorded_with_the_account(
    acts: Audit, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.delenv("SUDO_USER", raising=False)
    acts.record_command("user add", "carol")
    monkeypatch.setenv("SUDO_USER", "admin")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    acts.record_command("user disable", "carol")
    first, second = recorded(settings.audit_file)
    assert first["who"] not in (None, "somebody-else", "admin")
    assert second["who"] == "admin"
    assert {name: value for name, value in first.items() if name not in ("time", "who", "previous")} == {
        "credential": "account",
        "operation": "user add",
        "object": "carol",
        "result": "ok",
    }
