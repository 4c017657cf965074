"""What the provider told of a user before, and doesn't tell with every token."""

from __future__ import annotations

from typing import Any

from tests.signing_in import Service, decoded, encoded, shown_token
from tests.simulators.oidc import OIDCSimulator

pytest_plugins = ["tests.signing_in_fixtures"]


def shown(sso: Service, token: str) -> tuple[Any, ...]:
    """Name and groups that a token stands for."""
    user = sso.whoami(token).json()
    return user["name"], user["groups"]


def test_a_token_that_tells_no_groups_takes_none_away(sso: Service, idp: OIDCSimulator) -> None:
    session = decoded(shown_token(sso.browser().sign_in("carla").text))
    idp.jwt = idp.slim = True
    try:
        idp.fault("userinfo", "401")
        bare = idp.issue({"sub": "carla"})
        known = [shown(sso, token) for token in (session, bare, session)]
        stranger = shown(sso, idp.issue({"sub": "stranger"}))
        idp.heal()
        # In base64, as nobody has just presented it.
        told = [shown(sso, token) for token in (idp.issue({"sub": "carla", "name": "Carla Two"}), encoded(session))]
    finally:
        idp.jwt = idp.slim = False
    assert known == [("Carla Liddell", ["hpc"])] * 3
    assert stranger == ("stranger", [])
    assert told == [("Carla Two", [])] * 2  # user info has answered, and named no groups


def test_a_sign_in_without_groups_takes_them_away(sso: Service, idp: OIDCSimulator) -> None:
    session = decoded(shown_token(sso.browser().sign_in("carla").text))
    idp.id_claims, idp.userinfo_claims = {"groups": None, "name": None}, {"groups": None, "name": None}
    try:
        sso.browser().sign_in("carla")
    finally:
        idp.userinfo_claims = {}
    assert shown(sso, session) == ("Carla Liddell", [])
