"""A service that is broken, or means harm: an error in words, never a trace, a hang or a file in the wrong place."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st
from waas_cli import config
from waas_cli.client import Client
from waas_cli.display import Plain
from waas_cli.downloads import plan, safe_name
from waas_cli.follow import Follower, Wanted
from waas_cli.state import State
from waas_cli.text import duration, parse_time, show_time

URL = "http://service.test"
ID = "00000001-0000-4000-8000-0123456789ab"
COMMANDS = [
    "workflows list",
    "workflows show w",
    "workflows trigger w -i a=1 -f",
    "workflows trigger w --dry-run",
    "executions list --all -o json",
    "executions list",
    "executions status x",
    "executions status x -f",
    "executions show x",
    "executions logs x",
    "executions logs x -f",
    "executions outputs x",
    "executions outputs x -d {directory}",
    "executions cancel x",
    "files list",
    "files upload {file}",
    "ssh_keys list",
    "ssh_keys show x",
    "whoami",
    "login",
    "tokens list",
    "tokens create x --scope admin",
    "tokens revoke x",
    "executions shares x",
    "executions share x -u bob",
    "executions unshare x -u bob",
]
BODIES = [
    "null",
    "7",
    '"x"',
    "[null]",
    '{"workflows": 7, "executions": {"id": 7}, "files": [7], "ssh_keys": "x", "logs": 7}',
    '{"workflows": [null], "executions": [null], "files": [null], "ssh_keys": [null], "logs": [null], "id": "x"}',
    '{"id": 7, "status": [], "steps": 7, "inputs": 7, "outputs": [[]], "logs": [7], "total_results": "x", "over": 0}',
    '{"id": "x", "status": "FAILED", "steps": [7], "outputs": {"o": {"class": "File", "size": []}}, "inputs": 7}',
    "[" * 100_000,
    '{"a":' * 900 + "1" + "}" * 900,
    '{"id": ' + "9" * 5000 + "}",
]


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def mallory(waas: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HW_API_URL", URL)
    monkeypatch.setenv("HW_ACCESS_TOKEN", "t")
    return waas


def everything(answers: responses.RequestsMock, **answer: Any) -> None:
    import re

    for method in ("GET", "POST", "PUT", "DELETE"):
        answers.add(method, re.compile(".*"), **answer)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_answers_of_another_form(
    mallory: Any, answers: responses.RequestsMock, tmp_path: Path, command: str, body: str
) -> None:
    (tmp_path / "f").write_text("f")
    everything(answers, body=body, headers={"Location": f"/executions/{ID}"})
    result = mallory(*command.format(directory=tmp_path / "d", file=tmp_path / "f").split())
    assert result.code in (0, 1, 3, 5)
    assert "Traceback" not in result.err
    assert result.code == 0 or result.err


PROBLEMS = [
    {"errors": 7},
    {"errors": [7, {"detail": 7}, {"detail": None}]},
    {"detail": {"a": 1}, "request_id": []},
    {"detail": "x", "inputs": 7},
    {"detail": "x", "inputs": [7, {"input": 7, "detail": [], "given": {}}]},
    {"detail": "\ud800\x1b[2J"},
]


@pytest.mark.parametrize("status", [400, 401, 404, 409, 500])
@pytest.mark.parametrize("problem", PROBLEMS, ids=range(len(PROBLEMS)))
@pytest.mark.parametrize("output", ["text", "json"])
def test_problems_of_another_form(
    mallory: Any, answers: responses.RequestsMock, status: int, problem: Any, output: str
) -> None:
    everything(answers, status=status, json=problem)
    result = mallory("workflows", "show", "w", "-o", output)
    assert result.code == {400: 2, 401: 6, 404: 5}.get(status, 1)
    assert "Traceback" not in result.err
    assert "\x1b" not in result.err
    if output == "json":
        assert result.error["exit_code"] == result.code


def test_a_deep_problem(mallory: Any, answers: responses.RequestsMock) -> None:
    everything(answers, status=400, body='{"detail": "x", "a": ' + "[" * 50_000 + "]" * 50_000 + "}")
    assert mallory("workflows", "show", "w").err.startswith("Error: The service answered 400")


def test_the_trace_is_for_who_asks(mallory: Any, answers: responses.RequestsMock) -> None:
    everything(answers, body='{"id": "x"}')
    result = mallory("executions", "status", "x")
    assert result.err.startswith(
        "Error: The service's answer doesn't have the expected form.\nCheck that http://service.test is the address "
    )
    assert "--debug" in result.err
    traced = mallory("--debug", "executions", "status", "x")
    assert "KeyError: 'status'" in traced.err
    assert traced.err.endswith("Error: The service's answer doesn't have the expected form.\n")
    as_json = mallory("--debug", "executions", "status", "x", "-f", "-o", "json").err.splitlines()
    assert "KeyError: 'status'" in json.loads(as_json[-2])["note"]
    assert json.loads(as_json[-1])["exit_code"] == 1


def test_half_letters_are_printed(mallory: Any, answers: responses.RequestsMock) -> None:
    listed = {"workflows": [{"id": "a\ud800b", "name": "ü"}]}
    everything(answers, json=listed)
    assert mallory("workflows", "list").out.startswith("a?b\tü\t")
    assert mallory("workflows", "list", "-o", "json").json == listed["workflows"]


def test_a_terminal_without_the_letters(alice: Any, service: Any) -> None:
    service.workflows[0]["name"] = "größer 3 €"
    line = [sys.executable, "-c", "from waas_cli.main import main; main()", "workflows", "list"]
    for more, expected in (([], b"gr\xf6\xdfer 3 ?\t"), (["-o", "json"], b"gr\\u00f6\\u00dfer 3 \\u20ac")):
        environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
        done = subprocess.run([*line, *more], capture_output=True, env=environment, timeout=60, check=True)
        assert expected in done.stdout
        assert done.stderr == b""


@pytest.mark.parametrize("cursors", [["a"], ["a", "b"]])
@pytest.mark.parametrize("group", ["executions", "files"])
def test_lists_without_an_end(mallory: Any, answers: responses.RequestsMock, cursors: list[str], group: str) -> None:
    for _ in range(3):
        for cursor in cursors:
            answers.get(f"{URL}/{group}", json={group: [], "next_cursor": cursor})
    result = mallory(group, "list", "--all")
    assert (result.code, result.out) == (1, "")
    assert f"list of {group} doesn't end" in result.err
    assert len(answers.calls) == len(cursors) + 1


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "99999-01-01", 7, None, []]
)
def test_times_that_are_none(value: Any) -> None:
    assert parse_time(value) is None
    assert show_time(value) == ("" if value is None else str(value))
    assert duration(value, value) == ""


def in_json() -> State:
    state = State()
    state.given = {"output": "json"}
    return state


def test_a_long_wait_is_not_waited(alice: Any, service: Any) -> None:
    waits: list[float] = []
    execution = service.add(("RUNNING", []), ("SUCCEEDED", []))
    service.trouble = [("GET", "/logs", 503, {"Retry-After": "9" * 400})]
    client = Client(config.load({"api_url": service.url, "user": "alice:alicepw"}, {}), note=print)
    reporter = Plain(in_json(), status=False)
    Follower(client, execution, reporter, Wanted(), sleep=waits.append).run()
    assert waits[0] == 60.0


def test_a_service_that_does_not_wait_is_not_overrun(alice: Any, service: Any) -> None:
    waits: list[float] = []
    execution = service.add(*[("RUNNING", [])] * 20, ("SUCCEEDED", []))
    client = Client(config.load({"api_url": service.url, "user": "alice:alicepw"}, {}), note=print)
    reporter = Plain(in_json(), status=False)
    Follower(client, execution, reporter, Wanted(), sleep=waits.append).run()
    assert set(waits) == {0.1}
    assert len(waits) >= 18


def test_long_names_are_cut_at_once() -> None:
    started = time.monotonic()
    assert safe_name("é" * 3_000_000 + ".csv", "x").endswith("é.csv")
    assert len(safe_name("é" * 3_000_000, "x").encode()) <= 200
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("name", [".waas", ".ssh", "..", "...x", "a" * 300 + "." + "b" * 199])
def test_nothing_is_hidden(name: str) -> None:
    assert not safe_name(name, "output").startswith(".")


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_becomes_a_name(name: str) -> None:
    safe = safe_name(name, "output")
    assert 0 < len(os.fsencode(safe)) <= 201
    assert not safe.startswith(".")
    assert "/" not in safe


def test_many_files_of_one_name() -> None:
    outputs = {"o": [{"class": "File", "basename": "same.csv"}] * 20_000}
    targets = {item.target.name for item in plan(outputs, Path("/top"))}
    assert len(targets) == 20_000
    assert {"same.csv", "same-2.csv", "same-20000.csv"} <= targets


def test_an_output_is_not_the_next_configuration(alice: Any, service: Any, home: Path) -> None:
    service.contents = {"o": b"api_url: http://evil.example\n"}
    value = {"class": "File", "basename": ".waas", "location": f"/executions/{ID}/outputs/o"}
    execution = service.add(("SUCCEEDED", []), outputs={"o": value})
    assert alice("executions", "outputs", execution, "-d", str(home)).code == 0
    assert [each.name for each in home.iterdir()] == ["_.waas"]


def test_a_file_that_does_not_end(alice: Any, service: Any, tmp_path: Path) -> None:
    service.contents = {"o": b"x" * 10_000_000}
    value = {"class": "File", "basename": "o", "size": 10, "location": f"/executions/{ID}/outputs/o"}
    execution = service.add(("SUCCEEDED", []), outputs={"o": value})
    result = alice("executions", "outputs", execution, "-d", str(tmp_path / "d"))
    assert result.code == 1
    assert "o arrived damaged: it has 65536 bytes instead of 10" in result.err
    assert list((tmp_path / "d").iterdir()) == []


def member(name: str, kind: bytes = tarfile.REGTYPE, **attributes: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


SPARSE = {"GNU.sparse.major": "0", "GNU.sparse.map": "8000000000000,0", "GNU.sparse.size": "8000000000000"}
TRICKS = {
    "absolute": [member("/etc/cron.d/x")],
    "above": [member("../x")],
    "inside and above": [member("a/../../x")],
    "symbolic link": [member("a", tarfile.SYMTYPE, linkname="b")],
    "symbolic link elsewhere": [member("a", tarfile.SYMTYPE, linkname="/etc")],
    "through a link": [member("a", tarfile.SYMTYPE, linkname="."), member("a/../../x")],
    "hard link": [member("b"), member("a", tarfile.LNKTYPE, linkname="b")],
    "hard link elsewhere": [member("a", tarfile.LNKTYPE, linkname="../mine")],
    "device": [member("a", tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "pipe": [member("a", tarfile.FIFOTYPE)],
    "sparse": [member("a", pax_headers=SPARSE)],
    "unknown": [member("a", b"Z"), member("b", tarfile.BLKTYPE)],
}


@pytest.mark.parametrize("trick", TRICKS)
def test_archives_with_tricks(alice: Any, service: Any, tmp_path: Path, trick: str) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for each in TRICKS[trick]:
            archive.addfile(each)
    result = download(alice, service, tmp_path, raw.getvalue())
    assert (result.code, result.out) == (1, "")
    assert "folder arrived damaged: " in result.err


def download(alice: Any, service: Any, tmp_path: Path, content: bytes) -> Any:
    """Fetches a directory; whatever goes wrong, nothing of it stays, and what is there isn't touched."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine").write_text("mine")
    service.contents = {"o": content}
    value = {"class": "Directory", "basename": "folder", "location": f"/executions/{ID}/outputs/o"}
    execution = service.add(("SUCCEEDED", []), outputs={"o": value})
    result = alice("executions", "outputs", execution, "-d", str(tmp_path / "d"))
    assert [each.name for each in (tmp_path / "d").iterdir()] == ["mine"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["d", "home"]
    return result


def test_archives_that_are_packed_or_cut_off(
    alice: Any, service: Any, tmp_path: Path, tar: Callable[[dict[str, bytes]], bytes]
) -> None:
    import gzip

    whole = tar({"a": b"a" * 5000})
    for number, content in enumerate((gzip.compress(whole), whole[:2000], whole[:600], b"")):
        place = tmp_path / str(number)
        (place / "home").mkdir(parents=True)
        result = download(alice, service, place, content)
        assert (result.code, result.out) == (1, "")
        assert "folder arrived damaged" in result.err
