"""Signing in by the browser against a real provider, and everything that has to be refused there."""

from __future__ import annotations

import base64
import logging
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hpcwaas.errors import ConfigurationError, Unauthorized, UpstreamFailed
from hpcwaas.identity.oidc.provider_keys import ALGORITHMS
from tests.relying import NONCE, REDIRECT, VERIFIER, Relying, relying
from tests.simulators.oidc import OIDCSimulator


def test_signs_in(idp: OIDCSimulator, party: Relying) -> None:
    idp.user = {"sub": "alice", "name": "Al Ice", "groups": ["/hpc", "/hpc/gpu"]}
    vouched = party.sign_in()
    assert (vouched.subject, vouched.name, vouched.groups) == ("alice", "Al Ice", frozenset({"/hpc", "/hpc/gpu"}))
    assert idp.introspected(vouched.access_token)["sub"] == "alice"
    assert vouched.access_token not in repr(vouched)
    assert idp.calls["userinfo"] == 0  # the ID token told all


def test_authorization_url(idp: OIDCSimulator, party: Relying) -> None:
    url = party.party.provider.authorization_url("the state", NONCE, VERIFIER)
    assert url.startswith(f"{idp.issuer}/authorize?")
    params = {name: values for name, values in parse_qs(urlsplit(url).query).items() if name != "code_challenge"}
    assert params == {
        "response_type": ["code"],
        "client_id": [idp.client_id],
        "redirect_uri": [REDIRECT],
        "scope": ["openid profile email"],
        "state": ["the state"],
        "nonce": [NONCE],
        "code_challenge_method": ["S256"],
    }
    assert VERIFIER not in url


def test_authorization_endpoint_with_a_query(idp: OIDCSimulator, party: Relying) -> None:
    idp.metadata = {"authorization_endpoint": f"{idp.issuer}/authorize?realm=a+b"}
    query = parse_qs(urlsplit(party.party.provider.authorization_url("s", NONCE, VERIFIER)).query)
    assert query["realm"] == ["a b"]
    assert query["state"] == ["s"]


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_algorithm(idp: OIDCSimulator, party: Relying, alg: str) -> None:
    idp.alg = alg
    assert party.sign_in().subject == "alice"


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("way", ["client_secret_basic", "client_secret_post"])
def test_proves_itself_as_the_provider_wants(idp: OIDCSimulator, way: str, explicit: bool) -> None:
    idp.auth_methods = [way]
    with relying(idp, explicit=explicit) as party:
        assert party.sign_in().subject == "alice"
        before = idp.calls["token"]
        assert party.sign_in().subject == "alice"
        assert idp.calls["token"] == before + 1  # what had to be found out is known now


def test_a_provider_with_no_way_to_prove_it(idp: OIDCSimulator, party: Relying) -> None:
    idp.metadata = {"token_endpoint_auth_methods_supported": ["private_key_jwt"]}
    with pytest.raises(Exception, match="client_secret_basic"):
        party.sign_in()


now = int(time.time())

WRONG_ID_TOKENS: dict[str, dict[str, Any]] = {
    "nonce of another attempt": {"id_claims": {"nonce": "another"}},
    "no nonce": {"id_claims": {"nonce": None}},
    "another issuer": {"id_claims": {"iss": "https://evil.example.org"}},
    "issuer with a slash more": {"id_claims": {"iss": "http://127.0.0.1/"}},
    "no issuer": {"id_claims": {"iss": None}},
    "another audience": {"id_claims": {"aud": "somebody-else"}},
    "other audiences": {"id_claims": {"aud": ["a", "b"]}},
    "no audience": {"id_claims": {"aud": None}},
    "audience of a wrong type": {"id_claims": {"aud": {"hpcwaas": True}}},
    "several audiences without azp": {"id_claims": {"aud": ["hpcwaas", "b"]}},
    "azp of another client": {"id_claims": {"aud": ["hpcwaas", "b"], "azp": "b"}},
    "azp of another client for one audience": {"id_claims": {"azp": "b"}},
    "expired": {"id_claims": {"exp": now - 120}},
    "no expiry": {"id_claims": {"exp": None}},
    "expiry that is no number": {"id_claims": {"exp": "tomorrow"}},
    "expiry that is not a number": {"id_claims": {"exp": float("nan")}},
    "issued in the future": {"id_claims": {"iat": now + 86400}},
    "no time of issue": {"id_claims": {"iat": None}},
    "not yet valid": {"id_claims": {"nbf": now + 86400}},
    "another access token": {"id_claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}},
    "at_hash of a wrong type": {"id_claims": {"at_hash": ["x"]}},
    "no subject": {"id_claims": {"sub": None}},
    "another key": {"sign": "foreign"},
    "algorithm none": {"sign": "none"},
    "the public key as a shared secret": {"sign": "hs256"},
    "unknown key": {"header": {"kid": "unknown"}},
    "critical extension": {"header": {"crit": ["exp"]}},
    "payload that isn't encoded": {"header": {"b64": True}},
    "algorithm that isn't the key's": {"header": {"alg": "PS256"}},
    "no token at all": {"token_answer": {"id_token": "a.b.c"}},
    "nested without end": {"token_answer": {"id_token": base64.urlsafe_b64encode(b"[" * 6000).decode() + ".e30."}},
    "header that is no object": {"token_answer": {"id_token": base64.urlsafe_b64encode(b'["alg"]').decode() + ".e30."}},
}


@pytest.mark.parametrize("what", WRONG_ID_TOKENS)
def test_wrong_id_token(idp: OIDCSimulator, party: Relying, what: str) -> None:
    for name, value in WRONG_ID_TOKENS[what].items():
        setattr(idp, name, value)
    with pytest.raises(Unauthorized, match="The sign-in is refused: "):
        party.sign_in()
    assert idp.calls["userinfo"] == 0  # nothing is done with a token that came with it


def test_changed_id_token(idp: OIDCSimulator, party: Relying) -> None:
    head, _, signature = idp.id_token(idp.user, NONCE).split(".")
    _, payload, _ = idp.id_token({"sub": "root"}, NONCE).split(".")
    idp.token_answer = {"id_token": f"{head}.{payload}.{signature}"}
    with pytest.raises(Unauthorized):
        party.sign_in()


def test_clocks_may_differ_by_a_minute(idp: OIDCSimulator, party: Relying) -> None:
    idp.id_claims = {"exp": int(time.time()) - 30, "iat": int(time.time()) + 30}
    assert party.sign_in().subject == "alice"


def test_several_audiences_with_azp(idp: OIDCSimulator, party: Relying) -> None:
    idp.id_claims = {"aud": ["b", "hpcwaas"], "azp": "hpcwaas"}
    assert party.sign_in().subject == "alice"


def test_no_id_token(idp: OIDCSimulator, party: Relying) -> None:
    idp.id_tokens = False
    with pytest.raises(UpstreamFailed, match="no ID token"):
        party.sign_in()


def test_wrong_code(party: Relying) -> None:
    with pytest.raises(Unauthorized, match="doesn't take the code"):
        party.sign_in(code="made up")


def test_code_of_another_attempt(party: Relying) -> None:
    with pytest.raises(Unauthorized, match="doesn't take the code"):
        party.sign_in(verifier="verifier-of-another-attempt-43-characters-long")
    with pytest.raises(Unauthorized, match="nonce"):
        party.sign_in(nonce="nonce of another attempt")


def test_wrong_secret(idp: OIDCSimulator, caplog: pytest.LogCaptureFixture) -> None:
    with relying(idp, client_secret="wrong-secret") as party, pytest.raises(UpstreamFailed, match=r"auth\.client_id"):
        party.sign_in()
    assert "wrong-secret" not in caplog.text


@pytest.mark.parametrize(("named", "sent", "good"), [(True, True, True), (True, None, False), (False, None, True)])
def test_issuer_that_the_browser_brings(
    idp: OIDCSimulator, party: Relying, named: bool, sent: bool | None, good: bool
) -> None:
    idp.metadata = {"authorization_response_iss_parameter_supported": named}
    issuer = {} if sent else {"issuer": None}
    if good:
        assert party.sign_in(**issuer).subject == "alice"
        return
    with pytest.raises(Unauthorized, match="iss"):
        party.sign_in(**issuer)


@pytest.mark.parametrize("named", [True, False])
def test_mixed_up_providers(idp: OIDCSimulator, party: Relying, named: bool) -> None:
    idp.metadata = {"authorization_response_iss_parameter_supported": named}
    with pytest.raises(Unauthorized, match="iss"):
        party.sign_in(issuer="https://evil.example.org")
    assert idp.calls["token"] == 0  # the code is given to nobody


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": None},
        {"access_token": 7},
        {"access_token": "with blank"},
        {"access_token": "line\nbreak"},
        {"access_token": "hpcwaas_ses_x"},
        {"access_token": "x" * 20_000},
        {"token_type": "DPoP"},
        {"token_type": 7},
    ],
)
def test_nonsense_for_a_code(idp: OIDCSimulator, party: Relying, answer: dict[str, Any]) -> None:
    idp.token_answer = answer
    with pytest.raises(UpstreamFailed):
        party.sign_in()


def test_user_info_completes_a_slim_id_token(idp: OIDCSimulator, party: Relying) -> None:
    idp.slim = True
    vouched = party.sign_in()
    assert (vouched.subject, vouched.name, vouched.groups) == ("alice", "Al Ice", frozenset({"hpc"}))
    assert idp.calls["userinfo"] == 1


def test_signed_claims_count_more_than_user_info(idp: OIDCSimulator, party: Relying) -> None:
    idp.id_claims = {"name": None}
    idp.userinfo_claims = {"groups": ["operators"]}
    assert party.sign_in().groups == frozenset({"hpc"})


@pytest.mark.parametrize("sub", ["mallory", None, 7])
def test_user_info_about_somebody_else(idp: OIDCSimulator, party: Relying, sub: object) -> None:
    idp.slim = True
    idp.userinfo_claims = {"sub": sub}
    with pytest.raises(Unauthorized, match="somebody else"):
        party.sign_in()


@pytest.mark.parametrize("status", ["400", "401", "403"])
def test_user_info_refused(idp: OIDCSimulator, party: Relying, status: str) -> None:
    idp.slim = True
    idp.fault("userinfo", status)
    vouched = party.sign_in()  # the ID token says who it is
    assert (vouched.subject, vouched.groups) == ("alice", frozenset())
    with relying(idp, explicit=True) as explicit, pytest.raises(Unauthorized):
        explicit.sign_in()


def test_a_provider_without_user_info(idp: OIDCSimulator, party: Relying) -> None:
    idp.metadata = {"userinfo_endpoint": None}
    idp.slim = True
    vouched = party.sign_in()
    assert (vouched.subject, vouched.name, vouched.groups) == ("alice", None, frozenset())


def test_explicit_endpoints_need_no_id_token(idp: OIDCSimulator) -> None:
    idp.id_tokens = False
    idp.user = {"sub": "alice", "firstname": "Al", "surname": "Ice"}
    with relying(idp, explicit=True, scopes=("profile", "email")) as party:
        vouched = party.sign_in(issuer="whatever")
    assert (vouched.subject, vouched.name) == ("alice", "Al Ice")
    assert idp.calls == {"authorize": 1, "token": 1, "userinfo": 1}
    assert idp.requests[1].params["code_verifier"] == VERIFIER


def test_explicit_endpoints_with_another_subject(idp: OIDCSimulator) -> None:
    idp.user = {"sub": "x", "id": 4711, "username": "alice"}
    idp.userinfo_claims = {"sub": None}
    with relying(idp, explicit=True) as party, pytest.raises(Unauthorized, match=r"`sub` is missing.*subject_claim"):
        party.sign_in()
    with relying(idp, explicit=True, subject_claim="username") as party:
        assert party.sign_in().subject == "alice"
    with relying(idp, explicit=True, subject_claim="id") as party:
        assert party.sign_in().subject == "4711"


def test_nothing_secret_in_logs(idp: OIDCSimulator, party: Relying, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = party.sign_in().access_token
    idp.id_claims = {"nonce": "another"}
    with pytest.raises(Unauthorized):
        party.sign_in()
    idp.fault("token", "html")
    with pytest.raises(UpstreamFailed):
        party.sign_in()
    secrets = [token, VERIFIER, NONCE, idp.client_secret, "upstream-secret"]
    logged = "\n".join(
        f"{record.getMessage()} {record.exc_text}" for record in caplog.records if record.name[:3] == "hpc"
    )
    assert [secret for secret in secrets if secret in logged] == []
    assert logged


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"client_id": None}, "auth.client_id"),
        ({"client_secret": None}, "auth.client_secret"),
        ({"redirect_url": None}, "auth.redirect_url"),
        ({"issuer": None}, "auth.issuer"),
        ({"scopes": ("profile",)}, "auth.scopes"),
        ({"ca_file": "/nonexistent"}, "auth.ca_file"),
    ],
)
def test_incomplete_settings(idp: OIDCSimulator, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Relying(idp, **changes)
    assert caught.value.key == key
