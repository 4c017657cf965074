"""Signing in by the identity provider: a browser's way there and back. Through the real service and a provider that
speaks real HTTP."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.service import IDLE, as_user, make_settings, serving
from tests.signing_in import HTML, Browser, Command, Service, query, shown_token, sso_service
from tests.simulators.oidc import OIDCSimulator

ROOT = Path(__file__).parents[2]

pytest_plugins = "tests.signing_in_fixtures"

# Browsers


def test_a_browser_signs_in_and_is_shown_a_token_that_counts(sso: Service) -> None:
    page = sso.browser().sign_in("alice")
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    token = shown_token(page.text)
    user = sso.whoami(token).json()
    assert (user["subject"], user["name"], user["groups"]) == ("alice", "Alice Liddell", ["hpc"])


def test_others_are_answered_as_the_old_service_did(sso: Service) -> None:
    text = sso.browser("application/json").sign_in("alice")
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    token = text.text.rsplit("\t", 1)[1].strip()
    assert text.text == (
        "\tLog in successful\n\nWelcome Alice Liddell\nUser ID: alice\nYou can now use HPCWaaS\n\n"
        f"For using the CLI, please use the following token:\n\t{token}\n"
    )
    assert sso.whoami(token).status_code == 200


def test_each_attempt_has_a_state_nonce_and_challenge_of_its_own(sso: Service) -> None:
    attempts = [query(sso.browser().get("/auth/login").headers["Location"]) for _ in range(2)]
    for attempt in attempts:
        assert attempt["response_type"] == "code"
        assert attempt["code_challenge_method"] == "S256"
        assert attempt["redirect_uri"] == f"{sso.public}/auth/authorize"
    for name in ("state", "nonce", "code_challenge"):
        assert attempts[0][name] != attempts[1][name]
        assert len(attempts[0][name]) == 43


@pytest.mark.parametrize("parameters", [{}, {"code": "x"}, {"code": "x", "state": "unknown"}, {"state": ""}])
def test_an_unknown_state_is_refused(sso: Service, parameters: dict[str, str]) -> None:
    assert sso.browser("application/json").get("/auth/authorize", **parameters).status_code == 400


def test_a_callback_counts_once(sso: Service) -> None:
    browser = sso.browser()
    callback = browser.at_provider(browser.get("/auth/login"))
    cookies = dict(browser.cookies)
    assert browser.come_back(callback).status_code == 200
    assert browser.cookies == {}
    browser.cookies = cookies  # as whoever replays it would take care of
    assert browser.come_back(callback).status_code == 400


def test_a_callback_that_comes_twice_at_once_counts_once(sso: Service) -> None:
    browser = sso.browser()
    callback = browser.at_provider(browser.get("/auth/login"))
    both = [Browser(sso, HTML, dict(browser.cookies)) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda one: one.come_back(callback), both))
    assert sorted(answer.status_code for answer in answers) == [200, 400]


def test_several_tabs_sign_in_at_once(sso: Service) -> None:
    browser = sso.browser()
    callbacks = [browser.at_provider(browser.get("/auth/login"), user) for user in ("alice", "walter", "alice")]
    assert len(browser.cookies) == 3
    pages = [browser.come_back(callback) for callback in reversed(callbacks)]
    assert [sso.whoami(shown_token(page.text)).json()["subject"] for page in pages] == ["alice", "walter", "alice"]


def test_the_attempt_of_one_user_cannot_be_ended_by_another(sso: Service) -> None:
    alice, mallory = sso.browser(), sso.browser()
    callback = alice.at_provider(alice.get("/auth/login"), "alice")
    mallory.get("/auth/login")
    assert mallory.come_back(callback).status_code == 400
    # And hers isn't harmed by it.
    assert sso.whoami(shown_token(alice.come_back(callback).text)).json()["subject"] == "alice"


def test_a_code_of_another_attempt_signs_nobody_in(sso: Service) -> None:
    alice, mallory = sso.browser(), sso.browser()
    hers = query(alice.at_provider(alice.get("/auth/login"), "alice"))
    his = query(mallory.at_provider(mallory.get("/auth/login"), "mallory"))
    assert alice.get("/auth/authorize", code=his["code"], state=hers["state"]).status_code in (400, 401)
    assert mallory.get("/auth/authorize", code=hers["code"], state=his["state"]).status_code in (400, 401)


@pytest.mark.parametrize("tampered", ["", "x", "{value}x", "x{value}", "{value}.e30", "\xe9"])
def test_a_tampered_cookie_is_refused(sso: Service, tampered: str) -> None:
    browser = sso.browser()
    callback = browser.at_provider(browser.get("/auth/login"))
    (cookie,) = browser.cookies.values()
    value = tampered.format(value=cookie.value)
    cookie.set(cookie.key, value, value)
    assert browser.come_back(callback).status_code == 400


def test_an_attempt_ends_after_ten_minutes(sso: Service) -> None:
    browser = sso.browser()
    callback = browser.at_provider(browser.get("/auth/login"))
    sso.age("tickets", "expires_at", minutes=9)
    early = sso.browser()
    late = early.at_provider(early.get("/auth/login"))
    assert early.come_back(late).status_code == 200
    sso.age("tickets", "expires_at", minutes=1)
    assert browser.come_back(callback).status_code == 400


def test_a_provider_that_signs_nobody_in(sso: Service, idp: OIDCSimulator) -> None:
    browser = sso.browser("application/json")
    leaving = browser.get("/auth/login")
    idp.error = "access_denied"
    denied = browser.come_back(browser.at_provider(leaving))
    assert denied.status_code == 403
    idp.error = "invalid_scope"
    failed = browser.come_back(browser.at_provider(browser.get("/auth/login")))
    assert failed.status_code == 502
    assert "invalid_scope" in failed.json()["detail"]


def test_a_wrong_nonce_signs_nobody_in(sso: Service, idp: OIDCSimulator) -> None:
    idp.id_claims = {"nonce": "of another attempt"}
    assert sso.browser().sign_in().status_code == 401


def test_a_provider_that_is_down_is_no_defect_of_the_service(sso: Service, idp: OIDCSimulator) -> None:
    browser = sso.browser("application/json")
    callback = browser.at_provider(browser.get("/auth/login"))
    idp.fault("token", "500")
    assert browser.come_back(callback).status_code in (502, 503)


def test_a_name_that_has_a_password_is_not_the_providers_to_give(sso: Service) -> None:
    page = sso.browser("application/json").sign_in("bob")
    assert page.status_code == 403
    assert "bob" in page.json()["detail"]
    assert as_user(sso.url, "bob")("GET", "/whoami").json()["name"] == "bob"


# Without single sign-on


def test_a_service_without_single_sign_on_says_so(tmp_path: Path) -> None:
    with serving(make_settings(tmp_path, cwl=IDLE)) as url:
        assert requests.get(f"{url}/auth/methods", timeout=60).json() == {"methods": ["basic"]}
        answers = [
            requests.get(f"{url}/auth/login", timeout=60),
            requests.get(f"{url}/auth/authorize", timeout=60),
            requests.get(f"{url}/auth/activate", timeout=60),
            requests.post(f"{url}/auth/activate", data={"user_code": "x", "proof": "x"}, timeout=60),
            requests.post(f"{url}/auth/device", timeout=60),
            requests.post(f"{url}/auth/token", data={"grant_type": "refresh_token"}, timeout=60),
        ]
        for answer in answers:
            assert answer.status_code == 404
            assert "no single sign-on" in answer.json()["detail"]


def test_how_to_sign_in(sso: Service) -> None:
    assert requests.get(f"{sso.url}/auth/methods", timeout=60).json() == {"methods": ["basic", "sso"]}


# Limits


def test_one_address_cannot_ask_without_end(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path) as sso:
        sso.browser().get("/auth/login")
        sso.sql("UPDATE counters SET count = 600 WHERE key LIKE 'signing in %'")
        refused = sso.browser("application/json").get("/auth/login")
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert requests.post(f"{sso.url}/auth/device", timeout=60).status_code == 429
        assert requests.get(f"{sso.url}/auth/methods", timeout=60).status_code == 200
        sso.age("counters", "expires_at", seconds=61)
        assert sso.browser().get("/auth/login").status_code == 303


# Audit


def test_sign_ins_are_recorded(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path) as sso:
        sso.browser().sign_in("alice")
        sso.browser().get("/auth/authorize", state="unknown", code="x")
        browser = sso.browser()
        leaving = browser.confirm(Command())
        idp.error = "access_denied"
        browser.come_back(browser.at_provider(leaving))
    acts = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines()]
    sign_ins = [act for act in acts if act["operation"] == "authorize"]
    assert [(act["who"], act["result"], act.get("refused")) for act in sign_ins] == [("alice", 200, None)]
    counts: Counter[str] = Counter()
    for act in acts:
        counts.update(act.get("requests", {}))
    assert (counts["authorize 400"], counts["authorize 303"]) == (1, 1)
    assert {act["address"] for act in sign_ins} == {"127.0.0.1"}
