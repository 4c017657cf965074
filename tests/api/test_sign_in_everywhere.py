"""Signing out everywhere, as after the loss of a laptop."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.service import as_user
from tests.signing_in import Service, decoded, header, refusal, shown_token, sso_service
from tests.simulators.oidc import OIDCSimulator

ELSEWHERE = {"everywhere": "true"}


@pytest.fixture
def idp() -> Iterator[OIDCSimulator]:
    with OIDCSimulator() as found:
        yield found


@pytest.fixture
def sso(idp: OIDCSimulator, tmp_path: Path) -> Iterator[Service]:
    with sso_service(idp, tmp_path) as found:
        yield found


def leave(sso: Service, token: str, **parameters: str) -> requests.Response:
    return requests.post(f"{sso.url}/auth/logout", params=parameters, headers=header(token), timeout=60)


def personal(sso: Service, token: str) -> str:
    wanted = {"name": "robot", "scopes": ["workflows:read"]}
    made: str = requests.post(f"{sso.url}/tokens", json=wanted, headers=header(token), timeout=60).json()["token"]
    return made


@pytest.mark.parametrize("signed", [False, True])
def test_all_that_the_user_has_begun_ends(sso: Service, idp: OIDCSimulator, signed: bool) -> None:
    idp.jwt = signed
    laptop, here, other = sso.sign_in("nora"), sso.sign_in("nora"), sso.sign_in("walter")
    page = shown_token(sso.browser().sign_in("nora").text)
    robot = personal(sso, here["access_token"])
    straight = idp.issue({"sub": "nora", "groups": []})
    mine = [laptop["access_token"], here["access_token"], page, straight]
    assert [sso.whoami(token).status_code for token in mine] == [200] * 4
    assert leave(sso, here["access_token"], **ELSEWHERE).status_code == 204
    # The provider would go on vouching for its own.
    assert [sso.whoami(token).status_code for token in [*mine, decoded(page)]] == [401] * 5
    for tokens in (laptop, here):
        assert refusal(sso.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])) == "invalid_grant"
    assert sso.whoami(other["access_token"]).status_code == 200
    assert sso.whoami(robot).status_code == 200
    acts = [json.loads(line) for line in sso.settings.audit_file.read_text().splitlines()]
    (act,) = [act for act in acts if act["operation"] == "logout"]
    assert (act["who"], act["everywhere"], act["result"]) == ("nora", True, 204)


@pytest.mark.parametrize("signed", [False, True])
def test_the_user_can_sign_in_again(sso: Service, idp: OIDCSimulator, signed: bool) -> None:
    idp.jwt = signed
    assert leave(sso, sso.sign_in("nora")["access_token"], **ELSEWHERE).status_code == 204
    assert sso.whoami(sso.sign_in("nora")["access_token"]).status_code == 200
    assert sso.whoami(shown_token(sso.browser().sign_in("nora").text)).status_code == 200


@pytest.mark.parametrize("signed", [False, True])
def test_a_token_that_the_provider_makes_later_counts(sso: Service, idp: OIDCSimulator, signed: bool) -> None:
    idp.jwt = signed
    assert leave(sso, sso.sign_in("nora")["access_token"], **ELSEWHERE).status_code == 204
    told = {"iat": time.time() + 2}
    idp.access_claims, idp.introspection_claims = told, told
    assert sso.whoami(idp.issue({"sub": "nora", "groups": []})).status_code == 200


def test_a_token_straight_from_the_provider_does_it(sso: Service, idp: OIDCSimulator) -> None:
    session = sso.sign_in("nora")["access_token"]
    token = idp.issue({"sub": "nora", "groups": []})
    assert leave(sso, token, **ELSEWHERE).status_code == 204
    assert [sso.whoami(one).status_code for one in (token, session)] == [401, 401]


def test_a_personal_access_token_is_not_enough(sso: Service) -> None:
    session = sso.sign_in("nora")["access_token"]
    robot = personal(sso, session)
    refused = leave(sso, robot, **ELSEWHERE)
    assert refused.status_code == 403
    assert "personal access token" in refused.json()["detail"]
    assert [sso.whoami(token).status_code for token in (session, robot)] == [200, 200]
    assert leave(sso, robot, everywhere="false").status_code == 204
    assert [sso.whoami(token).status_code for token in (session, robot)] == [200, 401]


def test_an_account_with_a_password_has_no_sessions(sso: Service) -> None:
    bob = as_user(sso.url, "bob")
    assert bob("POST", "/auth/logout", params=ELSEWHERE).status_code == 204
    assert bob("GET", "/whoami").status_code == 200


def test_what_is_neither_true_nor_false_is_refused(sso: Service) -> None:
    session = sso.sign_in("nora")["access_token"]
    assert leave(sso, session, everywhere="perhaps").status_code == 400
    assert sso.whoami(session).status_code == 200
