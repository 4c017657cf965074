"""Which account is whose: names that are taken over, changed, shared with passwords, and what opens the door."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from hpcwaas.app import create_app
from hpcwaas.errors import ConfigurationError
from tests.signing_in import Command, Service, header, sso_service, sso_settings
from tests.simulators.oidc import OIDCSimulator

SUBJECT = "https://aai.example.org/users/42"


@pytest.fixture
def idp() -> Iterator[OIDCSimulator]:
    with OIDCSimulator() as found:
        yield found


def sign_in(service: Service, **claims: Any) -> requests.Response:
    """Signs in by a browser as whoever has these claims; gives the page that follows."""
    browser = service.browser("application/json")
    leaving = browser.get("/auth/login")
    service.idp.user = {"name": "Somebody", "groups": [], **claims}
    return browser.come_back(service.idp.follow(leaving.headers["Location"]))


def token_of(service: Service, **claims: Any) -> str:
    """Signs in; gives the session's access token."""
    command, browser = Command(), service.browser()
    leaving = browser.confirm(command)
    service.idp.user = {"name": "Somebody", "groups": [], **claims}
    back = browser.come_back(service.idp.follow(leaving.headers["Location"]))
    answer = service.token(**command.exchange(back.headers["Location"]))
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


def personal_token(service: Service, session: str, *scopes: str) -> str:
    answer = requests.post(
        f"{service.url}/tokens", json={"name": "robot", "scopes": list(scopes)}, headers=header(session), timeout=60
    )
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


def as_password(name: str, token: str) -> dict[str, str]:
    """The header of `curl -u "NAME:TOKEN"`."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()}


def test_a_name_that_is_given_to_somebody_else_opens_nothing(
    idp: OIDCSimulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sso_service(idp, tmp_path, subject_claim="preferred_username") as service:
        token = token_of(service, sub="1", preferred_username="alice")
        answer = sign_in(service, sub="2", preferred_username="alice")
        assert answer.status_code == 403
        assert "belongs to somebody else of the same name" in answer.json()["detail"]
        assert f"hpcwaas-api user move alice --sub 2 --issuer {idp.issuer}" in caplog.text
        bearer = idp.issue({"sub": "2", "preferred_username": "alice", "groups": ["root"]})
        assert service.whoami(bearer).status_code == 401
        assert service.whoami(token).json()["groups"] == []
        assert service.whoami(idp.issue({"sub": "1", "preferred_username": "alice"})).json()["subject"] == "alice"


def test_who_changes_their_name_keeps_the_account(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path, subject_claim="preferred_username") as service:
        token_of(service, sub="1", preferred_username="mallory")
        token_of(service, sub="2", preferred_username="rob")
        # Not even the name of another account gets one there.
        assert service.whoami(token_of(service, sub="1", preferred_username="rob")).json()["subject"] == "mallory"
        assert service.whoami(token_of(service, sub="2", preferred_username="robert")).json()["subject"] == "rob"


def test_the_same_name_of_another_provider_opens_nothing(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path) as service:
        token_of(service, sub="alice")
    with OIDCSimulator() as other, sso_service(other, tmp_path) as service:
        answer = sign_in(service, sub="alice")
        assert answer.status_code == 403
        assert service.whoami(other.issue({"sub": "alice"})).status_code == 401


def test_accounts_of_before_belong_to_who_signs_in_next(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path, subject_claim="preferred_username") as service:
        token_of(service, sub="1", preferred_username="alice")
        service.sql("UPDATE users SET issuer = NULL, sub = NULL")  # as an earlier version left it
        assert sign_in(service, sub="1", preferred_username="alice").status_code == 200
        assert sign_in(service, sub="2", preferred_username="alice").status_code == 403


@pytest.mark.parametrize("subject", [SUBJECT, "with blank", "Jürgen/ü", "a:b:c", "x" * 255])
def test_a_subject_of_a_federation_is_a_user_like_any_other(idp: OIDCSimulator, tmp_path: Path, subject: str) -> None:
    with sso_service(idp, tmp_path, operators=[subject]) as service:
        token = token_of(service, sub=subject)
        who = service.whoami(token).json()
        assert (who["subject"], who["roles"]) == (subject, ["user", "operator"])
        listed = requests.get(f"{service.url}/executions", params={"owner": subject}, headers=header(token), timeout=60)
        assert listed.status_code == 200
        robot = personal_token(service, token, "workflows:read")
        right = requests.get(f"{service.url}/workflows", headers=as_password(subject, robot), timeout=60)
        assert right.status_code == 200
        wrong = requests.get(f"{service.url}/workflows", headers=as_password("https", robot), timeout=60)
        assert wrong.status_code == 401


def test_an_account_of_the_settings_cannot_have_the_name_of_a_user_of_the_provider(
    idp: OIDCSimulator, tmp_path: Path
) -> None:
    with sso_service(idp, tmp_path) as service:
        token_of(service, sub="alice")
    settings = sso_settings(
        idp, tmp_path, basic_auth={"accounts": [{"username": "alice", "password": "another's password"}]}
    )
    with pytest.raises(ConfigurationError, match=r"alice is a user of the identity provider"):
        create_app(settings)


def test_nobody_signs_in_by_the_provider_with_the_name_of_a_password(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path) as service:
        answer = sign_in(service, sub="bob")
        assert answer.status_code == 403
        assert "An account with a password" in answer.json()["detail"]
        assert service.whoami(idp.issue({"sub": "bob"})).status_code == 401


ASSURED = {"sub": "alice", "eduperson_assurance": ["https://refeds.org/assurance/IAP/high"]}


def test_what_the_settings_require_opens_the_door_and_shuts_it(idp: OIDCSimulator, tmp_path: Path) -> None:
    required = [{"claim": "eduperson_assurance", "values": ["https://refeds.org/assurance/IAP/high"]}]
    with sso_service(idp, tmp_path) as service:
        before = token_of(service, sub="alice")
        robot = personal_token(service, before, "workflows:read")
    with sso_service(idp, tmp_path, required_claims=required) as service:
        assert service.whoami(before).status_code == service.whoami(robot).status_code == 401  # nobody has said it yet
        answer = sign_in(service, sub="alice")
        assert answer.status_code == 403
        assert "eduperson_assurance" in answer.json()["detail"]
        session = token_of(service, **ASSURED)
        assert service.whoami(session).status_code == service.whoami(robot).status_code == 200
        assert service.whoami(idp.issue({"sub": "alice"})).status_code == 401
        sign_in(service, sub="alice", eduperson_assurance=[])
        deadline = time.monotonic() + 60  # what is known is known for 2 seconds
        while service.whoami(robot).status_code != 401 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert service.whoami(session).status_code == service.whoami(robot).status_code == 401


def test_a_demoted_operators_tokens_lose_admin(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path, operator_groups=["ops"]) as service:
        session = token_of(service, sub="olga", groups=["ops"])
        robot = personal_token(service, session, "executions:read", "admin")

        def everybodys() -> int:
            parameters = {"owner": "*"}
            url = f"{service.url}/executions"
            return requests.get(url, params=parameters, headers=header(robot), timeout=60).status_code

        assert everybodys() == 200
        token_of(service, sub="olga", groups=[])
        assert everybodys() == 403
        assert service.whoami(robot).json()["scopes"] == ["executions:read"]
        session = token_of(service, sub="olga", groups=["ops"])  # an operator again; the token isn't
        assert service.whoami(session).json()["roles"] == ["user", "operator"]
        assert everybodys() == 403


def test_operators_by_the_settings_are_looked_at_when_the_service_starts(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path, operators=["olga"]) as service:
        robot = personal_token(service, token_of(service, sub="olga"), "executions:read", "admin")
    with sso_service(idp, tmp_path) as service:
        assert service.whoami(robot).json()["scopes"] == ["executions:read"]
