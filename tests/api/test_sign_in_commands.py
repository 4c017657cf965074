"""Signing in for a command on the user's machine (RFC 8252), and the token endpoint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests

from tests.signing_in import DEVICE_GRANT, LOOPBACK, Command, Service, encoded, query, refusal
from tests.simulators.oidc import OIDCSimulator

ROOT = Path(__file__).parents[2]

pytest_plugins = "tests.signing_in_fixtures"

# Commands on the user's machine (RFC 8252)


def test_a_command_gets_a_code_and_exchanges_it(sso: Service) -> None:
    command = Command()
    location = sso.browser().leave_for(command)
    answer = sso.token(**command.exchange(location))
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    tokens = answer.json()
    assert tokens["token_type"] == "Bearer"
    assert 3590 <= tokens["expires_in"] <= 3600
    assert re.fullmatch("hpcwaas_ses_[A-Za-z0-9_-]{43}", tokens["access_token"])
    assert tokens["refresh_token"].startswith("hpcwaas_ref_")
    for form in (tokens["access_token"], encoded(tokens["access_token"]), encoded(tokens["access_token"]).rstrip("=")):
        assert sso.whoami(form).json()["subject"] == "alice"
    assert refusal(sso.token(**command.exchange(location))) == "invalid_grant"


def test_a_command_on_ipv6(sso: Service) -> None:
    command = Command("http://[::1]:49152/")
    assert sso.token(**command.exchange(sso.browser().leave_for(command))).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "x" * 43},
        {"code_verifier": "\u00e9"},
        {"redirect_uri": "http://127.0.0.1:49153/back"},
        {"redirect_uri": f"{LOOPBACK}/"},
        {"code_verifier": ""},
        {"redirect_uri": ""},
    ],
)
def test_a_code_is_good_for_one_try(sso: Service, changes: dict[str, str]) -> None:
    command = Command()
    location = sso.browser().leave_for(command)
    assert refusal(sso.token(**command.exchange(location, **changes))) in ("invalid_grant", "invalid_request")
    assert refusal(sso.token(**command.exchange(location))) == "invalid_grant"


def test_a_code_ends_after_a_minute(sso: Service) -> None:
    command = Command()
    location = sso.browser().leave_for(command)
    sso.age("tickets", "expires_at", seconds=61)
    assert refusal(sso.token(**command.exchange(location))) == "invalid_grant"


@pytest.mark.parametrize("missing", ["redirect_uri", "state", "code_challenge", "code_challenge_method"])
def test_a_command_gives_all_parameters(sso: Service, missing: str) -> None:
    parameters = Command().parameters
    del parameters[missing]
    answer = sso.browser("application/json").get("/auth/login", **parameters)
    assert answer.status_code == 400
    assert f"`{missing}`" in answer.json()["detail"]


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://evil.example.org/",
        "http://evil.example.org:80/",
        "https://127.0.0.1:49152/",
        "http://localhost:49152/",
        "http://127.0.0.1/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:49152.evil.example.org/",
        "http://127.0.0.1:49152@evil.example.org/",
        "http://user@127.0.0.1:49152/",
        "http://127.0.0.1:49152/#fragment",
        "http://127.0.0.1:49152/?query",
        "http://127.0.0.1:49152/\\evil",
        "http://127.0.0.1:49152/a b",
        "http://127.0.0.1:49152/\r\nX: y",
        "http://127.0.0.2:49152/",
        "http://[::2]:49152/",
        "HTTP://127.0.0.1:49152/",
        "waas://callback",
    ],
)
def test_codes_go_to_the_users_own_machine_only(sso: Service, redirect_uri: str) -> None:
    parameters = Command(redirect_uri).parameters
    assert sso.browser("application/json").get("/auth/login", **parameters).status_code == 400


@pytest.mark.parametrize(
    ("trouble", "error"),
    [("denied", "access_denied"), ("nonce", "access_denied"), ("bob", "access_denied"), ("down", "")],
)
def test_a_command_is_told_what_went_wrong(sso: Service, idp: OIDCSimulator, trouble: str, error: str) -> None:
    command, browser = Command(), sso.browser()
    leaving = browser.confirm(command)
    if trouble == "denied":
        idp.error = "access_denied"
    elif trouble == "nonce":
        idp.id_claims = {"nonce": "wrong"}
    elif trouble == "down":
        idp.fault("token", "500")
    answer = browser.come_back(browser.at_provider(leaving, "bob" if trouble == "bob" else "alice"))
    assert answer.status_code == 303
    told = query(answer.headers["Location"])
    assert answer.headers["Location"].startswith(f"{LOOPBACK}?")
    assert told["state"] == command.state
    assert told["error"] == error or (not error and told["error"] in ("server_error", "temporarily_unavailable"))
    assert "code" not in told


# The token endpoint


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password", "username": "alice", "password": "x"}, "unsupported_grant_type"),
        ({"code": "x"}, "invalid_request"),
        ({"grant_type": "authorization_code"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": ""}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "hpcwaas_ref_unknown"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "é"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x" * 201}, "invalid_request"),
        ({"grant_type": DEVICE_GRANT, "device_code": "unknown"}, "invalid_grant"),
        ({"grant_type": "authorization_code", "code": "x\0"}, "invalid_request"),
        ({"grant_type": ["refresh_token", "authorization_code"], "refresh_token": "x"}, "invalid_request"),
        ({}, "invalid_request"),
    ],
)
def test_what_the_token_endpoint_refuses(sso: Service, form: dict[str, str], error: str) -> None:
    assert refusal(requests.post(f"{sso.url}/auth/token", data=form, timeout=60)) == error


def test_bodies_of_the_token_endpoint_that_are_no_forms(sso: Service) -> None:
    url = f"{sso.url}/auth/token"
    assert requests.post(url, json={"grant_type": "x"}, timeout=60).status_code == 415
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert refusal(requests.post(url, data=b"grant_type=%ff", headers=form, timeout=60)) == "invalid_request"
    assert refusal(requests.post(url, data=b"\xff", headers=form, timeout=60)) == "invalid_request"
    assert refusal(requests.post(url, data="a=1&" * 1000, headers=form, timeout=60)) == "invalid_request"
    assert requests.post(url, data="a" * 20_000, headers=form, timeout=60).status_code == 413
