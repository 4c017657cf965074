"""Sharing executions, and what others have."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def execution(service: Any) -> str:
    identity: str = service.add(("RUNNING", []))
    return identity


def test_share_adds(alice: Any, service: Any, execution: str) -> None:
    result = alice("executions", "share", execution, "-u", "carol", "--user", "bob", "-g", "climate")
    assert (result.code, result.err) == (0, "")
    assert result.out == (f'SUCCESS: The execution "{execution}" is shared with user bob, user carol, group climate\n')
    more = alice("e", "share", execution, "--group", "ocean", "-u", "bob", "-o", "json")
    assert more.json == {"users": ["bob", "carol"], "groups": ["climate", "ocean"]}
    assert service.identity.shares[execution] == more.json


def test_unshare_takes_away(alice: Any, service: Any, execution: str) -> None:
    service.identity.shares[execution] = {"users": ["bob", "carol"], "groups": ["climate"]}
    result = alice("executions", "unshare", execution, "-u", "bob", "-g", "climate", "-g", "unknown")
    assert (result.code, result.err) == (0, "")
    assert "shared with user carol\n" in result.out
    nobody = alice("executions", "unshare", execution)
    assert (nobody.code, nobody.out) == (0, f'SUCCESS: The execution "{execution}" is shared with nobody\n')
    assert service.requests[-1].method == "DELETE"
    assert alice("executions", "unshare", execution, "-o", "json").json == {"users": [], "groups": []}


def test_shares(alice: Any, service: Any, execution: str) -> None:
    nobody = alice("executions", "shares", execution)
    assert (nobody.code, nobody.out) == (0, "")
    assert "nobody" in nobody.err
    service.identity.shares[execution] = {"users": ["bob"], "groups": ["climate"]}
    assert alice("executions", "shares", execution).out == "user\tbob\ngroup\tclimate\n"
    assert alice("executions", "shares", execution, "-o", "json").json == service.identity.shares[execution]


@pytest.mark.parametrize("words", [["shares"], ["share", "-u", "bob"], ["unshare", "-u", "bob"], ["unshare"]])
def test_no_such_execution(alice: Any, words: list[str]) -> None:
    result = alice("executions", words[0], "unknown", *words[1:])
    assert (result.code, result.out) == (5, "")
    assert "executions list" in result.err


def test_share_with_whom(alice: Any, service: Any, execution: str) -> None:
    result = alice("executions", "share", execution)
    assert (result.code, result.out) == (2, "")
    assert "Say whom to share" in result.err
    assert service.requests == []


def test_user_means_another_thing_after_the_command(waas: Any, service: Any, execution: str) -> None:
    words = ["executions", "share", execution, "-u", "bob:colon"]
    assert waas("--api_url", service.url, *words).code == 6
    result = waas("--api_url", service.url, "-u", "alice:alicepw", *words)
    assert result.code == 0
    assert service.identity.shares[execution]["users"] == ["bob:colon"]


def test_sharing_is_tried_again(alice: Any, service: Any, execution: str) -> None:
    service.trouble = [("PUT", "shares", 503, {"Retry-After": "0"}), ("DELETE", "shares", "drop", {})]
    assert alice("executions", "share", execution, "-u", "bob").code == 0
    assert alice("executions", "unshare", execution).code == 0


def test_executions_of_others(alice: Any, service: Any, execution: str) -> None:
    own = alice("executions", "list").out.split("\t")
    assert len(own) == 6
    for words, query in (
        (["--owner", "*"], {"owner": "*", "limit": "50"}),
        (["--shared"], {"shared": "true", "limit": "50"}),
        (["--owner", "bob", "--limit", "3"], {"owner": "bob", "limit": "3"}),
    ):
        listed = alice("executions", "list", *words)
        assert listed.out.rstrip().split("\t")[6:] == ["alice"]
        assert service.requests[-1].query == query


def test_files_and_keys_of_others(alice: Any, service: Any, tmp_path: Any) -> None:
    (tmp_path / "a").write_text("a")
    assert alice("files", "upload", str(tmp_path / "a")).code == 0
    assert alice("keys", "gen").code == 0
    for group, columns in (("files", 4), ("ssh_keys", 5)):
        assert len(alice(group, "list").out.split("\t")) == columns
        assert "owner" not in service.requests[-1].query
        listed = alice(group, "list", "--owner", "*")
        assert listed.out.rstrip().split("\t")[columns:] == ["alice"]
        assert service.requests[-1].query["owner"] == "*"
