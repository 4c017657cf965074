"""`-o jsonl|yaml`, `--columns`, `--sort`, `--quiet`: the same for every list and object."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from waas_cli import plain_yaml
from waas_cli.literals import Literal
from waas_cli.shaping import ordered
from waas_cli.yaml_text import dump

LISTS = (["workflows"], ["executions", "list"], ["files", "list"], ["ssh_keys", "list"], ["sites", "list"])


@pytest.fixture
def ids(service: Any) -> list[str]:
    """Executions of several statuses, the newest last."""
    service.page_size = 50
    return [service.add((status, [])) for status in ("RUNNING", "SUCCEEDED", "FAILED")]


@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_every_list_has_all_forms(alice: Any, service: Any, ids: list[str], tmp_path: Any, command: list[str]) -> None:
    (tmp_path / "a.txt").touch()
    assert alice("files", "upload", str(tmp_path / "a.txt")).code == 0
    assert alice("ssh_keys", "key-gen").code == 0
    found = alice(*command, "-o", "json").json
    assert found
    assert yaml.safe_load(alice(*command, "-o", "yaml").out) == json.loads(json.dumps(found))
    assert [json.loads(line) for line in alice(*command, "-o", "jsonl").out.splitlines()] == found
    assert alice(*command, "--quiet").out.splitlines() == [item["id"] for item in found]
    assert alice(*command, "--columns", "id", "--sort", "-id").out.split("\n")[:-1] == sorted(
        (item["id"] for item in found), reverse=True
    )


@pytest.mark.parametrize(
    ("form", "expected"), [("json", "[]\n"), ("jsonl", ""), ("yaml", "[]\n"), ("text", "No executions found.\n")]
)
def test_an_empty_list(alice: Any, form: str, expected: str) -> None:
    result = alice("executions", "list", "-o", form, "--columns", "anything")
    assert (result.code, result.out + result.err) == (0, expected)


def test_columns_are_headings_or_members(alice: Any, ids: list[str]) -> None:
    assert alice("executions", "list", "--columns", "execution_id,Status,owner").out.splitlines()[0] == (
        f"{ids[2]}\tFAILED\talice"
    )
    found = alice("executions", "list", "--columns", "id,time", "-o", "json", "--sort", "id").json
    assert found[1] == {"id": ids[1], "time": "2.5s"}


@pytest.mark.parametrize("form", ["text", "json", "yaml"])
def test_an_unknown_column_is_refused_with_those_that_there_are(alice: Any, ids: list[str], form: str) -> None:
    result = alice("executions", "list", "--columns", "id,stat", "-o", form)
    assert (result.code, result.out) == (2, "")
    for words in ("no column", "stat", "workflow_id", "triggered"):
        assert words in result.err


def test_what_is_made_for_readers_is_no_order(alice: Any, ids: list[str]) -> None:
    result = alice("executions", "list", "--sort", "time")
    assert result.code == 2
    assert "can't be sorted by time" in result.err
    assert "created_at" in result.err


def test_sorting_is_by_value_and_what_has_none_is_last() -> None:
    items = [{"n": 10, "t": "b"}, {"n": None}, {"n": 9.5, "t": "a"}, {"n": 9.5, "t": "c"}]
    assert [item["n"] for item in ordered(items, ("n",), {})] == [9.5, 9.5, 10, None]
    assert [item["n"] for item in ordered(items, ("-n",), {})] == [10, 9.5, 9.5, None]
    assert [item.get("t") for item in ordered(items, ("n", "-t"), {})] == ["c", "a", "b", None]


def test_the_columns_of_an_object(alice: Any, ids: list[str]) -> None:
    assert alice("executions", "show", ids[0], "-o", "yaml", "--columns", "id,status").out == (
        f"id: {ids[0]}\nstatus: RUNNING\n"
    )


@pytest.mark.parametrize("option", [("--columns", "id"), ("--sort", "id")])
def test_what_shapes_no_list_says_so(alice: Any, ids: list[str], option: tuple[str, str]) -> None:
    result = alice("executions", "status", ids[0], *option)
    assert result.code == 0
    assert f"WARNING: {option[0]} has changed nothing" in result.err


def test_quiet_prints_ids_and_errors_only(alice: Any, service: Any, ids: list[str]) -> None:
    assert alice("executions", "status", ids[2], "--quiet").out == "FAILED\n"
    result = alice("executions", "cancel", ids[0], "--quiet")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert "no such thing" in alice("executions", "cancel", "unknown", "--quiet").err
    made = alice("ssh_keys", "key-gen", "--quiet")
    assert (made.out.strip(), made.err) == (next(iter(service.keys)), "")
    workflow = service.workflows[0]["id"]
    service.next_frames = [("RUNNING", []), ("SUCCEEDED", [("INFO", "line")])]
    followed = alice("workflows", "trigger", workflow, "--follow", "--quiet")
    assert (followed.code, followed.out, followed.err) == (0, f"{list(service.executions)[-1]}\n", "")
    assert alice("tokens", "create", "ci", "--scope", "executions:read", "--quiet").out.strip()


@pytest.mark.parametrize("form", ["json", "jsonl", "yaml"])
def test_errors_are_objects_in_all_forms_for_programs(alice: Any, form: str) -> None:
    assert alice("executions", "status", "unknown", "-o", form).error["exit_code"] == 5
    assert alice("executions", "nothing", "-o", form).error["exit_code"] == 2


def test_followed_entries_are_documents_of_yaml(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", [("INFO", "one")]), ("SUCCEEDED", [("INFO", "two")]))
    shown = alice("executions", "logs", execution, "--follow", "-o", "yaml").out
    assert [entry["content"] for entry in yaml.safe_load_all(shown)] == ["one", "two"]


@pytest.mark.parametrize(
    "value", ["1e5", "010", "0x1F", "0o7", "yes", "null", "2026-11-23", "a: b", "", " x", "1_000", "line\nline", "é"]
)
def test_text_stays_text_in_both_versions_of_yaml(value: str) -> None:
    for ascii_only in (True, False):
        written = dump({"key": [value]}, ascii_only=ascii_only)
        assert yaml.safe_load(written) == plain_yaml.load(written) == {"key": [value]}


@pytest.mark.parametrize("text", ["1.10", "1e5", "-2.5E-7", "-0"])
def test_numbers_of_yaml_keep_their_digits(text: str) -> None:
    written = dump([Literal(text)], ascii_only=False)
    assert yaml.safe_load(written) == plain_yaml.load(written) == [float(text)]
    assert "1.10" in written or text != "1.10"


def test_nothing_steers_the_terminal() -> None:
    assert "\x1b" not in dump({"a": "\x1b[2J\u202e"}, ascii_only=False).replace("\\e", "")
    assert dump({"a": "\u202e"}, ascii_only=True).isascii()
