"""What is made of the claims of an identity provider."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from hpcwaas.core.ports.identity import Vouched
from hpcwaas.errors import Unauthorized
from hpcwaas.identity.oidc.claims import ClaimsReader, Untrusted, merged
from hpcwaas.identity.oidc.entitlements import canonical, implied
from hpcwaas.identity.settings import AuthSettings
from tests.relying import Relying, relying
from tests.simulators.oidc import OIDCSimulator

ISSUER = "https://idp.example.org"


@pytest.fixture
def idp() -> Iterator[OIDCSimulator]:
    with OIDCSimulator() as found:
        yield found


def reader(**settings: Any) -> ClaimsReader:
    return ClaimsReader(AuthSettings.model_validate({"auth_type": "sso", "issuer": ISSUER, **settings}))


def read(claims: Mapping[str, Any], *, whole: bool = True, **settings: Any) -> Vouched:
    return reader(**settings).vouched({"sub": "1", **claims}, ISSUER, "token", 0.0, None, whole=whole)


# Groups


@pytest.mark.parametrize("name", ["Climate operators", "a,b", "a;b", " ", "/hpc/x"])
def test_a_text_is_one_group(name: str) -> None:
    assert read({"groups": name}).groups == frozenset({name})


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["x"]}}),
        ("resource_access.my.client.roles", {"resource_access": {"my.client": {"roles": ["x"]}}}),
        ("https://example.org/groups", {"https://example.org/groups": ["x"]}),
        ("realm_access.roles", {"realm_access.roles": ["x"], "realm_access": {"roles": ["y"]}}),
        ("a.b.c", {"a": {"b.c": ["x"]}}),
        ("a.b.c", {"a": {"b": 7}, "a.b": {"c": ["x"]}}),
    ],
)
def test_claims_inside_claims(claim: str, claims: dict[str, Any]) -> None:
    assert read(claims, groups_claim=claim).groups == frozenset({"x"})


def test_groups_of_several_claims(caplog: pytest.LogCaptureFixture) -> None:
    claims = {"groups": ["a", "b"], "realm_access": {"roles": ["b", "c"]}, "team": "d e"}
    assert read(claims, groups_claim=["groups", "realm_access.roles", "team"]).groups == frozenset(
        {"a", "b", "c", "d e"}
    )
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({}, "sends no claim `groups`"),
        ({"groups": None}, "sends no claim `groups`"),
        ({"groups": {"hpc": True}}, "is an object"),
        ({"groups": 7}, "is a number"),
        ({"groups": True}, "is true or false"),
        ({"groups": ["hpc", {"name": "gpu"}]}, "isn't a group's name"),
        ({"groups": ["hpc", "x" * 256]}, "isn't a group's name"),
        ({"groups": [f"g{number}" for number in range(1001)]}, "over 1000 groups"),
    ],
)
def test_what_cannot_be_groups_is_told_once(
    caplog: pytest.LogCaptureFixture, claims: dict[str, Any], words: str
) -> None:
    one = reader()
    for _ in range(3):
        one.vouched({"sub": "1", **claims}, ISSUER, "token", 0.0, None, whole=True)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert words in warnings[0]
    assert "1" not in warnings[0].replace("1000", "").replace("1 to 255", "")  # nothing of what was sent


def test_a_sign_in_without_groups_is_told_once(idp: OIDCSimulator, caplog: pytest.LogCaptureFixture) -> None:
    idp.user = {"sub": "alice"}
    with relying(idp, groups_claim="realm_access.roles") as party:
        for _ in range(2):
            assert party.sign_in().groups == frozenset()
    assert caplog.text.count("sends no claim `realm_access.roles`") == 1


def test_a_token_that_tells_no_groups_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    assert read({}, whole=False).groups is None
    assert read({"realm_access": {"roles": []}}, whole=False, groups_claim="realm_access.roles").groups == frozenset()
    assert caplog.text == ""


# Entitlements (AARC-G069)

MEMBER = "urn:mace:EGI.eu:group:vo.example.org:Sub%c3%a4:role=member#aai.egi.eu"


def test_an_entitlement_holds_its_group_and_those_above() -> None:
    assert implied(MEMBER) == {
        MEMBER,
        "urn:mace:egi.eu:group:vo.example.org",
        "urn:mace:egi.eu:group:vo.example.org:Sub%C3%A4",
        "urn:mace:egi.eu:group:vo.example.org:Sub%C3%A4:role=member",
    }
    assert canonical("URN:MACE:egi.eu:group:vo.example.org#somebody") == "urn:mace:egi.eu:group:vo.example.org"


@pytest.mark.parametrize(
    "value",
    ["urn:mace:egi.eu:res:gpu", "urn:mace:egi.eu:group:", "urn:mace:egi.eu:group:a::b", "https://x/group:a", ""],
)
def test_other_entitlements_stay_what_they_are(value: str) -> None:
    assert implied(value) == {value}
    assert canonical(value) == value


def test_groups_of_entitlements() -> None:
    groups = read({"eduperson_entitlement": [MEMBER]}, groups_claim="eduperson_entitlement").groups
    assert groups is not None
    assert "urn:mace:egi.eu:group:vo.example.org" in groups


def test_a_group_that_only_looks_like_an_entitlement_holds_no_other() -> None:
    assert read({"groups": [MEMBER]}).groups == frozenset({MEMBER})


@pytest.mark.parametrize(
    ("claims", "lacks"),
    [
        ({}, "eduperson_assurance"),
        ({"eduperson_assurance": ["https://refeds.org/assurance/IAP/low"]}, "eduperson_assurance"),
        ({"eduperson_assurance": "https://refeds.org/assurance/IAP/medium"}, "eduperson_entitlement"),
        (
            {
                "eduperson_assurance": ["x", "https://refeds.org/assurance/IAP/high"],
                "eduperson_entitlement": ["urn:mace:egi.eu:group:vo.example.org:role=member#aai.egi.eu"],
            },
            None,
        ),
        (
            {
                "eduperson_assurance": ["https://refeds.org/assurance/IAP/high"],
                "eduperson_entitlement": ["urn:mace:egi.eu:group:vo.example.organisation"],
            },
            "eduperson_entitlement",
        ),
    ],
)
def test_claims_that_open_the_door(claims: dict[str, Any], lacks: str | None) -> None:
    levels = [f"https://refeds.org/assurance/IAP/{level}" for level in ("medium", "high")]
    required = [
        {"claim": "eduperson_assurance", "values": levels},
        {"claim": "eduperson_entitlement", "values": ["urn:mace:EGI.eu:group:vo.example.org#any.where"]},
    ]
    assert read(claims, required_claims=required).lacks == lacks


def test_a_required_claim_may_be_true_or_a_number() -> None:
    required = [{"claim": "hpc.member", "values": ["true"]}, {"claim": "level", "values": ["3"]}]
    assert read({"hpc": {"member": True}, "level": 3}, required_claims=required).lacks is None
    assert read({"hpc": {"member": 1}, "level": 3}, required_claims=required).lacks == "hpc.member"


# Subjects


@pytest.mark.parametrize(
    "subject",
    [
        "https://aai.example.org/users/42",
        "a:b",
        "with blank",
        "/slash/es",
        "Jürgen Übermaß",
        "x" * 255,
        "alice@example.org",
        "a,b",
        "'; DROP TABLE users; --",
    ],
)
def test_subjects_that_federations_send(subject: str) -> None:
    assert read({"sub": subject}).subject == subject


@pytest.mark.parametrize(
    "subject",
    [
        "",
        " ",
        " a",
        "a ",
        "a\n",
        "a\tb",
        "a\0",
        "x" * 256,
        "*",
        "a\u200b",
        "a\u202eb",
        "\x1b[31m",
        "a\u00a0",
        True,
        None,
        [],
        1.5,
    ],
)
def test_subjects_that_are_refused(subject: object) -> None:
    with pytest.raises(Untrusted):
        read({"sub": subject})


@pytest.mark.parametrize("claim", ["email", "phone_number"])
@pytest.mark.parametrize("verified", [True, "true"])
def test_what_is_verified_names_a_user(claim: str, verified: object) -> None:
    assert read({claim: "a@b", f"{claim}_verified": verified}, subject_claim=claim).subject == "a@b"


@pytest.mark.parametrize("claim", ["email", "phone_number"])
@pytest.mark.parametrize("verified", [False, "false", "False", "no", "True", "TRUE", "1", 1, 0, "", "yes", [True], {}])
@pytest.mark.parametrize("assume", [False, True])
def test_what_is_not_verified_names_nobody(claim: str, verified: object, assume: bool) -> None:
    with pytest.raises(Untrusted, match="isn't verified"):
        read({claim: "a@b", f"{claim}_verified": verified}, subject_claim=claim, assume_verified=assume)


@pytest.mark.parametrize("claims", [{}, {"email_verified": None}])
def test_a_provider_that_never_says_so_needs_a_setting(claims: dict[str, Any]) -> None:
    with pytest.raises(Untrusted, match="assume_verified"):
        read({"email": "a@b", **claims}, subject_claim="email")
    assert read({"email": "a@b", **claims}, subject_claim="email", assume_verified=True).subject == "a@b"


def test_that_it_is_verified_is_said_of_one_address_only() -> None:
    mine = {"email": "mine@example.org", "email_verified": True}
    assert "email_verified" not in merged({"email": "boss@example.org"}, mine)
    assert merged({"email_verified": True}, {"email": "boss@example.org"})["email_verified"] is None
    assert merged({"email": "mine@example.org"}, mine)["email_verified"] is True
    assert merged({}, mine) == mine


def test_an_address_is_verified_by_user_info_if_need_be(idp: OIDCSimulator) -> None:
    idp.id_claims = {"email": "a@example.org"}
    idp.userinfo_claims = {"email": "a@example.org", "email_verified": True}
    with relying(idp, subject_claim="email") as party:
        assert party.sign_in().subject == "a@example.org"
        idp.userinfo_claims = {"email": "other@example.org", "email_verified": True}
        with pytest.raises(Unauthorized, match="verified"):
            party.sign_in()


def test_a_bearer_with_an_address_that_is_not_verified(idp: OIDCSimulator) -> None:
    idp.jwt, idp.user = True, {"sub": "1", "email": "boss@example.org"}
    with relying(idp, subject_claim="email") as party:
        assert _who(party, idp) is None
        idp.user["email_verified"] = "True"
        assert _who(party, idp) is None
        idp.user["email_verified"] = True
        assert _who(party, idp) == "boss@example.org"


def _who(party: Relying, idp: OIDCSimulator) -> str | None:
    user = party.who(idp.issue())
    return user.subject if user else None


def test_a_proof_is_what_the_provider_says() -> None:
    proof = read({"acr": "https://refeds.org/profile/mfa", "auth_time": 1.5e9}).proof
    assert proof.acr == "https://refeds.org/profile/mfa"
    assert proof.at is not None
    assert proof.at.timestamp() == 1.5e9


@pytest.mark.parametrize("wrong", ["soon", True, -1, 1e300, float("nan"), [1]])
def test_a_proof_that_makes_no_sense_is_none(wrong: object) -> None:
    proof = read({"acr": wrong, "auth_time": wrong}).proof
    assert proof.at is None
    assert proof.acr in (None, wrong)
