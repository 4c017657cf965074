"""`waas tokens`."""

from __future__ import annotations

from typing import Any

import pytest

SCOPES = ("--scope", "executions:read", "--scope", "workflows:read")


def test_the_secret_stands_alone_on_stdout(alice: Any, service: Any) -> None:
    result = alice("tokens", "create", "nightly", *SCOPES, "--days", "7", "--debug")
    assert result.code == 0
    assert result.out == f"{next(iter(service.identity.secrets))}\n"
    assert "nightly" in result.err
    assert "isn't shown again" in result.err
    assert "s3cret" not in result.err
    assert service.sent("POST", "/tokens")[0].json == {
        "name": "nightly",
        "scopes": ["executions:read", "workflows:read"],
        "days": 7,
    }
    assert alice("-t", result.out.strip(), "whoami").code == 0


def test_create_for_programs(alice: Any, service: Any) -> None:
    result = alice("token", "new", "nightly", *SCOPES, *SCOPES, "-o", "json")
    assert (result.code, result.err) == (0, "")
    assert result.json["token"] in service.identity.secrets
    # The service knows the usual life; a scope given twice is one.
    assert service.sent("POST", "/tokens")[0].json == {
        "name": "nightly",
        "scopes": ["executions:read", "workflows:read"],
    }


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["create", "nightly"], 2, "--scope"),
        (["create", "nightly", "--scope", "everything"], 2, "executions:write"),
        (["create", *SCOPES], 2, "NAME"),
        (["create", "nightly", *SCOPES, "--days", "0"], 2, "--days"),
        (["create", "nightly", *SCOPES, "--days", "4000"], 2, "expected 1 to 365"),
        (["create", "taken", *SCOPES], 1, "You have a token of this name."),
        (["create", "mighty", "--scope", "admin"], 6, "Only operators"),
        (["list", "--owner", "*"], 6, "Only operators"),
        (["revoke", "nothing"], 5, "There is no such thing."),
        (["revoke", ".."], 5, "nothing with the id"),
        (["revoke"], 2, "TOKEN_ID"),
    ],
)
def test_refused(alice: Any, service: Any, words: list[str], code: int, message: str) -> None:
    assert alice("tokens", "create", "taken", *SCOPES).code == 0
    result = alice("tokens", *words)
    assert (result.code, result.out) == (code, "")
    assert message in result.err


def test_list(alice: Any, service: Any) -> None:
    assert alice("tokens", "list").out == ""
    assert alice("tokens", "list", "-o", "json").out == "[]\n"
    for name in ("one", "two"):
        alice("tokens", "create", name, *SCOPES)
    result = alice("tokens", "list")
    assert (result.code, result.err) == (0, "")
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert [row[1] for row in rows] == ["two", "one"]
    assert rows[0][2] == "executions:read workflows:read"
    assert rows[0][4:] == ["never"]
    listed = alice("tokens", "ls", "--owner", "alice", "-o", "json")
    assert [token["name"] for token in listed.json] == ["two", "one"]
    assert alice("tokens", "list", "--owner", "alice").out.splitlines()[0].split("\t")[5:] == ["alice"]
    assert service.requests[-1].query == {"owner": "alice"}
    assert "s3cret" not in result.out + listed.out


def test_revoke_by_id_and_by_name(alice: Any, service: Any) -> None:
    for name in ("one", "two", "three"):
        alice("tokens", "create", name, *SCOPES)
    first = next(iter(service.identity.tokens))
    result = alice("tokens", "revoke", first, "two")
    assert (result.code, result.err) == (0, "")
    assert result.out == f'SUCCESS: Revoked token "{first}"\nSUCCESS: Revoked token "two"\n'
    assert [token["name"] for token in service.identity.tokens.values()] == ["three"]


def test_a_name_that_is_another_tokens_id_is_not_guessed(alice: Any, service: Any) -> None:
    alice("tokens", "create", "one", *SCOPES)
    identity = next(iter(service.identity.tokens))
    alice("tokens", "create", identity, *SCOPES)
    result = alice("tokens", "revoke", identity)
    assert result.code == 2
    assert "give the id" in result.err
    assert len(service.identity.tokens) == 2


def test_what_the_user_does_not_have_may_be_somebody_elses(alice: Any, service: Any) -> None:
    """An operator revokes it by its id."""
    alice("tokens", "revoke", "bobs/token")
    assert service.requests[-1].method == "DELETE"
    assert service.requests[-1].path == "/tokens/bobs/token"


def test_a_token_makes_no_tokens(alice: Any, service: Any) -> None:
    secret = alice("tokens", "create", "one", *SCOPES).out.strip()
    result = alice("-t", secret, "tokens", "create", "two", *SCOPES)
    assert (result.code, result.out) == (6, "")
    assert "sign in yourself" in result.err
