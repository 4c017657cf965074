"""What demands that a user has signed in lately, or strongly (RFC 9470)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.service import as_user
from tests.signing_in import Command, Service, header, query, sso_service
from tests.simulators.oidc import OIDCSimulator

MFA = "https://refeds.org/profile/mfa"
DEMAND = {"acr_values": [MFA, "strong"], "max_age": 600}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("step-up")
    with OIDCSimulator() as idp, sso_service(idp, directory, operators=["olga"], step_up=DEMAND) as service:
        yield service


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    yield running
    running.idp.id_claims = {}
    running.idp.introspection_claims = {}


def token_of(
    service: Service, user: str, *, acr: str | None = None, ago: float | None = None, **parameters: str
) -> str:
    """Signs in by the browser, as strongly and as long ago as the provider says."""
    service.idp.id_claims = {"acr": acr, "auth_time": None if ago is None else int(time.time() - ago)}
    command, browser = Command(), service.browser()
    leaving = browser.press(browser.get("/auth/login", **command.parameters, **parameters))
    back = browser.come_back(browser.at_provider(leaving, user)).headers["Location"]
    if "error" in query(back):
        raise PermissionError(query(back)["error_description"])
    token: str = service.token(**command.exchange(back)).json()["access_token"]
    return token


def call(service: Service, token: str, method: str, path: str, **arguments: Any) -> requests.Response:
    return requests.request(method, service.url + path, headers=header(token), timeout=60, **arguments)


def challenged(answer: requests.Response) -> None:
    """Checks that an answer is the challenge of RFC 9470."""
    assert answer.status_code == 401, answer.text
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer error="insufficient_user_authentication", error_description="')
    assert f'acr_values="{MFA} strong"' in challenge
    assert re.search(r"max_age=600$", challenge)
    problem = answer.json()
    assert problem["error"] == "insufficient_user_authentication"
    assert (problem["acr_values"], problem["max_age"]) == ([MFA, "strong"], 600)


KEY = {"json": {"name": "k"}}
TOKEN = {"json": {"name": "t", "scopes": ["workflows:read"]}}


@pytest.mark.parametrize(("acr", "ago"), [(None, None), (None, 5), ("password", 5), (MFA, None), (MFA, 700)])
def test_what_falls_short_is_challenged(service: Service, acr: str | None, ago: float | None) -> None:
    token = token_of(service, "alice", acr=acr, ago=ago)
    challenged(call(service, token, "POST", "/ssh_keys", **KEY))
    challenged(call(service, token, "DELETE", "/ssh_keys/any"))
    challenged(call(service, token, "POST", "/ssh_keys/any/rotate"))
    challenged(call(service, token, "PUT", "/sites/any/account", json={"user": "u1"}))
    challenged(call(service, token, "POST", "/tokens", **TOKEN))
    for path in ("/workflows", "/executions", "/ssh_keys", "/tokens", "/whoami"):
        assert call(service, token, "GET", path).status_code == 200


@pytest.mark.parametrize("acr", [MFA, "strong"])
def test_what_is_strong_and_fresh_enough_may(service: Service, acr: str) -> None:
    token = token_of(service, "alice", acr=acr, ago=5)
    name = f"key of {acr[-6:]}"
    key = call(service, token, "POST", "/ssh_keys", json={"name": name})
    assert key.status_code == 201
    assert call(service, token, "DELETE", key.headers["Location"]).status_code == 204
    made = call(service, token, "POST", "/tokens", json={"name": name, "scopes": ["keys:write"]})
    assert made.status_code == 201
    # A token is as good as the sign-in that made it.
    robot = made.json()["token"]
    key = call(service, robot, "POST", "/ssh_keys", json={"name": name})
    assert key.status_code == 201
    service.age("tokens", "proved_at", seconds=700)
    service.sign_in("zoe")  # whatever is remembered of who somebody is, is forgotten
    challenged(call(service, robot, "DELETE", key.headers["Location"]))


def test_a_session_ages_and_no_renewal_makes_it_young(service: Service) -> None:
    service.idp.id_claims = {"acr": MFA, "auth_time": int(time.time() - 5)}
    tokens = service.sign_in("alice")
    service.age("sessions", "proved_at", seconds=700)
    again = service.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).json()
    challenged(call(service, again["access_token"], "POST", "/ssh_keys", **KEY))


def test_an_operator_is_one_by_a_strong_sign_in_only(service: Service) -> None:
    weak, strong = token_of(service, "olga"), token_of(service, "olga", acr=MFA, ago=5)
    for path in ("/executions?owner=*", "/tokens?owner=bob", "/ssh_keys?owner=*", "/files?owner=bob"):
        challenged(call(service, weak, "GET", path))
        assert call(service, strong, "GET", path).status_code == 200
    for method, path in (("GET", "/executions/unknown"), ("DELETE", "/executions/unknown"), ("DELETE", "/tokens/x")):
        challenged(call(service, weak, method, path))
        assert call(service, strong, method, path).status_code == 404
    assert call(service, weak, "GET", "/executions").status_code == 200
    assert call(service, weak, "GET", "/workflows/unknown").status_code == 404
    plain = token_of(service, "alice")
    assert call(service, plain, "GET", "/executions/unknown").status_code == 404
    assert call(service, plain, "GET", "/executions?owner=*").status_code == 403


def test_the_provider_is_asked_for_what_is_demanded(service: Service) -> None:
    browser = service.browser()
    leaving = browser.press(
        browser.get("/auth/login", **Command().parameters, acr_values=f"{MFA} strong", max_age="600")
    )
    asked = query(leaving.headers["Location"])
    assert (asked["acr_values"], asked["max_age"]) == (f"{MFA} strong", "600")
    plain = query(service.browser().get("/auth/login").headers["Location"])
    assert not {"acr_values", "max_age"} & plain.keys()
    device = requests.post(f"{service.url}/auth/device", data={"acr_values": MFA, "max_age": "60"}, timeout=60).json()
    page = browser.get("/auth/activate", user_code=device["user_code"])
    asked = query(browser.press(page).headers["Location"])
    assert (asked["acr_values"], asked["max_age"]) == (MFA, "60")


@pytest.mark.parametrize(
    ("acr", "ago", "words"),
    [
        (None, 5, "doesn't say how"),
        ("password", 5, "in the way `password`"),
        (MFA, None, "auth_time"),
        (MFA, 700, "over 600 seconds ago"),
    ],
)
def test_a_provider_that_ignores_the_demand_signs_nobody_in(
    service: Service, acr: str | None, ago: float | None, words: str
) -> None:
    with pytest.raises(PermissionError, match=re.escape(words)):
        token_of(service, "alice", acr=acr, ago=ago, acr_values=MFA, max_age="600")


def test_a_sign_in_that_is_made_meanwhile_is_fresh(service: Service) -> None:
    assert token_of(service, "alice", acr=MFA, ago=30, acr_values=MFA, max_age="0")  # clocks differ
    with pytest.raises(PermissionError, match="over 0 seconds ago"):
        token_of(service, "alice", acr=MFA, ago=90, acr_values=MFA, max_age="0")


@pytest.mark.parametrize(
    "parameters", [{"acr_values": 'a"b'}, {"acr_values": "a\nb"}, {"max_age": "-1"}, {"max_age": "soon"}]
)
def test_demands_that_cannot_be(service: Service, parameters: dict[str, str]) -> None:
    answer = service.browser("application/json").get("/auth/login", **parameters)
    assert answer.status_code == 400


def test_the_providers_own_tokens_say_how_strong_they_are(service: Service) -> None:
    weak = service.idp.issue({"sub": "alice"})
    challenged(call(service, weak, "POST", "/ssh_keys", **KEY))
    service.idp.introspection_claims = {"acr": MFA, "auth_time": int(time.time()) - 5}
    strong = service.idp.issue({"sub": "alice"})
    made = call(service, strong, "POST", "/ssh_keys", json={"name": "by the provider's"})
    assert made.status_code == 201


def test_a_password_is_fresh_and_never_strong(service: Service, tmp_path: Path) -> None:
    challenged(as_user(service.url, "bob")("POST", "/ssh_keys", json={"name": "k"}))
    with sso_service(service.idp, tmp_path, step_up={"max_age": 60, "acts": ["keys"]}) as fresh:
        assert as_user(fresh.url, "bob")("POST", "/ssh_keys", json={"name": "k"}).status_code == 201
        token = token_of(fresh, "alice", ago=100)
        assert call(fresh, token, "POST", "/tokens", **TOKEN).status_code == 201
        answer = call(fresh, token, "POST", "/ssh_keys", **KEY)
        assert answer.status_code == 401
        assert "acr_values" not in answer.headers["WWW-Authenticate"]
