"""`waas executions`: status, log, list, show, cancel."""

from __future__ import annotations

from typing import Any

import pytest

STARTED, ENDED = "2026-11-23T09:25:41.000Z", "2026-11-23T09:25:43.000Z"
LOG = [("INFO", "line 0"), ("DEBUG", "line 1"), ("WARN", "line 2"), ("ERROR", "line 3")]


@pytest.mark.parametrize("word", ["status", "stat", "get", "g", "s"])
@pytest.mark.parametrize("status", ["RUNNING", "FAILED"])
def test_status(alice: Any, service: Any, word: str, status: str) -> None:
    execution = service.add((status, []))
    result = alice("executions", word, execution)
    assert (result.code, result.out, result.err) == (0, f"Execution: ID: {execution}, Status: {status}\n", "")


def test_status_in_json_is_the_execution(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", []))
    assert alice("exec", "status", execution, "-o", "json").json == service.executions[execution].details()
    service.old = True
    assert alice("exec", "status", execution, "-o", "json").json == {"id": execution, "status": "RUNNING"}


@pytest.mark.parametrize("command", ["status", "show", "logs", "outputs", "cancel"])
@pytest.mark.parametrize("output", ["text", "json"])
def test_unknown_execution(alice: Any, command: str, output: str) -> None:
    result = alice("executions", command, "unknown-id", "-o", output)
    assert result.code == 5
    assert result.out == ("" if output == "json" or command != "cancel" else "Cancelling executions\n")
    assert "There is no such thing." in result.err


def test_an_older_service_says_unknown_in_its_own_way(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", []))
    service.old = True
    service.executions[execution].id = ""
    assert alice("executions", "status", execution).code == 5


@pytest.mark.parametrize("word", ["logs", "log", "l"])
def test_logs(alice: Any, service: Any, word: str) -> None:
    execution = service.add(("RUNNING", LOG))
    result = alice("e", word, execution)
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "INFO: [2026-11-23 09:12:34.658 +0000 UTC] line 0\n"
        "WARN: [2026-11-23 09:12:36.658 +0000 UTC] line 2\n"
        "ERROR: [2026-11-23 09:12:37.658 +0000 UTC] line 3\n"
    )


def test_logs_with_debug_and_from(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", LOG))
    assert alice("executions", "logs", execution, "-d").out.splitlines()[1].startswith("DEBUG: [")
    assert alice("executions", "logs", execution, "--from", "2").out.splitlines()[0].startswith("ERROR: [")
    assert alice("executions", "logs", execution, "--from", "-2").code == 2


def test_logs_in_json_is_the_answer(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", LOG))
    page = alice("executions", "logs", execution, "--from", "2", "-o", "json").json
    assert [entry["content"] for entry in page["logs"]] == ["line 3"]
    assert (page["total_results"], page["from"]) == (3, 2)


def test_log_entries_cannot_steer_a_terminal(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", [("INFO", "\x1b[2Ja\rb\x07\tc\u202e")]))
    assert alice("executions", "logs", execution).out.endswith("] ab\tc\n")


def test_list(alice: Any, service: Any) -> None:
    assert alice("executions", "list").err == "No executions found.\n"
    assert alice("executions", "list", "-o", "json").out == "[]\n"
    ids = [service.add((status, [])) for status in ("RUNNING", "SUCCEEDED", "RUNNING", "FAILED", "RUNNING")]
    lines = [line.split("\t") for line in alice("executions", "list").out.splitlines()]
    assert [line[0] for line in lines] == ids[:-3:-1]
    assert lines[1][1:] == ["FAILED", "Public@env-pub@exec_job", "2026-11-23 09:25:41Z", "2.5s", "local"]


def test_list_all_pages_with_filters(alice: Any, service: Any) -> None:
    ids = [service.add((status, [])) for status in ("RUNNING", "SUCCEEDED", "RUNNING", "FAILED", "RUNNING")]
    words = ["executions", "ls", "--all", "--status", "running", "--status", "FAILED", "--workflow", "w"]
    found = alice(*words, "-o", "json").json
    assert [each["id"] for each in found] == [ids[4], ids[3], ids[2], ids[0]]
    assert service.requests[-1].query["workflow"] == "w"
    assert alice("executions", "list", "--status", "nope").code == 2


def test_show(alice: Any, service: Any) -> None:
    step = {
        "name": "count",
        "status": "FAILED",
        "started_at": "2026-11-23T09:25:41Z",
        "ended_at": "2026-11-23T09:27:42Z",
    }
    file = {"class": "File", "basename": "table.csv", "size": 1322, "location": "/x"}
    execution = service.add(
        ("FAILED", []), steps=[step], reason="step count: no such word", inputs={"top": 5}, outputs={"t": file, "n": 3}
    )
    out = alice("executions", "show", execution).out
    for line in (
        "Status:    FAILED",
        "Reason:    step count: no such word",
        "Time:      2.5s",
        "top\t5",
        "count\tFAILED\t2m01s",
        "t\tFile\ttable.csv\t1.3 kB",
        "n\tint\t3\t",
    ):
        assert line in out.splitlines()


def test_show_attempts_and_who_closed_it(alice: Any, service: Any) -> None:
    first = {"number": 1, "status": "FAILED", "started_at": STARTED, "ended_at": ENDED, "reason": "no such word"}
    second = {"number": 2, "status": "CANCELLED", "started_at": ENDED, "ended_at": ENDED, "reason": None}
    execution = service.add(
        ("CANCELLED", []),
        more={
            "attempts": [first, second],
            "closed": {"by": "root", "at": ENDED, "reason": "gone"},
            "stale_since": ENDED,
        },
    )
    result = alice("executions", "show", execution)
    assert "Closed:    2026-11-23 09:25:43Z by root: gone" in result.out
    assert "1\tFAILED\t2026-11-23 09:25:41Z\t2.0s\tno such word" in result.out
    assert "2\tCANCELLED\t2026-11-23 09:25:43Z" in result.out
    assert "hasn't answered since 2026-11-23 09:25:43Z" in result.err


def test_close(alice: Any, service: Any) -> None:
    execution = service.add(("UNKNOWN", []))
    assert alice("executions", "close", execution).code == 2
    result = alice("executions", "close", execution, "--reason", "gone")
    assert (result.code, result.out) == (0, f'SUCCESS: Closed execution "{execution}"\n')
    assert service.requests[-1].json == {"reason": "gone"}


@pytest.mark.parametrize("word", ["cancel", "delete", "del", "d", "c"])
def test_cancel(alice: Any, service: Any, word: str) -> None:
    first, second = service.add(("RUNNING", [])), service.add(("RUNNING", []))
    result = alice("executions", word, first, second)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "Cancelling executions",
        f'SUCCESS: Cancelled execution "{first}"',
        f'SUCCESS: Cancelled execution "{second}"',
        "SUCCESS: Successfully cancelled 2 executions...",
    ]


def test_delete(alice: Any, service: Any) -> None:
    ended, running = service.add(("SUCCEEDED", [])), service.add(("RUNNING", []))
    result = alice("executions", "delete", "--yes", ended, running)
    assert result.code == 1
    assert result.out == f'SUCCESS: Deleted execution "{ended}"\n'
    assert "Cancel it first" in result.err
    assert [*service.executions] == [running]
    assert not service.executions[running].cancelled


def test_an_older_service_is_not_asked_to_delete_since_it_would_cancel(alice: Any, service: Any) -> None:
    execution = service.add(("SUCCEEDED", []))
    service.old = True
    result = alice("executions", "delete", "--yes", execution)
    assert (result.code, service.executions[execution].cancelled) == (1, False)
    assert "can't delete executions" in result.err


def test_cancel_says_what_goes_on(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", []), reason=r"A \"job\" goes on.")
    result = alice("executions", "cancel", execution)
    assert (result.code, result.err) == (0, f'WARNING: {execution}: A "job" goes on.\n')


def test_resume(alice: Any, service: Any) -> None:
    failed, running = service.add(("FAILED", [])), service.add(("RUNNING", []))
    result = alice("executions", "resume", failed, running)
    assert result.code == 1
    assert f'SUCCESS: Resumed execution "{failed}"' in result.out
    assert f"{running}: The execution is RUNNING." in result.err
    assert service.executions[failed].status == "RUNNING"


def test_cancel_goes_on_after_a_failure(alice: Any, service: Any) -> None:
    first, second = service.add(("RUNNING", [])), service.add(("RUNNING", []))
    result = alice("executions", "cancel", first, "unknown-id", second)
    assert result.code == 5
    assert service.executions[second].cancelled
    assert 'SUCCESS: Cancelled execution "' in result.out
    assert "ERROR" not in result.out
    assert result.err.splitlines() == [
        'ERROR: Failed to cancel execution "unknown-id"...',
        "Error: unknown-id: There is no such thing.",
        "To see what there is, run: waas executions list",
    ]


def test_cancel_in_json(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", []))
    assert alice("executions", "cancel", execution, "-o", "json").out == ""
    result = alice("executions", "cancel", execution, "unknown-id", "-o", "json")
    assert (result.code, result.out) == (5, "")
    assert "unknown-id" in result.error["error"]


def test_cancel_survives_a_lost_connection(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", []))
    service.trouble = [("DELETE", "/executions/", "drop", {})]
    assert alice("executions", "cancel", execution).code == 0


def test_wrong_password(waas: Any, service: Any) -> None:
    for words in (["workflows", "list"], ["executions", "cancel", "x", "y"], ["executions", "logs", "x"]):
        result = waas(*words, "-u", "alice:bad", "--api_url", service.url)
        assert result.code == 6
        assert "Credentials are missing or wrong" in result.err
        assert "HW_ACCESS_TOKEN" in result.err
        assert "bad" not in result.err.replace("bad_request", "")
    assert len(service.requests) == 3
    result = waas("workflows", "list", "-o", "json", "--api_url", service.url)
    assert (result.code, result.out, result.error["exit_code"]) == (6, "", 6)
    assert "--user NAME" in result.error["hint"]
