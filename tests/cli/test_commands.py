"""How all commands behave: help, names, options before and after, errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waas_cli import commands

HEAVY = {"requests", "rich", "yaml", "urllib3"}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_root_explains_itself(waas: Any, arguments: list[str]) -> None:
    result = waas(*arguments)
    assert result.code == 0
    assert result.err == ""
    for word in ("workflows", "executions", "ssh_keys", "completion", "--api_url", "HW_ACCESS_TOKEN", "Exit codes"):
        assert word in result.out
    assert "gen-doc" not in result.out


@pytest.mark.parametrize("group", ["executions", "execution", "exec", "e", "ssh_keys", "ssh-keys", "keys", "key", "k"])
def test_a_group_alone_explains_itself(waas: Any, group: str) -> None:
    assert waas(group).out == waas(group, "--help").out
    assert "Aliases" in waas(group).out


@pytest.mark.parametrize(
    "arguments",
    [
        "workflows trigger",
        "executions status",
        "executions logs",
        "executions cancel",
        "executions resume",
        "executions close",
        "executions share",
        "ssh_keys key-gen",
        "sites connect",
        "sites check",
        "login",
        "logout",
        "whoami",
        "tokens create",
        "completion",
    ],
)
def test_help_of_a_command(waas: Any, arguments: str) -> None:
    shown = waas(*arguments.split(), "--help")
    assert shown.code == 0
    assert shown.out == waas("help", *arguments.split()).out
    assert "Global options" in shown.out
    assert "Example" in shown.out or "Bash" in shown.out


def test_version(waas: Any) -> None:
    result = waas("--version")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("waas 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], '"waas" has no command "nope"'),
        (["workflow", "triger"], 'Did you mean "trigger"?'),
        (["help", "nope"], 'has no command "nope"'),
        (["--nope"], "--nope"),
        (["workflows", "trigger"], "WORKFLOW_ID"),
        (["executions", "status"], "EXECUTION_ID"),
        (["executions", "cancel"], "EXECUTION_ID"),
        (["workflows", "list", "x"], "unexpected extra argument"),
        (["completion", "tcsh"], "tcsh"),
        (["workflows", "list", "-o", "xml"], "The output format is one of text, json, jsonl, yaml, not 'xml'"),
        (["workflows", "trigger", "x", "-i", "novalue"], "expected NAME=VALUE"),
    ],
)
def test_usage_errors_are_on_stderr_only(waas: Any, arguments: list[str], message: str) -> None:
    result = waas(*arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert len(result.err.splitlines()) <= 3


@pytest.mark.parametrize("arguments", [["nope", "-o", "json"], ["-ojson", "--nope"], ["w", "trigger", "--output=json"]])
def test_usage_errors_in_json_are_an_object_on_stderr(waas: Any, arguments: list[str]) -> None:
    result = waas(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.error["exit_code"] == 2
    assert result.error["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        "-o json --api_url {url} -u alice:alicepw workflows list",
        "workflows -o json --api_url {url} list -u alice:alicepw",
        "workflows list --output json --api-url {url} --user alice:alicepw",
        "w l -o=json --api_url={url} -ualice:alicepw --skip_tls_verify=false",
        "wf ls -ojson --api_url {url} --access-token s3cret-token",
        "workflow --access_token wrong list -t s3cret-token -o text -o json --api_url {url}",
        "w -o json --api_url {url} -u alice:alicepw",
    ],
)
def test_options_stand_before_and_after_the_command(waas: Any, service: Any, arguments: str) -> None:
    result = waas(*arguments.format(url=service.url).split())
    assert (result.code, result.err) == (0, "")
    assert result.json == service.workflows


def test_an_own_option_hides_the_common_one(alice: Any, service: Any) -> None:
    execution = service.add(("RUNNING", [("DEBUG", "fine"), ("INFO", "print")]))
    assert "GET" not in alice("executions", "logs", execution, "--debug").err
    traced = alice("--debug", "executions", "logs", execution)
    assert "> GET" in traced.err
    assert "fine" not in traced.out


@pytest.mark.parametrize(
    "arguments", [["--help"], ["login", "--help"], ["workflows", "trigger", "--help"], ["--version"]]
)
def test_help_is_fast(home: Path, arguments: list[str]) -> None:
    """What costs time isn't imported."""
    code = (
        "import sys; from waas_cli.main import main\ntry: main()\nfinally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=60, env=os.environ
    )
    assert done.stdout
    assert not HEAVY.intersection(done.stderr.split())


def test_a_module_of_commands_is_a_command(waas: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hello.py").write_text(
        "import click\n"
        "from waas_cli.base import Command\n"
        "@click.command(cls=Command, name='hello', aliases=('hi',))\n"
        "def command() -> None:\n"
        "    'Say hello.'\n"
        "    click.echo('hello')\n"
    )
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    monkeypatch.setitem(sys.modules, "waas_cli.commands.hello", None)  # gone afterwards
    del sys.modules["waas_cli.commands.hello"]
    assert waas("hello").out == waas("hi").out == "hello\n"
    assert "Say hello." in waas("--help").out
    assert 'Did you mean "hello"?' in waas("helo").err


def test_the_reader_may_leave(alice: Any, service: Any) -> None:
    execution = service.add(("SUCCEEDED", [("INFO", "x" * 1000)] * 500))
    line = f"{sys.executable} -c 'from waas_cli.main import main; main()' executions logs {execution} | head -n 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("INFO: [")
