"""When the provider told what it tells of a user."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.relying import Relying, relying
from tests.simulators.oidc import OIDCSimulator

NEVER = 0.0


@pytest.fixture
def idp() -> Iterator[OIDCSimulator]:
    with OIDCSimulator() as found:
        yield found


@pytest.fixture
def party(idp: OIDCSimulator) -> Iterator[Relying]:
    with relying(idp) as found:
        yield found


def told(party: Relying, token: str) -> tuple[float, float | None]:
    """When the groups were told and when the token was made."""
    assert party.who(token) is not None
    vouched = party.admitted[-1]
    return vouched.told_at.timestamp(), None if vouched.made_at is None else vouched.made_at.timestamp()


@pytest.mark.parametrize(
    ("iat", "expected"), [(1.5e9, (1.5e9, 1.5e9)), (None, (NEVER, None)), (0, (NEVER, 0.0)), (-(10**400), (NEVER, 0.0))]
)
def test_a_signed_token_is_as_old_as_it_says(idp: OIDCSimulator, party: Relying, iat: Any, expected: Any) -> None:
    idp.jwt, idp.access_claims = True, {"iat": iat}
    assert told(party, idp.issue()) == expected


def test_what_user_info_adds_to_a_signed_token_is_news(idp: OIDCSimulator, party: Relying) -> None:
    idp.jwt, idp.access_claims = True, {"iat": 1.5e9, "groups": None}
    assert told(party, idp.issue()) == pytest.approx((time.time(), 1.5e9), abs=30)


def test_what_user_info_is_asked_for_besides_does_not_make_groups_new(idp: OIDCSimulator) -> None:
    idp.jwt, idp.access_claims, idp.user["uid"] = True, {"iat": 1.5e9, "uid": None}, "al"
    with relying(idp, subject_claim="uid") as party:
        assert told(party, idp.issue()) == (1.5e9, 1.5e9)


def test_an_answer_that_is_remembered_is_as_old_as_it_is(idp: OIDCSimulator, party: Relying) -> None:
    token = idp.issue()
    idp.introspection_claims = {"iat": 1.5e9}
    first = told(party, token)
    assert first == pytest.approx((time.time(), 1.5e9), abs=30)
    party.clock.ahead = 200
    assert told(party, token) == first
    party.clock.ahead = 400
    assert told(party, token)[0] == pytest.approx(first[0] + 400, abs=30)


@pytest.mark.parametrize(("ahead", "expected"), [(-40, 0), (0, 0), (40, 40)])
def test_a_sign_in_is_the_latest_by_both_clocks(
    idp: OIDCSimulator, party: Relying, ahead: float, expected: float
) -> None:
    now = int(time.time())
    idp.id_claims = {"iat": now + ahead}
    vouched = party.sign_in()
    assert vouched.told_at.timestamp() == pytest.approx(now + expected, abs=5)
    assert vouched.made_at == vouched.told_at
