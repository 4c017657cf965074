"""`waas sites`, `--site`, and what is shown of executions on sites."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.places import BAD, NOW
from tests.cli.test_follow import at_terminal, read, terminal
from tests.cli.wire import problem

KEY = "9f1d1c36-0"
LINE = "restrict=true ssh-ed25519 AAAAC3Nza 9f1d1c36"
TEXT = "texts:=[]"
JOB = {"id": "48213", "state": "PENDING", "reason": "Priority", "node": None, "name": "align", "submitted_at": NOW}
STEPS = [
    {"name": "split", "status": "SUCCEEDED", "job": {**JOB, "id": "48212", "state": "COMPLETED", "node": "n042"}},
    {"name": "align", "status": "RUNNING", "job": JOB},
    {"name": "merge", "status": "PENDING"},
]
WAITS = "step 2 of 3 (align): Slurm job 48213 waits, reason Priority"


def test_list(alice: Any, service: Any) -> None:
    assert alice("sites", "list").out.splitlines() == [
        "local\tThis machine\tavailable\tnone\tnot needed\t",
        "mare\tMareNostrum 5\tavailable\tslurm\tnone\t",
    ]
    alice("sites", "connect", "mare", "--user", "u1234")
    assert alice("site", "ls").out.splitlines()[1].endswith("\tu1234\tusable")
    found = alice("sites", "list", "-o", "json").json
    assert [each["id"] for each in found] == ["local", "mare"]
    service.sites.sites.clear()
    assert alice("sites", "list").err == "No sites found.\n"


def test_show(alice: Any, service: Any) -> None:
    service.sites.sites["mare"] |= {"state": "maintenance", "maintenance": "new racks until Monday"}
    alice("sites", "connect", "mare", "--user", "u1234")
    lines = alice("sites", "show", "mare").out.splitlines()
    for line in (
        "Site:      mare",
        "Host:      login.example.org:2222",
        "State:     maintenance",
        "Because:   new racks until Monday",
        "Account:   u1234",
        f"SSH key:   {KEY}",
        "Check:     usable 2026-11-23 09:25:41Z",
    ):
        assert line in lines
    assert alice("sites", "show", "mare", "-o", "json").json["account"]["user"] == "u1234"
    assert "Account:   not needed" in alice("sites", "show", "local").out


def test_connect_makes_a_key_and_says_how_to_install_it(alice: Any, service: Any) -> None:
    result = alice("sites", "connect", "mare", "--user", "u1234")
    assert result.code == 0
    assert result.out.splitlines() == [
        LINE,
        "Name\tok\tlogin.example.org is 192.0.2.7.",
        "Key\tok\tThe key is accepted.",
    ]
    assert service.keys[KEY]["name"] == "mare"
    assert (service.sites.accounts["mare"]["user"], service.sites.accounts["mare"]["ssh_key"]) == ("u1234", KEY)
    assert f'"$(waas ssh_keys show {KEY} --restrict)" | ssh -p 2222 u1234@login.example.org ' in result.err
    assert result.err.splitlines()[-1] == "SUCCESS: Workflows can run on mare as u1234."


def test_the_printed_command_adds_the_line(alice: Any, home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh/authorized_keys").write_text("a line without its end")
    result = alice("sites", "connect", "mare", "--user", "u1234")
    (command,) = [line for line in result.err.splitlines() if line.startswith("  mkdir")]
    for _ in range(2):
        subprocess.run(command, shell=True, check=True, timeout=30)  # noqa: S602
    assert (home / ".ssh/authorized_keys").read_text().split("\n") == ["a line without its end", LINE, "", LINE, ""]


def test_connect_tells_by_its_exit_code_whether_the_account_can_be_used(alice: Any, service: Any) -> None:
    service.sites.points = BAD
    result = alice("sites", "connect", "mare", "--user", "u1234")
    assert (result.code, result.out.splitlines()[0]) == (1, LINE)
    assert "Key (failed): Add its line to authorized_keys." in result.err
    result = alice("sites", "connect", "mare", "-o", "json")
    assert (result.code, result.err) == (1, "")
    assert (result.json["authorized_keys"], result.json["account"]["user"]) == (LINE, "u1234")
    assert result.json["check"]["points"] == BAD


def test_connecting_again_keeps_what_is_not_named(alice: Any, service: Any) -> None:
    assert alice("sites", "connect", "mare").code == 2
    alice("sites", "connect", "mare", "--user", "u1234")
    alice("sites", "connect", "mare", "--user", "u5678")
    assert (service.sites.accounts["mare"]["user"], list(service.keys)) == ("u5678", [KEY])
    alice("ssh_keys", "key-gen")
    alice("sites", "connect", "mare", "--key", "9f1d1c36-1")
    account = service.sites.accounts["mare"]
    assert (account["user"], account["ssh_key"], len(service.keys)) == ("u5678", "9f1d1c36-1", 2)


def test_a_new_key_replaces_one_that_was_deleted(alice: Any, service: Any) -> None:
    alice("sites", "connect", "mare", "--user", "u1234")
    service.keys.clear()
    result = alice("sites", "connect", "mare")
    assert (result.code, service.sites.accounts["mare"]["ssh_key"]) == (0, "9f1d1c36-1")
    assert f"The key {KEY}, which opened the account so far, has been deleted." in result.err


def test_a_named_key_has_to_exist(alice: Any, service: Any) -> None:
    result = alice("sites", "connect", "mare", "--user", "u1234", "--key", "nope")
    assert (result.code, service.keys, service.sites.accounts) == (5, {}, {})


def test_a_refused_account_leaves_no_key_behind(alice: Any, service: Any) -> None:
    service.sites.refuse_account = problem(400, "bad_request", "user: expected a login name.")
    result = alice("sites", "connect", "mare", "--user", "a b")
    assert (result.code, service.keys) == (2, {})
    assert "expected a login name" in result.err


def test_an_unknown_end_keeps_the_key_and_names_it(alice: Any, service: Any) -> None:
    service.sites.refuse_account = problem(500, "internal_server_error", "Out of order.")
    result = alice("sites", "connect", "mare", "--user", "u1234")
    assert (result.code, list(service.keys)) == (1, [KEY])
    assert f"--key {KEY}" in result.err


def test_sites_without_keys_or_accounts(alice: Any, service: Any) -> None:
    result = alice("sites", "connect", "local", "--user", "u1234")
    assert (result.code, "Nobody needs an account on local" in result.err) == (2, True)
    service.sites.sites["mare"] |= {"keyless": True, "login": "a.smith"}
    assert alice("sites", "connect", "mare", "--key", "x").code == 2
    result = alice("sites", "connect", "mare")
    assert (result.code, service.keys) == (0, {})
    assert result.out.splitlines()[0] == "Name\tok\tlogin.example.org is 192.0.2.7."
    assert "The service signs certificates for a.smith on mare" in result.err
    assert alice("sites", "connect", "mare", "-o", "json").json["authorized_keys"] is None


def connect_at_a_terminal(answer: bytes) -> tuple[int, str]:
    """Exit code of the command and what it shows; the answer is typed when it asks."""
    shown = b""
    with at_terminal("sites", "connect", "mare", "--user", "u1234") as (process, descriptor):
        while b"Press Enter" not in shown:
            shown += os.read(descriptor, 1000)
        os.write(descriptor, answer)
        while chunk := read(descriptor):
            shown += chunk
        return process.wait(60), shown.decode()


def test_at_a_terminal_it_waits_until_the_line_is_installed(alice: Any, service: Any) -> None:
    code, shown = connect_at_a_terminal(b"\n")
    assert code == 0
    assert shown.index(LINE) < shown.index("Press Enter") < shown.index("The key is accepted.")
    code, shown = terminal("sites", "connect", "mare")
    assert (code, "Press Enter" in shown) == (0, False)


def test_at_a_terminal_the_check_can_be_left_for_later(alice: Any, service: Any) -> None:
    code, shown = connect_at_a_terminal(b"\x04")  # as Ctrl-C would, but without its race
    assert code == 130
    assert "waas sites check mare" in shown
    assert service.sent("POST", "/check") == []
    assert service.sites.accounts["mare"]["user"] == "u1234"


def test_check(alice: Any, service: Any) -> None:
    alice("sites", "connect", "mare", "--user", "u1234")
    assert alice("sites", "check", "mare").code == 0
    service.sites.points = BAD
    result = alice("sites", "check", "mare")
    assert result.code == 1
    assert result.out.splitlines() == [
        "Name\tok\tlogin.example.org is 192.0.2.7.",
        "Key\tfailed\tThe key was refused.",
        "Login is quiet\tskipped\tNot looked at.",
    ]
    assert result.err.splitlines() == [
        "Key (failed): Add its line to authorized_keys.",
        "ERROR: Workflows can't run on mare as u1234 until what failed is put right.",
    ]
    result = alice("sites", "check", "mare", "-o", "json")
    assert (result.code, result.err, result.json["usable"], result.json["points"]) == (1, "", False, BAD)


@pytest.mark.parametrize("word", ["check", "disconnect"])
def test_without_an_account(alice: Any, word: str) -> None:
    result = alice("sites", word, "mare")
    assert result.code == 5
    assert "waas sites connect mare --user NAME" in result.err


def test_disconnect(alice: Any, service: Any) -> None:
    alice("sites", "connect", "mare", "--user", "u1234")
    result = alice("sites", "disconnect", "mare")
    assert (result.code, result.out) == (0, 'SUCCESS: Disconnected the account "u1234" from "mare"\n')
    assert f"waas ssh_keys delete {KEY}" in result.err
    assert (service.sites.accounts, list(service.keys)) == ({}, [KEY])


@pytest.mark.parametrize("words", [["list"], ["show", "mare"], ["connect", "mare", "--user", "x"], ["check", "mare"]])
def test_an_older_service_has_no_sites(alice: Any, service: Any, words: list[str]) -> None:
    service.old = True
    result = alice("sites", *words)
    assert (result.code, "too old to have sites" in result.err) == (1, True)


def test_unknown_site(alice: Any) -> None:
    result = alice("sites", "show", "nope")
    assert result.code == 5
    assert "waas sites list" in result.err


@pytest.mark.parametrize("word", ["check", "disconnect"])
def test_nobody_is_told_to_connect_to_a_site_that_there_is_not(alice: Any, word: str) -> None:
    result = alice("sites", word, "nope")
    assert (result.code, "waas sites list" in result.err, "sites connect" in result.err) == (5, True, False)


def test_trigger_on_a_site(alice: Any, service: Any) -> None:
    assert alice("workflows", "trigger", "word-statistics", "-i", TEXT, "--site", "mare").code == 0
    assert service.requests[-1].json == {"inputs": {"texts": []}, "site": "mare"}
    assert alice("workflows", "trigger", "word-statistics", "-i", TEXT).code == 0
    assert "site" not in service.requests[-1].json
    service.sites.sites["mare"] |= {"state": "silent", "silent_since": NOW}
    result = alice("workflows", "trigger", "word-statistics", "-i", TEXT, "--site", "mare")
    assert (result.code, service.requests[-1].json["site"]) == (0, "mare")
    assert "mare hasn't answered since 2026-11-23 09:25:41Z." in result.err


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_trigger_refuses_a_site_before_it_uploads(alice: Any, service: Any, tmp_path: Any, more: list[str]) -> None:
    (tmp_path / "a.txt").write_text("a")
    words = ["workflows", "trigger", "word-statistics", "-i", f"texts=@{tmp_path}/a.txt", *more, "--site"]
    assert alice(*words, "nope").code == 5
    service.sites.sites["mare"] |= {"state": "maintenance", "maintenance": "New racks until Monday."}
    result = alice(*words, "mare")
    assert result.code == 1
    assert "mare is in maintenance, so nothing can be started there: New racks until Monday." in result.err
    service.old = True
    assert alice(*words, "mare").code == 1
    assert service.sent("POST", "/") == []


def test_trigger_says_how_to_choose_among_sites(alice: Any, service: Any) -> None:
    service.sites.refuse_trigger = problem(400, "bad_request", "`site` is missing: expected one of `mare`, `leo`.")
    result = alice("workflows", "trigger", "word-statistics", "-i", TEXT)
    assert result.code == 2
    assert result.err.splitlines() == [
        "Error: `site` is missing: expected one of `mare`, `leo`.",
        "Choose one with --site SITE. To see them: waas sites list",
    ]


def test_dry_run_shows_the_check(alice: Any, service: Any) -> None:
    alice("sites", "connect", "mare", "--user", "u1234")
    words = ["workflows", "trigger", "word-statistics", "-i", TEXT, "--dry-run"]
    result = alice(*words, "--site", "mare")
    assert result.code == 0
    assert result.out.splitlines()[:2] == [
        "SUCCESS: The inputs are right. It would run on mare. Nothing was started.",
        "Name\tok\tlogin.example.org is 192.0.2.7.",
    ]
    service.sites.points = BAD
    assert alice(*words, "--site", "mare").code == 1
    result = alice(*words, "--site", "mare", "-o", "json")
    assert (result.code, result.json["check"]["usable"]) == (1, False)
    assert alice(*words).out == "SUCCESS: The inputs are right. Nothing was started.\n"


def test_an_execution_shows_where_it_runs_and_its_jobs(alice: Any, service: Any) -> None:
    more = {"account": "u1234", "directory": "/home/u1234/.hpcwaas/executions/1"}
    execution = service.add(("RUNNING", []), site="mare", steps=STEPS, more=more, waits_for={0: WAITS})
    lines = alice("executions", "show", execution).out.splitlines()
    for line in (
        f"Reason:    {WAITS}",
        "Site:      mare",
        "Account:   u1234",
        "Directory: /home/u1234/.hpcwaas/executions/1",
        "split\tSUCCEEDED\t",
        "split\t48212\tCOMPLETED\tPriority\tn042\t",
        "align\t48213\tPENDING\tPriority\t\t",
    ):
        assert line in lines
    assert alice("executions", "list").out.endswith("\tmare\n")
    result = alice("executions", "status", execution)
    assert (result.out, result.err) == (f"Execution: ID: {execution}, Status: RUNNING\n", f"{WAITS}\n")
    assert alice("executions", "show", execution, "-o", "json").json["steps"][1]["job"] == JOB
    code, shown = terminal("executions", "show", execution)
    assert code == 0
    for text in ("48213", "PENDING", "Priority", "n042", "u1234"):
        assert text in shown


def test_a_change_of_the_reason_is_told_once(alice: Any, service: Any) -> None:
    silent = "the login node hasn't answered for {} minutes; the jobs go on"
    frames = [("RUNNING", [("INFO", f"line {number}")]) for number in range(6)]
    execution = service.add(
        *frames,
        ("SUCCEEDED", []),
        steps=STEPS,
        waits_for={0: WAITS, 1: WAITS, 2: silent.format(4), 3: silent.format(5), 5: WAITS},
    )
    told = [WAITS, silent.format(4), WAITS]
    result = alice("executions", "status", execution, "--follow")
    assert [line for line in result.err.splitlines() if line in told or "answered" in line] == told
    assert "step align: RUNNING (job 48213 PENDING (Priority))" in result.err
    assert "answered" not in alice("executions", "status", execution, "--follow", "-o", "json").err


def test_at_a_terminal_the_picture_shows_reason_and_jobs(alice: Any, service: Any) -> None:
    execution = service.add(
        ("RUNNING", []), ("RUNNING", []), ("FAILED", []), steps=STEPS, waits_for={0: WAITS, 1: WAITS}
    )
    code, shown = terminal("executions", "status", execution, "--follow")
    assert code == 3
    for text in (WAITS, "job 48213 PENDING (Priority)", "job 48212 COMPLETED (Priority) on n042"):
        assert text in shown


def test_a_workflow_shows_its_sites(alice: Any, service: Any) -> None:
    service.details["word-statistics"]["sites"] = ["mare", "leo"]
    assert "Runs on: mare, leo" in alice("workflows", "show", "word-statistics").out
