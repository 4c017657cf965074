"""Access tokens of the identity provider presented straight to this service."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hpcwaas.errors import Unavailable
from hpcwaas.identity.oidc import answers
from hpcwaas.identity.oidc.tokens import forms
from tests.relying import Relying, relying
from tests.simulators.oidc import OIDCSimulator

HOUR = 3600


@pytest.fixture
def idp() -> Iterator[OIDCSimulator]:
    with OIDCSimulator() as found:
        yield found


@pytest.fixture
def party(idp: OIDCSimulator) -> Iterator[Relying]:
    with relying(idp) as found:
        yield found


def old_form(token: str, padded: bool = True) -> str:
    encoded = base64.b64encode(token.encode()).decode()
    return encoded if padded else encoded.rstrip("=")


def asked(idp: OIDCSimulator) -> int:
    """Calls about tokens so far."""
    return idp.calls["introspect"] + idp.calls["userinfo"]


# Signed tokens


@pytest.mark.parametrize("alg", ["RS256", "PS512", "ES256", "EdDSA"])
@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "JWT", None])
def test_signed_token(idp: OIDCSimulator, party: Relying, alg: str, typ: str | None) -> None:
    idp.alg, idp.jwt, idp.header = alg, True, {"typ": typ}
    user = party.who(idp.issue())
    assert user is not None
    assert (user.subject, user.name, user.groups) == ("alice", "Al Ice", {"hpc"})
    assert dict(idp.calls) == {"discovery": 1, "jwks": 1}


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
    "not yet valid": {"access_claims": {"nbf": now + 600}},
    "issued in the future": {"access_claims": {"iat": now + 600}},
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
    "subject with a colon": {"access_claims": {"sub": "a:b"}},
    "subject with a control character": {"access_claims": {"sub": "a\nb"}},
    "subject with a blank at its end": {"access_claims": {"sub": "root "}},
    "subject that looks like another": {"access_claims": {"sub": "root\u200b"}},
    "empty subject": {"access_claims": {"sub": ""}},
    "long subject": {"access_claims": {"sub": "x" * 256}},
    "subject of a wrong type": {"access_claims": {"sub": ["alice"]}},
}


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
        ("hpc gpu", {"hpc", "gpu"}),
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


# Opaque tokens


def test_opaque_token_by_introspection(idp: OIDCSimulator, party: Relying) -> None:
    user = party.who(idp.issue())
    assert user is not None
    assert (user.subject, user.groups) == ("alice", {"hpc"})
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
        {"nbf": now + 600},
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


# Memory


def test_good_answers_count_for_five_minutes(idp: OIDCSimulator, party: Relying) -> None:
    token = idp.issue()
    for ahead, calls in ((0, 1), (290, 1), (310, 2), (600, 2), (620, 3)):
        party.clock.ahead = ahead
        assert party.who(token) is not None
        assert asked(idp) == calls


def test_good_answers_end_with_the_token(idp: OIDCSimulator, party: Relying) -> None:
    idp.lifetime = 100
    token = idp.issue()
    assert party.who(token) is not None
    idp.revoke(token)
    party.clock.ahead = 90
    assert party.who(token) is not None
    party.clock.ahead = 110
    assert party.who(token) is None


def test_bad_answers_count_for_half_a_minute(idp: OIDCSimulator, party: Relying) -> None:
    for ahead, calls in ((0, 1), (25, 1), (35, 2)):
        party.clock.ahead = ahead
        assert party.who("unknown-token") is None
        assert asked(idp) == calls


def test_memory_is_bounded_and_bad_tokens_push_out_no_good_one(
    idp: OIDCSimulator, party: Relying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_MOST", 5)
    token = idp.issue()
    assert party.who(token) is not None
    for number in range(20):
        assert party.who(f"unknown-{number}") is None
    before = asked(idp)
    assert party.who(token) is not None
    assert party.who("unknown-19") is None
    assert asked(idp) == before
    assert party.who("unknown-0") is None  # forgotten
    assert asked(idp) == before + 1
    for _ in range(6):
        assert party.who(idp.issue()) is not None
    before = asked(idp)
    assert party.who(token) is not None
    assert asked(idp) == before + 1


@pytest.mark.parametrize("good", [True, False])
def test_one_question_about_one_token(
    idp: OIDCSimulator, party: Relying, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_WAIT", 10)
    party.who("something-else")  # so that discovery is done
    idp.fault("introspect", "slow 0.3")
    token = idp.issue() if good else "unknown-token"
    before = idp.calls["introspect"]
    barrier = threading.Barrier(16)

    def ask(_: int) -> bool:
        barrier.wait()
        return party.who(token) is not None

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(16))) == {good}
    assert idp.calls["introspect"] == before + 1


def test_one_question_that_fails_fails_for_all_who_asked_it(idp: OIDCSimulator, party: Relying) -> None:
    party.who("something-else")
    token = idp.issue()
    idp.fault("introspect", "slow 1.5")  # longer than the timeout
    barrier = threading.Barrier(8)

    def ask(_: int) -> str:
        barrier.wait()
        try:
            party.who(token)
        except Unavailable as error:
            return error.detail
        return ""

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"The identity provider takes too long to answer."}
    assert idp.calls["introspect"] == 2  # the one before, and this
    idp.heal()
    party.clock.ahead += 6
    assert party.who(token) is not None  # nobody waits for what is over


# Outages


def test_known_tokens_go_on_while_the_provider_is_down(idp: OIDCSimulator, party: Relying) -> None:
    known, unknown = idp.issue(), idp.issue()
    idp.lifetime = 900
    short = idp.issue()
    for token in (known, short):
        assert party.who(token) is not None
    idp.stop()
    for ahead in (10, 600, 850):
        party.clock.ahead = ahead
        assert party.who(known) is not None
        assert party.who(short) is not None
        with pytest.raises(Unavailable) as caught:
            party.who(unknown)
        assert caught.value.retry_after >= 1
    party.clock.ahead = 1000
    with pytest.raises(Unavailable):  # it ended in between
        party.who(short)
    party.clock.ahead = HOUR - 10
    assert party.who(known) is not None
    party.clock.ahead = HOUR + 10
    with pytest.raises(Unavailable):
        party.who(known)
    idp.start()
    idp.lifetime = 2 * HOUR
    party.clock.ahead = HOUR + 20
    assert party.who(idp.issue()) is not None


@pytest.mark.parametrize("fault", ["500", "html", "truncated", "huge", "list", "redirect http://127.0.0.1:1/", "drop"])
def test_known_tokens_go_on_while_the_provider_talks_nonsense(idp: OIDCSimulator, party: Relying, fault: str) -> None:
    token = idp.issue()
    assert party.who(token) is not None
    idp.fault("introspect", fault)
    party.clock.ahead = 400
    assert party.who(token) is not None
    with pytest.raises(Unavailable) as caught:
        party.who("another-token")
    assert "upstream-secret" not in caught.value.detail
    idp.heal()
    party.clock.ahead = 410
    idp.revoke(token)
    assert party.who(token) is None  # a refusal counts at once, known or not


def test_an_outage_costs_one_try_each_few_seconds(idp: OIDCSimulator, party: Relying) -> None:
    party.who("something-else")
    idp.fault("introspect", "slow 1.5")
    started = time.monotonic()
    for number in range(10):
        with pytest.raises(Unavailable):
            party.who(f"token-{number}")
    assert time.monotonic() - started < 1.4  # one timeout, not ten
    idp.heal()
    party.clock.ahead += 6
    assert party.who(idp.issue()) is not None


def test_too_busy_provider(idp: OIDCSimulator, party: Relying) -> None:
    idp.fault("introspect", "429 17", times=1)
    with pytest.raises(Unavailable) as caught:
        party.who("token")
    assert caught.value.retry_after == 17


def test_signed_tokens_need_no_provider(idp: OIDCSimulator, party: Relying) -> None:
    idp.jwt = True
    assert party.who(idp.issue()) is not None
    token = idp.issue()
    idp.stop()
    party.clock.ahead = 600
    assert party.who(token) is not None


def test_provider_that_was_never_seen(idp: OIDCSimulator) -> None:
    idp.stop()
    with relying(idp) as party:
        with pytest.raises(Unavailable):
            party.who("token")
        idp.start()
        party.clock.ahead += 6
        assert party.who(idp.issue()) is not None


def test_a_slow_provider_stops_nobody_else(idp: OIDCSimulator, party: Relying, monkeypatch: pytest.MonkeyPatch) -> None:
    known = idp.issue()
    assert party.who(known) is not None
    party.clock.ahead = 400  # it has to be asked about again
    monkeypatch.setattr(answers, "_WAIT", 0.05)
    idp.fault("introspect", "slow 0.8")

    def ask(number: int) -> str:
        try:
            return "refused" if party.who(f"unknown-{number}") is None else "good"
        except Unavailable as error:
            return f"wait {error.retry_after}"

    with ThreadPoolExecutor(12) as pool:
        found = [pool.submit(ask, number) for number in range(12)]
        time.sleep(0.3)
        started = time.monotonic()
        assert party.who(known) is not None
        assert time.monotonic() - started < 0.3
    results = sorted(future.result() for future in found)
    assert results == ["refused"] * 8 + ["wait 1"] * 4


def test_a_known_token_is_asked_about_by_one_while_others_go_on(idp: OIDCSimulator, party: Relying) -> None:
    token = idp.issue()
    assert party.who(token) is not None
    party.clock.ahead = 400
    idp.fault("introspect", "slow 0.5")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(party.who, token)
        time.sleep(0.2)
        started = time.monotonic()
        assert party.who(token) is not None
        assert time.monotonic() - started < 0.2
        assert asking.result() is not None
    assert idp.calls["introspect"] == 2


def test_nothing_secret_in_logs_or_memory(idp: OIDCSimulator, party: Relying, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hpcwaas")
    token = idp.issue()
    assert party.who(token) is not None
    assert party.who("unknown-token-x") is None
    idp.fault("introspect", "html")
    with pytest.raises(Unavailable):
        party.who("unknown-token-y")
    ours = "\n".join(f"{one.getMessage()} {one.exc_text}" for one in caplog.records if one.name.startswith("hpcwaas"))
    assert ours
    assert [secret for secret in (token, "unknown-token", idp.client_secret, "upstream-secret") if secret in ours] == []
    assert token not in repr(vars(party.bearer._answers))
    assert [one.vouched.access_token for one in party.bearer._answers._good.values() if one.vouched] == [""]
