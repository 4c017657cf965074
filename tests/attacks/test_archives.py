"""One upload stops nobody: archives that are made to cost time and memory, or to write where they shouldn't, and bodies
that are made to take long to read."""

from __future__ import annotations

import gzip
import io
import tarfile
import threading
import time
from collections.abc import Iterator

import pytest

from tests.attacks.hostile_archives import HOSTILE, MIB, header, tar, zipped
from tests.e2e.processes import Service
from tests.service import PASSWORDS, Client, as_user

FOLDER = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'cd "$0" && find . | LC_ALL=C sort']
inputs:
  folder: {type: Directory, inputBinding: {position: 1}}
outputs: {list: stdout}
"""
QUICK = 50.0
"""Seconds in which a hostile archive is answered on a busy machine, CPU limit included."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With one worker process, which is all that there is to stop."""
    service = Service(
        tmp_path_factory.mktemp("archives"),
        HWA_LIMITS_REQUESTS="100000",
        HWA_CWL_LIMITS_DISK=str(64 * MIB),
        HWA_SERVER_WORKERS="1",
    )
    configuration = service.home / "service.yml"
    accounts = ", ".join(f'{{username: {name}, password: "{password}"}}' for name, password in PASSWORDS.items())
    configuration.write_text(f"auth: {{auth_type: basic, basic_auth: {{accounts: [{accounts}]}}}}\n")
    service.arguments = ["--config", configuration]
    assert service.command("db", "upgrade").returncode == 0
    service.publish("folder", FOLDER)
    yield service.start()
    service.end()


@pytest.fixture(scope="module")
def alice(service: Service) -> Client:
    return as_user(service.url, "alice")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_quickly(alice: Client, name: str) -> None:
    upload = alice.upload("data.zip", HOSTILE[name]())
    begin = time.monotonic()
    answer = alice("POST", "/workflows/folder", json={"inputs": {"folder": upload}})
    assert time.monotonic() - begin < QUICK
    assert answer.status_code == 400, answer.text
    [problem] = answer.json()["inputs"]
    assert problem["input"] == "folder"
    assert "It can't be: " in problem["detail"]
    assert "Traceback" not in problem["detail"]
    assert len(problem["detail"]) < 600


HONEST = {
    "many-members.tar.gz": lambda: gzip.compress(b"".join(header(f"d/{n}") for n in range(2_000)) + bytes(1024)),
    "other-attributes.tar": lambda: _pax({"SCHILY.xattr.user.note": "1" * 3000, "mtime": "1.5"}),
    "large.tar.gz": lambda: gzip.compress(tar("large", content=bytes(32 * MIB))),
    "prefix.zip": lambda: b"#!/bin/sh\n" + zipped("a", "b/c"),
    "empty.tar": lambda: bytes(10240),
    "plain.tar": lambda: tar("a", "b/c", "./d"),
}


def _pax(words: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.pax_headers = words
        archive.addfile(info)
    return stream.getvalue()


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_archive_is_taken(alice: Client, name: str) -> None:
    upload = alice.upload(name, HONEST[name]())
    execution = alice.finished(alice.trigger("folder", folder=upload))
    assert execution["status"] == "SUCCEEDED", execution


def test_what_only_unpacking_shows_is_a_reason(alice: Client) -> None:
    content = gzip.compress(tar("a", content=bytes(17 * MIB))[:-1024] + tar("../evil"))
    execution = alice.finished(alice.trigger("folder", folder=alice.upload("a.tgz", content)))
    assert execution["status"] == "FAILED"
    assert "can't be unpacked: '../evil' climbs out of the directory" in execution["reason"]


def test_others_are_answered_while_archives_are_looked_into(service: Service, alice: Client) -> None:
    """The dearest of them, again and again, from many clients of one user."""
    content = gzip.compress(header("d", b"5") * 30_000)
    bob = as_user(service.url, "bob")
    honest = bob.upload("honest.zip", zipped("a"))
    over = threading.Event()
    answers: list[int] = []

    def attack() -> None:
        while not over.is_set():
            upload = alice.upload("data.tgz", content)
            # A second mistake: nothing is started.
            answer = alice("POST", "/workflows/folder", json={"inputs": {"folder": upload, "no": 1}})
            answers.append(answer.status_code)

    attackers = [threading.Thread(target=attack) for _ in range(8)]
    for attacker in attackers:
        attacker.start()
    try:
        times = []
        for _ in range(10):
            begin = time.monotonic()
            assert bob("GET", "/workflows").status_code == 200
            times.append(time.monotonic() - begin)
            time.sleep(0.05)
        begin = time.monotonic()
        bob.trigger("folder", folder=honest)
        trigger = time.monotonic() - begin
    finally:
        over.set()
        for attacker in attackers:
            attacker.join()
    assert set(answers) <= {400, 429, 503}
    assert 400 in answers
    assert max(times) < 20
    assert trigger < 50


SIZE = 8 * MIB - 100
BODIES = {
    "numbers": "[" + "0," * (SIZE // 2 - 1) + "0]",
    "lists": "[" + "[]," * (SIZE // 3 - 1) + "0]",
    "floats": "[" + "1e5," * (SIZE // 4 - 1) + "0]",
    "texts": "[" + '"a",' * (SIZE // 4 - 1) + "0]",
    "texts-with-quotes": "[" + '"\\\\",' * (SIZE // 5 - 1) + "0]",
    "members": "{" + ",".join(f'"{number:x}":0' for number in range(SIZE // 10)) + "}",
    "digits": "1" * SIZE,
    "depth": "[" * (SIZE // 2) + "]" * (SIZE // 2),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_takes_long_to_read_is_refused_before(service: Service, alice: Client, name: str) -> None:
    body = '{"inputs": {"folder": ' + BODIES[name] + "}}"
    before = computed(service)
    answer = alice("POST", "/workflows/folder", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 413), answer.text
    assert "folder" not in answer.json().get("inputs", {})
    assert computed(service) - before < 3


def computed(service: Service) -> float:
    """Seconds of the processor that the service has had."""
    return sum(sum(process.cpu_times()[:2]) for process in service.processes("master", "worker"))
