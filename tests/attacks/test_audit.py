"""Who attacks the record of who did what: by flooding it, by steering it, by changing it afterwards."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from click.testing import CliRunner

from hpcwaas.api.audit import Strangers
from hpcwaas.command.main import main
from hpcwaas.common.chained import ChainedFile, Finding, verify
from hpcwaas.configuration.settings import Settings
from hpcwaas.errors import ConfigurationError
from hpcwaas.store.audit import Audit
from hpcwaas.store.syslog import Syslog
from tests.e2e.processes import Service, eventually
from tests.service import Client, as_user, make_settings, serving


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    before, Strangers.EVERY = Strangers.EVERY, 1.0
    with serving(settings) as url:
        yield url
    Strangers.EVERY = before


def test_strangers_are_counted_not_listed(url: str, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "hpcwaas.access")
    for number in range(40):
        headers = {"X-Request-ID": f"forged-{number}", "Authorization": "Bearer nonsense"}
        requests.get(f"{url}/executions", headers=headers, timeout=60)
        requests.delete(f"{url}/files/{'x' * 5000}", headers={"X-Request-ID": f"forged-{number}"}, timeout=60)

    def counted() -> int:
        return sum(act["count"] for act in lines(settings.audit_file) if act["operation"] == "strangers")

    eventually(lambda: counted() == 80)
    found = lines(settings.audit_file)
    assert len(found) < 20
    assert {act["address"] for act in found} == {"127.0.0.1"}
    assert {request for act in found for request in act["requests"]} <= {
        *("listExecutions 401", "listExecutions 429", "deleteFile 401")
    }
    text = settings.audit_file.read_text() + "".join(map(repr, (vars(record) for record in caplog.records)))
    assert "forged" not in text
    assert "x" * 400 not in text


def test_many_addresses_cost_no_more_memory_than_some(settings: Settings) -> None:
    recorded: list[Any] = []
    strangers = Strangers(recorded.append)
    for number in range(10_000):
        strangers.count(f"2001:db8::{number:x}", "listFiles 401")
    strangers.flush()
    assert len(recorded) == Strangers.MOST + 1
    assert sum(act["count"] for act in recorded) == 10_000
    assert recorded[-1]["address"] is None
    strangers.flush()
    assert len(recorded) == Strangers.MOST + 1


def test_what_was_counted_is_recorded_when_the_service_ends(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    with serving(settings) as url:
        requests.get(f"{url}/executions", headers={"Authorization": "Bearer nonsense"}, timeout=60)
        assert settings.audit_file.read_bytes() == b""
    (act,) = lines(settings.audit_file)
    assert (act["operation"], act["count"], act["requests"]) == ("strangers", 1, {"listExecutions 401": 1})


def test_ones_own_downloads_are_recorded(url: str, settings: Settings) -> None:
    alice = as_user(url, "alice")
    path = alice.trigger("echo", message="x")
    alice.finished(path)
    outputs = alice("GET", path).json()["outputs"]
    begin = len(lines(settings.audit_file))
    for _ in range(2):
        assert alice("GET", f"{path}/logs").status_code == 200
        assert alice("GET", f"{path}/outputs/{next(iter(outputs))}").status_code == 200
        alice("HEAD", f"{path}/outputs/{next(iter(outputs))}")
        alice("GET", f"{path}/outputs/nope")
    found = [act for act in lines(settings.audit_file)[begin:] if act["who"]]
    assert [(act["who"], act["operation"], act["result"]) for act in found] == [
        ("alice", "getExecutionLogs", 200),  # who follows a log asks again and again
        ("alice", "getExecutionOutput", 200),
        ("alice", "getExecutionOutput", 200),
    ]


def test_the_processes_of_an_execution_are_told(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.start()
    try:
        path = service.user.trigger("script", script="echo $$ > pid.txt; sleep 20")
        file = service.data / "cwl" / "processes.jsonl"
        eventually(lambda: file.exists() and file.read_bytes())
        (begin,) = lines(file)
        assert begin["execution"] == path.rpartition("/")[2]
        (supervisor,) = service.processes("supervisor")
        assert (begin["event"], begin["supervisor"], begin["uid"]) == (
            "started",
            supervisor.pid,
            psutil.Process().uids().real,
        )
        assert psutil.Process(begin["pid"]).ppid() == supervisor.pid
        assert begin["machine"] == socket.gethostname()
        service.user("DELETE", path)
        service.user.finished(path)
        _, end = lines(file)
        assert (end["event"], end["execution"], end["status"]) == ("ended", begin["execution"], "CANCELLED")
        second = service.user.trigger("script", script="sleep 20")
        eventually(lambda: len(lines(file)) == 3)
        service.kill("supervisor")
        assert service.user.finished(second)["status"] == "FAILED"
        assert [line["event"] for line in lines(file)] == ["started", "ended", "started", "ended"]
        assert verify([file]).faults == []
        (created,) = [act for act in lines(service.data / "audit.jsonl") if act.get("created") == path]
        assert created["who"]
    finally:
        service.end()


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    file = ChainedFile(path)
    for number in range(10):
        file.append({"number": number})
    file.close()
    return path


def changed(content: list[bytes], how: str) -> list[bytes]:
    match how:
        case "edited":
            content[4] = content[4].replace(b"4", b"7", 1)
        case "removed":
            del content[4]
        case "removed at the beginning":
            del content[0]
        case "swapped":
            content[4], content[5] = content[5], content[4]
        case "added":
            content.insert(4, b'{"number": 3.5}')
        case "copied":
            content.insert(4, content[3])
        case "spaced":
            content[4] = content[4].replace(b", ", b",  ")
        case "begun anew":
            del content[:5]
            content[0] = b'{"number": 5, "previous": null}'
    return content


@pytest.mark.parametrize("how", ["edited", "removed", "swapped", "added", "copied", "spaced", "begun anew"])
def test_a_change_is_found(trail: Path, how: str) -> None:
    assert verify([trail]).faults == []
    trail.write_bytes(b"\n".join(changed(trail.read_bytes().splitlines(), how)) + b"\n")
    assert verify([trail]).faults
    result = CliRunner().invoke(main, ["audit", "verify", str(trail)])
    assert result.exit_code == 1
    assert f"{trail}, line " in result.output


def test_what_is_missing_at_either_end_is_found_with_what_was_kept_elsewhere(trail: Path) -> None:
    content = trail.read_bytes().splitlines()
    last = verify([trail]).last
    assert last
    trail.write_bytes(b"\n".join(content[:-1]) + b"\n")
    assert (verify([trail], last).faults, verify([trail], last).contains) == ([], False)
    assert CliRunner().invoke(main, ["audit", "verify", "--contains", last, str(trail)]).exit_code == 1
    trail.write_bytes(b"\n".join(changed(content, "removed at the beginning")) + b"\n")
    found = verify([trail], last)
    assert (found.faults, found.contains, found.continues) == ([], True, True)
    result = CliRunner().invoke(main, ["audit", "verify", "--contains", last, str(trail)])
    assert result.exit_code == 0
    assert last in result.output


def test_the_chain_goes_on_in_the_next_file(tmp_path: Path) -> None:
    path, first, second = (tmp_path / f"audit.jsonl{suffix}" for suffix in ("", ".2.gz", ".1"))
    one, other = ChainedFile(path), ChainedFile(path)
    for number in range(3):
        one.append({"number": number})
        other.append({"number": number})
    with gzip.open(first, "wb") as packed:
        packed.write(path.read_bytes())
    path.unlink()  # logrotate: moved, and compressed
    one.append({"number": 3})
    other.append({"number": 3})
    path.rename(second)
    for old in (one, other):
        old.close()
    restarted = ChainedFile(path)  # a service that was started just after
    restarted.append({"number": 4})
    restarted.close()
    assert verify([first, second, path]) == Finding(9, last=verify([path]).last)
    assert verify([path]).continues


def test_many_processes_keep_one_chain_while_it_is_moved(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    script = (
        "import sys, time; from pathlib import Path; from hpcwaas.common.chained import ChainedFile\n"
        "file = ChainedFile(Path(sys.argv[1]))\n"
        "for number in range(400): file.append({'who': sys.argv[2], 'number': number}); time.sleep(0.0005)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, path, name]) for name in "abcd"]
    moved: list[Path] = []
    while any(writer.poll() is None for writer in writers):
        if path.exists() and path.stat().st_size > 30_000 and len(moved) < 5:
            moved.append(path.rename(f"{path}.{len(moved)}"))
    assert [writer.returncode for writer in writers] == [0] * 4
    assert moved
    found = verify([*moved, *([path] if path.exists() else [])])
    assert (found.records, found.faults, found.continues) == (1600, [], False)


def test_records_from_before_the_chain_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"who": "alice"}\n{"who": "bob"}\n')
    file = ChainedFile(path)
    file.append({"who": "carol"})
    file.close()
    assert (verify([path]).records, verify([path]).unchained, verify([path]).faults) == (3, 2, [])
    path.write_bytes(path.read_bytes().replace(b"bob", b"eve"))
    assert verify([path]).faults


def test_records_go_to_the_syslog_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    address = tmp_path / "log"
    with pytest.raises(ConfigurationError, match=r"^audit\.syslog: can't reach "):
        Audit(tmp_path / "audit.jsonl", str(address), str)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(address))
        audit = Audit(tmp_path / "audit.jsonl", str(address), str)
        audit.record({"who": "alice", "object": "x\ny"})
        head, _, line = server.recv(65536).partition(b": ")
    assert head.startswith(b"<86>hpcwaas-audit[")
    assert line == (tmp_path / "audit.jsonl").read_bytes().splitlines()[-1]
    for _ in range(3):
        audit.record({"who": "bob"})
    assert [record.getMessage() for record in caplog.records] == [
        f"The syslog at {address} accepts no records. Records that it lacks so far: 1"
    ]
    address.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:  # started anew
        server.bind(str(address))
        audit.record({"who": "carol"})
        assert b'"carol"' in server.recv(65536)
    audit.close()


def test_a_syslog_that_takes_nothing_holds_up_nobody(tmp_path: Path) -> None:
    address = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(address))
        syslog = Syslog(str(address), "hpcwaas-audit")
        for _ in range(5000):
            syslog.send("x" * 500)
        syslog.close()


def test_a_syslog_by_udp(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        audit = Audit(tmp_path / "audit.jsonl", f"127.0.0.1:{server.getsockname()[1]}", str)
        audit.record({"who": "alice"})
        assert b'"alice"' in server.recv(65536)
        audit.close()


def test_a_token_in_a_path_of_a_stranger_is_not_recorded(url: str, settings: Settings) -> None:
    Client(url, {})("DELETE", "/tokens/hpcwaas_pat_secret")
    assert "hpcwaas_pat_secret" not in settings.audit_file.read_text()
