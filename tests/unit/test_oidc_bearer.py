"""Access tokens of the identity provider presented straight to this service: those to ask it about, and their forms."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from hpcwaas.identity.oidc.token_forms import forms
from tests.relying import Relying, asked, relying
from tests.simulators.oidc import OIDCSimulator

now = int(time.time())


def old_form(token: str, padded: bool = True) -> str:
    encoded = base64.b64encode(token.encode()).decode()
    return encoded if padded else encoded.rstrip("=")


# Opaque tokens


def test_opaque_token_by_introspection(idp: OIDCSimulator, party: Relying) -> None:
    user = party.who(idp.issue())
    assert user is not None
    assert (user.subject, user.groups) == ("alice", frozenset({"hpc"}))
    assert asked(idp) == idp.calls["introspect"] == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"active": False},
        {"active": "true"},
        {"active": None},
        {"client_id": "another-client"},
        {"client_id": None},
        {"client_id": None, "aud": ["another-service"]},
        {"exp": now - 120},
        {"nbf": now + 86400},
        {"exp": "soon"},
        {"token_type": "refresh_token"},
        {"typ": "Refresh"},
        {"cnf": {"jkt": "x"}},
    ],
)
def test_token_that_introspection_tells_against(idp: OIDCSimulator, party: Relying, claims: dict[str, Any]) -> None:
    idp.introspection_claims = claims
    assert party.who(idp.issue()) is None
    assert idp.calls["userinfo"] == 0


def test_token_for_our_audience_by_another_client(idp: OIDCSimulator) -> None:
    idp.introspection_claims = {"client_id": "portal", "aud": ["https://hpc.example.org"], "exp": None}
    with relying(idp, audience="https://hpc.example.org") as party:
        assert party.who(idp.issue()) is not None


def test_introspection_that_says_little(idp: OIDCSimulator, party: Relying) -> None:
    idp.slim = True
    user = party.who(idp.issue())
    assert user is not None
    assert user.groups == {"hpc"}  # of user info
    idp.userinfo_claims = {"sub": "mallory"}
    assert party.who(idp.issue()) is None


def test_a_provider_without_introspection_is_warned_of(idp: OIDCSimulator, caplog: pytest.LogCaptureFixture) -> None:
    warned = []
    for changes in ({"explicit": True}, {"explicit": True, "introspection_url": f"{idp.issuer}/introspect"}, {}):
        idp.metadata = {"introspection_endpoint": None}
        caplog.clear()
        with relying(idp, **changes) as party:
            assert party.who(idp.issue()) is not None
        warned.append(caplog.text.count("any of its clients"))
    assert warned == [1, 0, 1]


def test_introspection_of_a_setting(idp: OIDCSimulator) -> None:
    with relying(idp, explicit=True, introspection_url=f"{idp.issuer}/introspect") as party:
        assert party.who(idp.issue()) is not None
    assert asked(idp) == idp.calls["introspect"] == 1


def test_opaque_token_by_user_info(idp: OIDCSimulator) -> None:
    idp.metadata = {"introspection_endpoint": None}
    with relying(idp) as party:
        assert party.who(idp.issue()) is not None
        assert party.who("unknown") is None


@pytest.mark.parametrize("jwt", [False, True])
def test_explicit_endpoints(idp: OIDCSimulator, jwt: bool) -> None:
    idp.jwt = jwt  # without an issuer there are no keys to check it by
    with relying(idp, explicit=True) as party:
        token = idp.issue()
        assert party.who(token) is not None
        idp.revoke(token)
        party.clock.ahead += 400
        assert party.who(token) is None
    assert set(idp.calls) == {"userinfo"}


# Forms


@pytest.mark.parametrize("jwt", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_old_form(idp: OIDCSimulator, party: Relying, jwt: bool, padded: bool) -> None:
    idp.jwt = jwt
    token = idp.issue()
    user = party.who(old_form(token, padded))
    assert user is not None
    assert user.subject == "alice"
    assert party.admitted[0].access_token == token
    assert party.who(token) is not None
    assert idp.calls["introspect"] == (0 if jwt else 1)  # both forms are one token


@pytest.mark.parametrize(
    "presented",
    [
        "",
        " ",
        "%%%",
        "two words",
        "é",
        "\ud800",
        "a=b",
        "line\nbreak",
        "hpcwaas_ses_" + "x" * 43,
        "hpcwaas_pat_x",
        old_form("hpcwaas_ses_" + "x" * 43),
        old_form("hpcwaas_ref_" + "x" * 43, padded=False),
        "x" * 20_000,
    ],
)
def test_what_is_never_sent_to_the_provider(idp: OIDCSimulator, party: Relying, presented: str) -> None:
    assert party.who(presented) is None
    assert not idp.calls


def test_forms() -> None:
    assert forms("dG9rL2VuKzE/") == ("tok/en+1?", "dG9rL2VuKzE/")  # as the service before this one gave it out
    assert forms("a.b.c") == ("a.b.c",)


@pytest.mark.parametrize("token", ["a.b.c", "eyJhbGciOiJSUzI1NiJ9.e30.x", "eyJhbGciOiJSUzI1NiJ9..", "..", "a.b.c.d.e"])
def test_garbage(idp: OIDCSimulator, party: Relying, token: str) -> None:
    assert party.who(token) is None


# Rights


def test_the_user_is_admitted_anew_each_time(idp: OIDCSimulator, party: Relying) -> None:
    token = idp.issue()
    assert party.who(token) is not None
    party.outcasts.add("alice")
    assert party.who(token) is None
    party.outcasts.clear()
    assert party.who(token) is not None
    assert asked(idp) == 1
    assert {vouched.access_token for vouched in party.admitted} == {token}


def test_no_passwords(party: Relying) -> None:
    assert party.bearer.basic("alice", "x", "192.0.2.1") is None
