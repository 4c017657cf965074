"""Following executions."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from waas_cli import config
from waas_cli.client import Client
from waas_cli.errors import Unreachable
from waas_cli.follow import Follower, Wanted
from waas_cli.text import clean

WAAS = [sys.executable, "-c", "from waas_cli.main import main; main()"]
ID = "00000001-0000-4000-8000-0123456789ab"
FRAMES = [
    ("PENDING", []),
    ("RUNNING", [("INFO", "line 0"), ("DEBUG", "line 1")]),
    ("RUNNING", []),
    ("RUNNING", [("WARN", "line 2"), ("WARN", "line 2")]),
    ("SUCCEEDED", [("INFO", "line 3")]),
]
LINES = ["line 0", "line 2", "line 2", "line 3"]


def ends(status: str) -> list[Any]:
    return [*FRAMES[:-1], (status, FRAMES[-1][1])]


def contents(out: str) -> list[str]:
    return [line.partition("] ")[2] for line in out.splitlines() if "] " in line]


@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), ("FAILED", 3), ("CANCELLED", 4)])
@pytest.mark.parametrize("old", [False, True])
def test_the_exit_code_tells_how_it_ended(alice: Any, service: Any, status: str, code: int, old: bool) -> None:
    service.old = old
    service.next_frames = ends(status)
    execution = service.add(*ends(status))
    followed = alice("executions", "status", execution, "-f")
    logged = alice("executions", "logs", service.add(*ends(status)), "-f")
    triggered = alice("workflows", "trigger", "word-statistics", "-f")
    assert [followed.code, logged.code, triggered.code] == [code] * 3
    word = "SUCCESS" if code == 0 else "ERROR"
    assert followed.out.splitlines() == [
        f"Execution: ID: {execution}, Status: PENDING",
        f"Execution ID: {execution}, Status: RUNNING",
        f"Execution ID: {execution}, Status: {status}",
        f"{word}: Execution ID: {execution}, Status: {status}",
    ]
    assert contents(logged.out) == LINES
    assert len(logged.out.splitlines()) == len(LINES)
    assert triggered.out.splitlines()[1].startswith("SUCCESS: Workflow triggered with execution ID: ")
    assert triggered.out.splitlines()[-1].endswith(f", Status: {status}")


@pytest.mark.parametrize("frame", [("FAILED", []), ("SUCCEEDED", [("INFO", "line 0")])])
@pytest.mark.parametrize("old", [False, True])
def test_what_is_over_already(alice: Any, service: Any, frame: Any, old: bool) -> None:
    service.old = old
    execution = service.add(frame)
    result = alice("executions", "logs", execution, "-f")
    assert result.code == (3 if frame[0] == "FAILED" else 0)
    assert len(result.out.splitlines()) == len(frame[1])


def test_reason_and_steps(alice: Any, service: Any) -> None:
    steps = [{"name": "count", "status": "FAILED"}, {"name": "merge", "status": "PENDING"}]
    execution = service.add(("RUNNING", []), ("FAILED", []), steps=steps, reason="step count: no such word")
    result = alice("executions", "status", execution, "--follow")
    assert result.err.splitlines() == [
        "step count: FAILED",
        "Reason: step count: no such word",
        f"To see its log: waas executions logs {execution}",
    ]


def test_the_end_says_how_to_fetch_the_outputs(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", []), ("SUCCEEDED", []), outputs={"total": 1})
    how = f"To download its outputs: waas executions outputs {execution} --download DIR"
    assert alice("executions", "status", execution, "-f").err.splitlines()[-1] == how
    assert how not in alice("executions", "status", execution, "-f", "-o", "json").err


def test_trigger_with_logs(alice: Any, service: Any) -> None:
    service.next_frames = FRAMES
    result = alice("workflows", "trigger", "word-statistics", "-l")
    assert (result.code, contents(result.out)) == (0, LINES)
    assert result.out.splitlines()[1] == f"SUCCESS: Workflow triggered with execution ID: {ID}"
    assert "Status: SUCCEEDED" in result.err


def test_debug_and_from(alice: Any, service: Any) -> None:
    assert contents(alice("executions", "logs", service.add(*FRAMES), "-fd").out)[:2] == ["line 0", "line 1"]
    assert contents(alice("executions", "logs", service.add(*FRAMES), "-f", "--from", "2").out) == LINES[2:]
    assert contents(alice("executions", "logs", service.add(*FRAMES), "-f", "--from", "9").out) == []


def test_json(alice: Any, service: Any) -> None:
    service.next_frames = ends("FAILED")
    result = alice("workflows", "trigger", "word-statistics", "-f", "-o", "json")
    assert (result.code, result.err) == (3, "")
    assert (result.json["id"], result.json["status"]) == (ID, "FAILED")
    result = alice("executions", "logs", service.add(*FRAMES), "-f", "-o", "json")
    assert [json.loads(line)["content"] for line in result.out.splitlines()] == LINES
    result = alice("workflows", "trigger", "word-statistics", "-l", "-o", "json")
    *entries, last = map(json.loads, result.out.splitlines())
    assert [entry["content"] for entry in entries] == LINES
    assert last["status"] == "FAILED"


def test_following_a_status_does_not_fetch_the_log(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", [("INFO", "x")] * 1000), ("RUNNING", [("INFO", "x")]), ("SUCCEEDED", []))
    assert alice("executions", "status", execution, "-f").code == 0
    assert {each.query["size"] for each in service.sent("GET", "/logs")} == {"1"}
    assert len(service.sent("GET", "/logs")) <= 4


def test_a_restart_of_the_service_is_survived(alice: Any, service: Any) -> None:
    execution = service.add(*FRAMES)
    service.trouble = [("GET", "/logs", "drop", {}), ("GET", "/logs", 503, {}), ("GET", "/logs", 429, {})]
    result = alice("executions", "logs", execution, "-f")
    assert (result.code, contents(result.out)) == (0, LINES)
    assert "Trying again" in result.err
    assert "answers again" in result.err


class Listener:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def execution(self, execution: dict[str, Any]) -> None:
        """Not looked at."""

    def entry(self, entry: dict[str, Any]) -> None:
        """Not looked at."""

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_patience_ends(service: Any, home: Any) -> None:
    execution = service.add(*FRAMES)
    service.trouble = [("GET", "/logs", 503, {"Retry-After": "7"})] + [("GET", "/logs", 503, {})] * 200
    now = [0.0]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    listener = Listener()
    found = config.load({"api_url": service.url, "user": "alice:alicepw"}, {})
    client = Client(found, note=listener.note, sleep=sleep)
    follower = Follower(client, execution, listener, Wanted(), sleep=sleep, clock=lambda: now[0])
    with pytest.raises(Unreachable):
        follower.run()
    assert 600 < now[0] < 620
    assert waits[0] == 7
    assert max(waits[1:]) == 10
    assert [note.partition("Trying again for ")[2] for note in listener.notes] == [
        f"{minutes} minutes." for minutes in (10, 8, 6, 4, 2)
    ]


def test_no_service_at_all_is_said_at_once(waas: Any) -> None:
    result = waas("executions", "logs", "x", "-f", "--api_url", "http://127.0.0.1:1", "-t", "t")
    assert (result.code, result.out) == (1, "")
    assert "http://127.0.0.1:1 (from the command line): connection refused" in result.err


def test_ctrl_c_stops_following_and_not_the_execution(alice: Any, service: Any) -> None:
    execution = service.add(*([("RUNNING", [("INFO", "line")])] * 100000))
    process = subprocess.Popen(
        [*WAAS, "executions", "logs", execution, "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("INFO: [")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"You stopped following the execution {execution}, which goes on." in err
    assert f"waas executions logs {execution} -f" in err
    assert "Traceback" not in err
    assert service.sent("DELETE", "/") == []


AT_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])"
)


@contextlib.contextmanager
def at_terminal(*arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Starts the command at a terminal of its own; gives our end of that."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "-c", AT_TERMINAL, *WAAS, *arguments]
    with subprocess.Popen(
        line, env=os.environ | variables, start_new_session=True, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            yield process, ours
        finally:
            os.close(ours)


def terminal(*arguments: str, columns: int = 100) -> tuple[int, str]:
    """Runs the command at a terminal; the exit code and all that appears on it."""
    shown = b""
    with at_terminal(*arguments, TERM="xterm", COLUMNS=str(columns), NO_COLOR="1") as (process, descriptor):
        while chunk := read(descriptor):
            shown += chunk
        return process.wait(60), shown.decode()


def test_at_a_terminal_the_steps_are_drawn(alice: Any, service: Any) -> None:
    steps = [
        {
            "name": "count",
            "status": "SUCCEEDED",
            "started_at": "2026-11-23T09:25:41Z",
            "ended_at": "2026-11-23T09:25:50Z",
        },
        {"name": "merge\x1b[2J", "status": "PENDING"},
    ]
    execution = service.add(*ends("FAILED"), steps=steps, reason="no such word")
    code, shown = terminal("executions", "logs", execution, "--follow")
    assert code == 3
    for text in (*LINES, "count", "9.0s", "PENDING", "Status: FAILED", "Reason: no such word"):
        assert text in shown
    assert "\x1b[2J" not in shown
    assert "\x1b[3" not in shown.replace("\x1b[?", "")


def test_at_a_terminal_tables_are_drawn(alice: Any, service: Any) -> None:
    code, shown = terminal("workflows", "list")
    assert code == 0
    assert "Workflow ID" in shown
    assert "AliceOnly@env-alice@exec_job" in shown
    assert "─" in shown
    assert terminal("workflows", "list", "-o", "json")[1].startswith("[\r\n  {")


def test_at_a_terminal_what_only_repeats_is_left_out(alice: Any, service: Any) -> None:
    members = ("id", "name", "application_id")
    service.workflows = [
        {**service.workflows[0], **dict.fromkeys(members, name), "environment_name": "env-pub", "label": f"My {name}"}
        for name in ("word-statistics", "slow-count")
    ]
    shown = terminal("workflows", "list")[1]
    assert [heading in shown for heading in ("Workflow ID", "Environment ID", "Label")] == [True] * 3
    assert [heading in shown for heading in ("Workflow Name", "Application", "Environment Name")] == [False] * 3


def test_at_a_terminal_tables_fit(alice: Any, service: Any) -> None:
    service.add(("SUCCEEDED", []), workflow="parameter-sweep-of-an-epidemic")
    shown = terminal("executions", "list", columns=80)[1]
    lines = [clean(line).rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[2].endswith("2.5s")
    for whole in ("Triggered", "2026-11-23", "SUCCEEDED", ID):
        assert whole in shown
    assert ID in terminal("executions", "list", columns=45)[1]


def test_at_a_terminal_an_answer_of_another_form_is_no_trace(alice: Any, service: Any) -> None:
    execution = service.add(*FRAMES)
    service.executions[execution].details = lambda: {"id": execution, "status": "RUNNING", "steps": [7]}
    code, shown = terminal("executions", "logs", execution, "--follow")
    assert code == 1
    assert "doesn't have the expected form" in shown
    assert "Traceback" not in shown


def test_at_a_terminal_the_password_is_asked_for(home: Any, service: Any) -> None:
    shown = b""
    with at_terminal("workflows", "list", "-u", "alice", "--api_url", service.url) as (process, descriptor):
        while b"Password of alice: " not in shown:
            shown += os.read(descriptor, 1000)
        os.write(descriptor, b"alicepw\n")
        while chunk := read(descriptor):
            shown += chunk
        assert process.wait(60) == 0
    assert b"alicepw" not in shown
    assert b"AliceOnly" in shown


def read(descriptor: int) -> bytes:
    """What a terminal shows next; nothing when nobody is there any more."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
