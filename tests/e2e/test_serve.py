"""The command as a real process: start, ready, stop, and what happens when it is killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import requests
import yaml

from tests.e2e.processes import BIN, MEASURED

STUB = Path(__file__).with_name("stub_service.py")


class Service:
    def __init__(self, home: Path, *arguments: str, stub: bool = True, **variables: str) -> None:
        self.home = home
        self.data = home / "data"
        self.profile = home / "state" / "waas" / "local.yaml"
        program = [sys.executable, str(STUB)] if stub else [str(Path(sys.executable).with_name("hpcwaas-api"))]
        self.log, self.printed = (home / f"{name}-{time.monotonic_ns()}" for name in ("log", "printed"))
        with self.log.open("wb") as log, self.printed.open("wb") as printed:
            self.process = subprocess.Popen(
                [*program, "--data-dir", str(self.data), *arguments],
                stdout=printed,
                stderr=log,
                cwd=home,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(home),
                    "XDG_STATE_HOME": str(home / "state"),
                    **MEASURED,
                    **variables,
                },
            )

    def ready(self) -> Service:
        wait_for(lambda: "Ready at" in self.log.read_text() or self.process.poll() is not None)
        found = re.search(r"Ready at (https?://[^\s\"]+)", self.log.read_text())
        assert found, self.log.read_text()
        self.url = found[1]
        return self

    def seen(self, **headers: str) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(self.url, headers=headers, timeout=60).json()
        return found

    def stop(self, how: int = signal.SIGTERM) -> tuple[int, float]:
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(120)
        return code, time.monotonic() - started


Start: TypeAlias = Callable[..., Service]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    services: list[Service] = []

    def started(*arguments: str, stub: bool = True, **variables: str) -> Service:
        services.append(Service(tmp_path, *(arguments or ("-l", "127.0.0.1:0")), stub=stub, **variables))
        return services[-1]

    yield started
    for service in services:
        if service.process.poll() is None:
            service.process.kill()
        service.process.wait()


def test_local_mode_from_start_to_stop(start: Start) -> None:
    service = start().ready()
    profile = yaml.safe_load(service.profile.read_text())
    assert profile["api_url"] == service.url
    assert stat.S_IMODE(service.profile.stat().st_mode) == 0o600
    assert stat.S_IMODE(service.data.stat().st_mode) == 0o700
    assert (service.data / "local-token").read_text().strip() == profile["access_token"]
    answer = requests.get(service.url, timeout=60)
    assert "server" not in answer.headers
    assert answer.json()["alone"], "the application must be made in a process without other threads"

    code, seconds = service.stop()

    assert (code, seconds < 45) == (0, True)
    printed = service.printed.read_text()
    assert f"export HW_API_URL={service.url}\n" in printed
    # What isn't a terminal may be read by others: it gets the place of the token only.
    assert profile["access_token"] not in printed
    assert f"export HW_ACCESS_TOKEN=$(cat {service.data}/local-token)\n" in printed
    assert stat.S_IMODE((service.data / "local-token").stat().st_mode) == 0o600
    assert f"{service.url}/ui/" in printed
    assert str(service.data) in printed
    assert profile["access_token"] not in service.log.read_text()
    assert not service.profile.exists()


def test_profile_of_another_service_stays(start: Start) -> None:
    service = start().ready()
    service.profile.write_text("api_url: http://127.0.0.1:1\naccess_token: other\n")
    service.stop()
    assert "other" in service.profile.read_text()


def test_token_outlives_a_restart(start: Start) -> None:
    first = start().ready()
    token = yaml.safe_load(first.profile.read_text())["access_token"]
    first.stop()
    assert yaml.safe_load(start().ready().profile.read_text())["access_token"] == token


def test_interrupt_stops_without_noise(start: Start) -> None:
    service = start().ready()
    code, seconds = service.stop(signal.SIGINT)
    assert (code, seconds < 45) == (0, True)
    levels = {json.loads(line)["level"] for line in service.log.read_text().splitlines()}
    assert levels == {"INFO"}


def test_parked_requests_do_not_delay_the_stop(start: Start) -> None:
    service = start().ready()
    parked = [threading.Thread(target=_try_get, args=(f"{service.url}/park",)) for _ in range(3)]
    for thread in parked:
        thread.start()
    time.sleep(0.5)
    code, seconds = service.stop()
    assert (code, seconds < 40) == (0, True)
    assert "Traceback" not in service.log.read_text()
    for thread in parked:
        thread.join(60)


def _try_get(url: str) -> None:
    with contextlib.suppress(requests.ConnectionError):
        requests.get(url, timeout=60)


def test_killed_worker_is_replaced_and_announced_once(start: Start) -> None:
    service = start().ready()
    first = service.seen()["pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not alive(first))
    assert service.seen()["pid"] != first  # the socket belongs to the master: nothing is refused meanwhile
    assert "SIGKILL" in service.log.read_text()
    service.stop()
    assert service.printed.read_text().count("is ready") == 1


def test_killed_master_takes_its_workers_along_and_frees_the_data(start: Start) -> None:
    service = start().ready()
    worker = service.seen()["pid"]
    service.stop(signal.SIGKILL)
    again = start().ready()
    assert again.profile.exists()
    wait_for(lambda: not alive(worker))


def test_second_service_on_the_same_data_is_refused(start: Start) -> None:
    first = start().ready()
    second = start()
    assert second.process.wait(60) == 1
    message = second.log.read_text()
    assert len(message.splitlines()) == 1
    assert f"process {first.process.pid}, {first.url}" in message
    assert first.seen()["pid"]


def test_port_in_use_is_one_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        service = start("--listen-address", address)
        assert service.process.wait(60) == 1
    message = service.log.read_text()
    assert len(message.splitlines()) == 1
    assert f"{address} is in use" in message


def test_application_that_cannot_be_made_is_one_line(start: Start) -> None:
    service = start(STUB="broken")
    assert service.process.wait(60) != 0
    assert service.log.read_text().splitlines()[0] == "hpcwaas-api can't start: vault.key: isn't the one"


FORWARDED = {"X-Forwarded-For": "198.51.100.1, 192.0.2.7", "X-Forwarded-Proto": "https"}


def test_forwarded_headers_count_from_trusted_proxies(start: Start) -> None:
    trusting = start(HWA_SERVER_TRUSTED_PROXIES="127.0.0.1").ready()
    seen = trusting.seen(**FORWARDED)
    assert (seen["scheme"], seen["client"]) == ("https", "192.0.2.7")
    assert trusting.seen(**{"X-Forwarded-For": "nonsense"})["client"] == "127.0.0.1"


def test_forwarded_headers_from_others_do_not_count_and_the_log_says_so_once(start: Start) -> None:
    wary = start().ready()
    for _ in range(3):
        seen = wary.seen(**FORWARDED)
        assert (seen["scheme"], seen["client"]) == ("http", "127.0.0.1")
    wary.stop()
    assert wary.log.read_text().count("server.trusted_proxies") == 1


def test_a_unix_socket_is_for_a_proxy_and_stays_to_nobody(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "service.yml"
    file.write_text("auth: {auth_type: basic, basic_auth: {accounts: [{username: a, password: geheim}]}}\n")
    path = tmp_path / "http.sock"
    arguments = ("-l", f"unix:{path}", "--config", str(file))
    first = start(*arguments)
    wait_for(lambda: "Ready at unix:" in first.log.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o660

    def client() -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n\r\n")
            return "".join(iter(lambda: connection.recv(65536).decode(), ""))

    assert '"client": "192.0.2.7"' in client()
    health = [str(BIN / "hpcwaas-api"), "health", "--data-dir", str(first.data)]
    asked = subprocess.run(health, capture_output=True, text=True, check=False, timeout=60)
    assert f"unix:{path} answers" in asked.stderr  # it was reached, and has no such page: it's a stub
    second = start("-l", f"unix:{path}", "--config", str(file), "--data-dir", str(tmp_path / "other"))
    assert second.process.wait(60) == 1
    assert "is in use" in second.log.read_text()
    first.process.kill()
    first.process.wait()
    assert path.is_socket()
    third = start(*arguments)
    wait_for(lambda: "Ready at unix:" in third.log.read_text())
    assert '"client": "192.0.2.7"' in client()
    third.stop()
    assert not path.exists()


def test_shared_mode_leaves_another_versions_database_alone_and_prints_no_token(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "service.yml"
    file.write_text("auth: {auth_type: basic, basic_auth: {accounts: [{username: a, password: geheim}]}}\n")
    arguments = ("-l", "127.0.0.1:0", "--config", str(file))
    data = tmp_path / "old"
    data.mkdir()
    with contextlib.closing(sqlite3.connect(data / "hpcwaas.db")) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('0000')")
    refused = start(*arguments, "--data_dir", str(data))
    assert refused.process.wait(60) == 1
    assert "hpcwaas-api db upgrade" in refused.log.read_text()

    service = start(*arguments, HWA_SERVER_WORKERS="2").ready()
    wait_for(lambda: len({service.seen()["pid"] for _ in range(20)}) == 2)
    assert service.stop()[0] == 0
    assert service.printed.read_text() == ""
    log = service.log.read_text()
    assert log.count("Ready at") == 1
    assert log.count("accounts[0].password is plain text. Replace it by: password_hash: '$argon2id$") == 1
    assert "geheim" not in log
    assert not service.profile.exists()


def test_hang_up_stops(start: Start) -> None:
    service = start().ready()
    assert service.stop(signal.SIGHUP)[0] == 0


def test_the_whole_service_in_local_mode(start: Start) -> None:
    service = start(stub=False).ready()
    token = yaml.safe_load(service.profile.read_text())["access_token"]
    assert requests.get(f"{service.url}/health/live", timeout=60).ok
    assert requests.get(f"{service.url}/ui/", timeout=60).ok
    assert requests.get(f"{service.url}/workflows", timeout=60).status_code == 401
    # Until the examples are read the list has what is known by then.
    known = {"Authorization": f"Bearer {token}"}
    wait_for(lambda: requests.get(f"{service.url}/workflows", headers=known, timeout=60).json()["workflows"] != [])
    code, seconds = service.stop()
    assert (code, seconds < 40) == (0, True)
    log = service.log.read_text()
    assert "Traceback" not in log
    assert token not in log


def test_the_application_under_a_server_of_the_operators_choice(tmp_path: Path) -> None:
    file = tmp_path / "service.yml"
    file.write_text(f"data_dir: {tmp_path}/data\n")
    program = [
        str(Path(sys.executable).with_name("gunicorn")),
        "-k",
        "uvicorn_worker.UvicornWorker",
        "--no-control-socket",
    ]
    command = [*program, "-b", "127.0.0.1:0", f"hpcwaas.server.asgi:application('{file}')"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def refused(**variables: str) -> str:
        done = subprocess.run(
            command, env=environ | variables, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode != 0
        return done.stderr

    assert "auth: is required here" in refused()
    file.write_text(
        file.read_text() + "auth: {auth_type: basic, basic_auth: {accounts: [{username: a, password: b}]}}\n"
    )
    assert "metrics.token: has no effect here" in refused(HWA_METRICS_TOKEN="a" * 16)
    upgrade = [str(Path(sys.executable).with_name("hpcwaas-api")), "--config", str(file), "db", "upgrade"]
    subprocess.run(upgrade, env=environ, check=True, timeout=60)
    log = tmp_path / "log"
    with log.open("wb") as stream, subprocess.Popen(command, env=environ, cwd=tmp_path, stderr=stream) as process:
        try:
            wait_for(lambda: "Listening at" in log.read_text())
            url = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
            assert url
            assert requests.get(f"{url[0]}/workflows", auth=("a", "b"), timeout=60).ok
        finally:
            process.terminate()
