"""`executions list --watch`, `wait`, `steps`, and the times of lists."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from waas_cli import display, watching
from waas_cli.errors import Unreachable

from tests.cli.test_follow import terminal

ENDS: list[tuple[str, list[tuple[str, str]]]] = [("RUNNING", []), ("RUNNING", []), ("SUCCEEDED", [])]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_SHORTEST_SECONDS", 0.01)
    monkeypatch.setattr(watching, "_LONGEST_SECONDS", 0.02)


@pytest.fixture
def moving(service: Any) -> Any:
    service.moves, service.page_size = True, 50
    return service


@pytest.mark.parametrize(
    ("ends", "code"),
    [(["SUCCEEDED", "SUCCEEDED"], 0), (["CANCELLED", "FAILED", "SUCCEEDED"], 3), (["SUCCEEDED", "CANCELLED"], 4)],
)
def test_wait_tells_how_each_ended(alice: Any, moving: Any, ends: list[str], code: int) -> None:
    ids = [moving.add(*[("RUNNING", [])] * (2 + n), (end, [])) for n, end in enumerate(ends)]
    result = alice("executions", "wait", *ids)
    assert result.code == code
    expected = [f"Execution ID: {name}, Status: {end}" for name, end in zip(ids, ends, strict=True)]
    assert result.out.splitlines() == expected


def test_wait_asks_once_for_all_and_not_for_those_that_have_ended(alice: Any, moving: Any) -> None:
    ids = [moving.add(*[("RUNNING", [])] * n, ("SUCCEEDED", [])) for n in range(2, 12)]
    assert alice("executions", "wait", *ids).code == 0
    asked = moving.sent("GET", "^/executions$")
    assert not [it for it in moving.sent("GET", "^/executions/(?!events)") if it.path[12:] != ids[-1]]
    assert set(asked[0].query["id"].split(",")) == set(ids)
    assert len(asked[-1].query["id"].split(",")) < len(ids)


def test_wait_finds_those_that_others_share(alice: Any, moving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own, shared = moving.add(("SUCCEEDED", [])), moving.add(("FAILED", []))
    monkeypatch.setattr(watching, "_MOST_IDS", 1)
    moving.old = True  # a service that knows no ids in its list
    result = alice("executions", "wait", own, shared, "-o", "json")
    assert (result.code, [each["status"] for each in result.json]) == (3, ["SUCCEEDED", "FAILED"])


def test_wait_for_what_is_not_there(alice: Any, moving: Any) -> None:
    known = moving.add(("RUNNING", []))
    assert alice("executions", "wait", known, "unknown").code == 5
    assert alice("executions", "wait").code == 2


def test_wait_in_lines_of_json(alice: Any, moving: Any) -> None:
    ids = [moving.add(*[("RUNNING", [])] * n, ("SUCCEEDED", [])) for n in (3, 2)]
    lines = alice("executions", "wait", *ids, "-o", "jsonl").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids[::-1]


def test_watch_in_a_pipe_prints_changes(alice: Any, moving: Any) -> None:
    first, second = moving.add(*ENDS), moving.add(("PENDING", []), *ENDS)
    result = alice("executions", "list", "--watch", "--columns", "id,status")
    assert result.code == 0
    told = [tuple(line.split("\t")) for line in result.out.splitlines()]
    assert [status for name, status in told if name == first] == ["RUNNING", "SUCCEEDED"]
    assert [status for name, status in told if name == second] == ["PENDING", "RUNNING", "SUCCEEDED"]


def test_watch_in_json_prints_objects(alice: Any, moving: Any) -> None:
    moving.add(*ENDS)
    lines = alice("executions", "list", "--watch", "-o", "json").out.splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["RUNNING", "SUCCEEDED"]


def test_watch_by_status_tells_how_it_went_on(alice: Any, moving: Any) -> None:
    execution = moving.add(*ENDS)
    out = alice("executions", "list", "--watch", "--status", "RUNNING", "--columns", "id,status").out
    assert out.splitlines() == [f"{execution}\tRUNNING", f"{execution}\tSUCCEEDED"]


def test_watch_asks_once_for_all_that_a_filter_shows_no_more(alice: Any, moving: Any) -> None:
    ids = {moving.add(("PENDING", []), *ENDS) for _ in range(5)}
    out = alice("executions", "list", "--watch", "--status", "PENDING", "--columns", "id,status").out
    assert {line.split("\t")[0] for line in out.splitlines() if line.endswith("SUCCEEDED")} == ids
    assert not moving.sent("GET", "^/executions/(?!events)")


def test_what_newer_ones_push_out_of_a_list_is_not_waited_for(alice: Any, moving: Any) -> None:
    moving.add(("RUNNING", []))
    moving.add(*ENDS)
    result = alice("executions", "list", "--watch", "--limit", "1", "--columns", "status")
    assert (result.code, result.out.splitlines()) == (0, ["RUNNING", "SUCCEEDED"])


def test_watch_of_nothing_ends(alice: Any) -> None:
    result = alice("executions", "list", "--watch")
    assert (result.code, result.err) == (0, "No executions found.\n")


def test_watch_at_a_terminal_draws_the_list_anew(alice: Any, moving: Any) -> None:
    moving.add(("RUNNING", []), ("SUCCEEDED", []))
    code, shown = terminal("executions", "list", "--watch")
    assert code == 0
    assert shown.count("Execution ID") == 2
    assert shown.index("RUNNING") < shown.index("\x1b[2J", 10) < shown.index("SUCCEEDED")


def test_it_is_asked_less_often_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pauses: list[float] = []
    found = [[{"id": "a", "status": "RUNNING"}]] * 12 + [[{"id": "a", "status": "FAILED"}]] * 2
    looks = watching.looks(None, iter(found).__next__, sleep=pauses.append)  # type: ignore[arg-type]
    for _ in found:
        next(looks)
    assert pauses[0] == pauses[12] == 2.0
    assert pauses[:12] == sorted(pauses[:12])
    assert max(pauses) == 30.0


def test_a_restart_of_the_service_is_outlasted() -> None:
    notes: list[str] = []
    state: Any = type("Told", (), {"note": lambda _, message: notes.append(message)})()
    answers: list[Any] = [[], Unreachable("It is down."), Unreachable("It is down."), []]

    def ask() -> list[dict[str, Any]]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    looks = watching.looks(state, ask, sleep=lambda _: None)
    next(looks)
    next(looks)
    assert [note.split(".")[0] for note in notes] == ["It is down", "The service answers again"]
    with pytest.raises(Unreachable):
        next(watching.looks(state, iter([[]]).__next__ if answers else _down, sleep=lambda _: None))


def _down() -> list[dict[str, Any]]:
    raise Unreachable("It is down.")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2026-11-23", "2026-11-23T00:00:00.000Z"),
        ("2026-11-23T09:25", "2026-11-23T09:25:00.000Z"),
        ("2026-11-23T09:25:41+02:00", "2026-11-23T07:25:41.000Z"),
    ],
)
def test_lists_of_a_time(alice: Any, service: Any, given: str, sent: str) -> None:
    assert alice("executions", "list", "--since", given, "--until", given).code == 0
    (request,) = service.sent("GET", "^/executions$")
    assert (request.query["created_after"], request.query["created_before"]) == (sent, sent)


def test_lists_since_some_time_ago(alice: Any, service: Any) -> None:
    assert alice("executions", "list", "--since", "2d").code == 0
    (request,) = service.sent("GET", "^/executions$")
    ago = datetime.now(UTC) - datetime.fromisoformat(request.query["created_after"])
    assert timedelta(days=2) <= ago < timedelta(days=2, minutes=5)


@pytest.mark.parametrize("wrong", ["yesterday", "2026-13-01", "3y", "999999w"])
def test_what_is_no_moment_is_refused(alice: Any, service: Any, wrong: str) -> None:
    result = alice("executions", "list", "--since", wrong)
    assert result.code == 2
    assert "isn't a moment" in result.err
    assert not service.requests


def test_steps(alice: Any, service: Any) -> None:
    steps = [
        {"name": "align", "status": "RUNNING", "job": {"id": "4711", "state": "PENDING"}},
        {"name": "merge", "status": "PENDING"},
    ]
    execution = service.add(("RUNNING", []), steps=steps)
    assert (
        alice("executions", "steps", execution).out == "align\tRUNNING\t\t4711\tPENDING\t\t\nmerge\tPENDING\t\t\t\t\t\n"
    )
    assert [each["name"] for each in alice("executions", "steps", execution, "-o", "json").json] == ["align", "merge"]
    assert alice("executions", "steps", service.add(("RUNNING", []))).err == "The execution has no steps.\n"


def scatter(total: int | None, done: int, **more: int) -> dict[str, Any]:
    return {"total": total, "done": done, "failed": 0, "skipped": 0, "running": 0} | more


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (scatter(500, 37), "37 of 500"),
        (scatter(500, 37, failed=2, skipped=1, running=8), "37 of 500, 2 failed, 1 skipped, 8 running"),
        (scatter(None, 37, running=1), "37 done, 1 running"),
        (scatter(0, 0), "0 of 0"),
        (None, ""),
    ],
)
def test_runs_of_a_scattered_step(alice: Any, service: Any, counts: Any, words: str) -> None:
    steps = [{"name": "align", "status": "RUNNING", "scatter": counts}, {"name": "merge", "status": "PENDING"}]
    execution = service.add(("RUNNING", []), ("RUNNING", []), ("SUCCEEDED", []), steps=steps)

    assert alice("executions", "steps", execution).out.splitlines()[0] == f"align\tRUNNING\t\t\t\t\t{words}"
    shown = alice("executions", "show", execution).out
    assert not words or words in shown
    said = alice("executions", "status", execution, "--follow").err.splitlines()[0]
    assert said == f"step align: RUNNING{f' ({words})' if words else ''}"


def test_runs_are_told_twice_a_minute_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    said: list[str] = []
    state: Any = SimpleNamespace(wants_json=False, note=said.append)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    reporter = display.Plain(state, status=True)

    for done in range(500):
        now += 0.5
        step = {"name": "align", "status": "RUNNING", "scatter": scatter(500, done)}
        reporter.execution({"id": "1", "status": "RUNNING", "steps": [step]})
    step = {"name": "align", "status": "SUCCEEDED", "scatter": scatter(500, 500)}
    reporter.execution({"id": "1", "status": "RUNNING", "steps": [step]})

    told = [0, *range(60, 500, 60)]
    assert said == [*(f"step align: RUNNING ({done} of 500)" for done in told), "step align: SUCCEEDED (500 of 500)"]
