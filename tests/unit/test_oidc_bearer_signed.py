"""Signed access tokens of the identity provider, which are judged here, and what they tell of the user."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.relying import Relying, asked, relying
from tests.simulators.oidc import OIDCSimulator

now = int(time.time())

WRONG: dict[str, dict[str, Any]] = {
    "another issuer": {"access_claims": {"iss": "https://evil.example.org"}},
    "no issuer": {"access_claims": {"iss": None}},
    "another audience": {"audience": "another-service"},
    "other audiences": {"audience": ["account", "another-service"]},
    "no audience, though our client": {"access_claims": {"aud": None, "azp": "hpcwaas"}},
    "expired": {"access_claims": {"exp": now - 120}},
    "no expiry": {"access_claims": {"exp": None}},
    "expiry that is not a number": {"access_claims": {"exp": float("nan")}},
    "expiry true": {"access_claims": {"exp": True}},
    "not yet valid": {"access_claims": {"nbf": now + 86400}},
    "issued in the future": {"access_claims": {"iat": now + 86400}},
    "algorithm none": {"sign": "none"},
    "the public key as a shared secret": {"sign": "hs256"},
    "another key": {"sign": "foreign"},
    "unknown key": {"header": {"kid": "unknown"}},
    "logout token": {"header": {"typ": "logout+jwt"}},
    "nonce of an ID token": {"header": {"typ": "JWT"}, "access_claims": {"nonce": "n"}},
    "at_hash of an ID token": {"header": {"typ": "JWT"}, "access_claims": {"at_hash": "x"}},
    "ID token of Keycloak": {"header": {"typ": "JWT"}, "access_claims": {"typ": "ID"}},
    "refresh token of Keycloak": {"header": {"typ": "JWT"}, "access_claims": {"typ": "Refresh"}},
    "ID token of Cognito": {"header": {"typ": None}, "access_claims": {"token_use": "id"}},
    "bound to a key": {"access_claims": {"cnf": {"jkt": "x"}}},
    "subject that stands for everybody": {"access_claims": {"sub": "*"}},
    "subject without end": {"access_claims": {"sub": "x" * 256}},
    "subject with a control character": {"access_claims": {"sub": "a\nb"}},
    "subject with a blank at its end": {"access_claims": {"sub": "root "}},
    "subject that looks like another": {"access_claims": {"sub": "root\u200b"}},
    "empty subject": {"access_claims": {"sub": ""}},
    "long subject": {"access_claims": {"sub": "x" * 256}},
    "subject of a wrong type": {"access_claims": {"sub": ["alice"]}},
}


@pytest.mark.parametrize("alg", ["RS256", "PS512", "ES256", "EdDSA"])
@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "JWT", None])
def test_signed_token(idp: OIDCSimulator, party: Relying, alg: str, typ: str | None) -> None:
    idp.alg, idp.jwt, idp.header = alg, True, {"typ": typ}
    user = party.who(idp.issue())
    assert user is not None
    assert (user.subject, user.name, user.groups) == ("alice", "Al Ice", frozenset({"hpc"}))
    assert dict(idp.calls) == {"discovery": 1, "jwks": 1}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_signed_token(idp: OIDCSimulator, party: Relying, what: str) -> None:
    idp.jwt = True
    for name, value in WRONG[what].items():
        setattr(idp, name, value)
    token = idp.issue()
    assert party.who(token) is None
    assert party.admitted == []
    assert asked(idp) == 0  # it is nothing to ask about: it was judged here


def test_id_token_is_no_key(idp: OIDCSimulator, party: Relying) -> None:
    idp.jwt = True
    assert party.who(idp.id_token(idp.user, "nonce", idp.issue())) is None


def test_access_token_with_a_nonce_of_old_keycloak(idp: OIDCSimulator, party: Relying) -> None:
    idp.jwt, idp.header, idp.access_claims = True, {"typ": "JWT"}, {"nonce": "n", "typ": "Bearer"}
    assert party.who(idp.issue()) is not None


def test_own_audience(idp: OIDCSimulator) -> None:
    idp.jwt = True
    with relying(idp, audience="https://hpc.example.org") as party:
        assert party.who(idp.issue()) is None
        idp.audience = ["account", "https://hpc.example.org"]
        assert party.who(idp.issue()) is not None


def test_clocks_may_differ_by_a_minute(idp: OIDCSimulator, party: Relying) -> None:
    idp.jwt, idp.access_claims = True, {"exp": int(time.time()) - 30, "nbf": int(time.time()) + 30}
    assert party.who(idp.issue()) is not None


def test_token_with_an_end_beyond_all_time(idp: OIDCSimulator, party: Relying) -> None:
    idp.jwt, idp.access_claims = True, {"exp": 10**400}
    assert party.who(idp.issue()) is not None


def test_groups_of_user_info_are_asked_for_once(idp: OIDCSimulator, party: Relying) -> None:
    idp.jwt = idp.slim = True
    token = idp.issue()
    for _ in range(3):
        user = party.who(token)
        assert user is not None
        assert user.groups == {"hpc"}
    assert (idp.calls["userinfo"], idp.calls["introspect"]) == (1, 0)


@pytest.mark.parametrize("status", ["400", "401", "403"])
def test_signed_token_not_meant_for_user_info(idp: OIDCSimulator, party: Relying, status: str) -> None:
    idp.jwt = idp.slim = True
    idp.fault("userinfo", status)
    assert party.who(idp.issue()) is not None
    assert (party.admitted[-1].name, party.admitted[-1].groups) == (None, None)


def test_user_info_without_groups_tells_that_there_are_none(idp: OIDCSimulator, party: Relying) -> None:
    idp.jwt = idp.slim = True
    idp.userinfo_claims = {"groups": None}
    assert party.who(idp.issue()) is not None
    assert party.admitted[-1].groups == frozenset()


def test_signed_token_and_user_info_of_somebody_else(idp: OIDCSimulator, party: Relying) -> None:
    idp.jwt = idp.slim = True
    idp.userinfo_claims = {"sub": "mallory"}
    assert party.who(idp.issue()) is None


def test_unverified_address_as_subject(idp: OIDCSimulator) -> None:
    idp.jwt = True
    idp.user["email_verified"] = False
    with relying(idp, subject_claim="email") as party:
        assert party.who(idp.issue()) is None
        idp.user["email_verified"] = True
        user = party.who(idp.issue())
    assert user is not None
    assert user.subject == "alice@example.org"


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (["/hpc", "/hpc/gpu"], {"/hpc", "/hpc/gpu"}),
        ("Climate operators", {"Climate operators"}),
        ("a,b", {"a,b"}),
        (["hpc", 7, "", None, "x" * 300, "a\nb"], {"hpc"}),
        ({"hpc": True}, set()),
        (7, set()),
        ([], set()),
    ],
)
def test_groups(idp: OIDCSimulator, groups: object, expected: set[str]) -> None:
    idp.jwt = True
    idp.user = {"sub": "alice", "teams": groups}
    with relying(idp, groups_claim="teams") as party:
        user = party.who(idp.issue())
    assert user is not None
    assert user.groups == expected


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": " Al Ice "}, "Al Ice"),
        ({"name": "", "preferred_username": "al"}, "al"),
        ({"name": "Al\x1b[31m", "displayName": "Al"}, "Al"),
        ({"given_name": "Al", "family_name": "Ice", "email": "al@example.org"}, "Al Ice"),
        ({"name": 7, "email": "al@example.org"}, "al@example.org"),
        ({"name": "x" * 300}, "x" * 255),
        ({}, "alice"),
    ],
)
def test_names(idp: OIDCSimulator, party: Relying, claims: dict[str, Any], name: str) -> None:
    idp.jwt = True
    idp.user = {"sub": "alice", "groups": [], **claims}
    user = party.who(idp.issue())
    assert user is not None
    assert user.name == name
