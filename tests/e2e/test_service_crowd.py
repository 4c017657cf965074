"""Many requests at once: all are served, in order, and none twice."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.processes import Service
from tests.service import PASSWORDS, as_user

EACH = 50
AT_ONCE = 2


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    marks = tmp_path / "marks"  # executions are confined, and write here besides in what is theirs
    marks.mkdir()
    service = Service(tmp_path, HWA_CWL_MAX_RUNNING=str(AT_ONCE), HWA_CWL_WRITABLE=f"[{marks}]", HWA_SERVER_WORKERS="2")
    configuration = service.home / "service.yml"
    accounts = ", ".join(f'{{username: {name}, password: "{password}"}}' for name, password in PASSWORDS.items())
    configuration.write_text(f"auth: {{auth_type: basic, basic_auth: {{accounts: [{accounts}]}}}}\n")
    service.arguments = ["--config", configuration]
    assert service.command("db", "upgrade").returncode == 0
    yield service.start()
    service.end()


def test_a_hundred_triggers_at_once_and_uploads_meanwhile(service: Service, tmp_path: Path) -> None:
    begun = tmp_path / "marks" / "begun"
    users = {name: as_user(service.url, name) for name in ("alice", "bob")}

    def trigger(name: str, number: int) -> tuple[str, str, float, float]:
        sent = time.monotonic()
        path = users[name].trigger("script", script=f"echo {name}-{number} >> {begun}")
        return name, path, sent, time.monotonic()

    def upload(number: int) -> None:
        content = os.urandom(1 << 20)
        while (
            answer := users["bob"]("POST", "/files", params={"name": f"{number}.dat"}, data=content)
        ).status_code == 429:
            time.sleep(float(answer.headers["Retry-After"]))  # one user's share of the service is limited
        assert answer.status_code == 201, answer.text
        assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()

    with ThreadPoolExecutor(100) as triggers, ThreadPoolExecutor(64) as uploads:
        triggered = [triggers.submit(trigger, name, number) for number in range(EACH) for name in users]
        uploaded = [uploads.submit(upload, number) for number in range(64)]
        started = [future.result() for future in triggered]
        for future in uploaded:
            future.result()

    ended = {path: users[name].finished(path, within=100) for name, path, _, _ in started}
    assert {execution["status"] for execution in ended.values()} == {"SUCCEEDED"}
    assert Counter(begun.read_text().split()) == Counter(f"{name}-{number}" for name in users for number in range(EACH))
    place = {path: place for place, path in enumerate(sorted(ended, key=lambda path: ended[path]["started_at"]))}
    for _, earlier, _, answered in started:
        for _, later, sent, _ in started:
            if answered < sent:  # whoever had the answer before the other one asked
                assert place[earlier] < place[later] + AT_ONCE
    times = sorted((execution["started_at"], execution["ended_at"]) for execution in ended.values())
    for number, (begin, _) in enumerate(times):
        assert sum(other_begin <= begin < other_end for other_begin, other_end in times[:number]) < AT_ONCE
    for name, user in users.items():
        assert len(user("GET", "/executions", params={"limit": 1000}).json()["executions"]) == EACH, name
    assert len(users["bob"]("GET", "/files", params={"limit": 1000}).json()["files"]) == 64
    assert users["alice"]("GET", "/files").json()["files"] == []
    log = service.log.read_text()
    assert ' 503"' not in log  # the end of an access log entry's message
    assert "Traceback" not in log
