"""Terms of use that have to be accepted once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.service import IDLE, Client, as_user, make_settings, serving
from tests.signing_in import LOOPBACK, Command, Service, header, query, shown_token, sso_service
from tests.simulators.oidc import OIDCSimulator

TERMS = {"version": "2026-11", "text": "Use it for <science>.", "url": "https://hpc.example.org/terms"}


@pytest.fixture(scope="module")
def provider() -> Iterator[OIDCSimulator]:
    with OIDCSimulator() as found:
        yield found


@pytest.fixture(scope="module")
def service(provider: OIDCSimulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with sso_service(provider, tmp_path_factory.mktemp("terms"), terms=TERMS) as found:
        yield found


def refused(answer: requests.Response) -> bool:
    if answer.status_code != 403:
        return False
    problem = answer.json()
    assert problem["terms"] == {"version": TERMS["version"], "url": TERMS["url"]}
    assert "`waas terms`" in problem["detail"]
    return True


def test_a_browser_is_asked_once_and_goes_on_to_the_token(service: Service) -> None:
    browser = service.browser()
    asked = browser.sign_in("anna")
    assert asked.status_code == 200
    assert "Use it for &lt;science&gt;." in asked.text
    assert TERMS["url"] in asked.text
    assert 'id="token"' not in asked.text
    page = browser.come_back(browser.at_provider(browser.press(asked), "anna"))
    assert service.whoami(shown_token(page.text)).json()["subject"] == "anna"
    assert shown_token(service.browser().sign_in("anna").text)  # not again
    assert [row["subject"] for row in service.rows("accepted_terms") if row["accepted_at"]].count("anna") == 1


def test_a_command_gets_its_code_after_that(service: Service) -> None:
    command, browser = Command(), service.browser()
    asked = browser.come_back(browser.at_provider(browser.confirm(command), "ben"))
    assert "Terms of use" in asked.text
    assert f"form-action 'self' {service.idp.issuer} http://127.0.0.1:49152" in asked.headers["Content-Security-Policy"]
    location = browser.come_back(browser.at_provider(browser.press(asked), "ben")).headers["Location"]
    assert service.token(**command.exchange(location)).status_code == 200


def test_who_refuses_is_not_signed_in(service: Service) -> None:
    command, browser = Command(), service.browser()
    asked = browser.come_back(browser.at_provider(browser.confirm(command), "cleo"))
    back = browser.press(asked, "refuse").headers["Location"]
    assert back.startswith(f"{LOOPBACK}?")
    assert (query(back)["error"], query(back)["state"]) == ("access_denied", command.state)
    browser = service.browser()
    assert browser.press(browser.sign_in("cleo"), "refuse").status_code == 403
    assert "cleo" not in [row["subject"] for row in service.rows("accepted_terms")]


def test_a_machine_is_let_in_after_that(service: Service) -> None:
    for decision, outcome in (("refuse", "access_denied"), ("accept", None)):
        device, browser = service.device(), service.browser()
        asked = browser.let_in(device["user_code"], "dan")
        page = browser.press(asked, decision)
        if decision == "accept":
            assert "The machine is signed in" in browser.come_back(browser.at_provider(page, "dan")).text
        grant = "urn:ietf:params:oauth:grant-type:device_code"
        answer = service.token(grant_type=grant, device_code=device["device_code"])
        assert answer.json().get("error") == outcome


def test_nobody_accepts_for_somebody_else(service: Service) -> None:
    victim, other = service.browser(), service.browser()
    asked = victim.sign_in("eve")
    assert other.press(asked).status_code == 400
    assert "eve" not in [row["subject"] for row in service.rows("accepted_terms")]
    leaving = victim.press(asked)
    assert leaving.status_code == 303
    assert victim.press(asked).status_code == 400  # once


def test_scripts_of_who_has_not_accepted_are_refused_clearly(provider: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(provider, tmp_path) as service:
        session = service.sign_in("fay")["access_token"]
        made = requests.post(
            f"{service.url}/tokens",
            json={"name": "robot", "scopes": ["workflows:read"]},
            headers=header(session),
            timeout=60,
        )
        robot = made.json()["token"]
    with sso_service(provider, tmp_path, terms=TERMS) as service:
        for token in (robot, session, provider.issue({"sub": "fay"})):
            assert refused(requests.get(f"{service.url}/workflows", headers=header(token), timeout=60))
            assert service.whoami(token).status_code == 200
            shown = requests.get(f"{service.url}/terms", headers=header(token), timeout=60).json()
            assert shown == {"terms": TERMS, "accepted_at": None}
        accept = f"{service.url}/terms"
        body = {"version": TERMS["version"]}
        assert requests.post(accept, json=body, headers=header(robot), timeout=60).status_code == 403
        assert requests.post(accept, json={"version": "old"}, headers=header(session), timeout=60).status_code == 409
        answer = requests.post(accept, json=body, headers=header(session), timeout=60)
        assert answer.status_code == 200
        assert answer.json()["accepted_at"] is not None
        assert requests.get(f"{service.url}/workflows", headers=header(robot), timeout=60).status_code == 200
    acts = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [act["who"] for act in acts if act["operation"] == "acceptTerms" and act["result"] == 200] == ["fay"]
    with sso_service(provider, tmp_path, terms={**TERMS, "version": "2027-01"}) as service:
        answer = requests.get(f"{service.url}/workflows", headers=header(robot), timeout=60)
        assert answer.json()["terms"]["version"] == "2027-01"


def test_accounts_with_passwords_accept_by_the_api(tmp_path: Path) -> None:
    plain = make_settings(tmp_path, cwl=IDLE)
    assert plain.auth is not None
    accounts = [{"username": "alice", "password": "alice's password"}]
    auth = {"auth_type": "basic", "basic_auth": {"accounts": accounts}, "terms": {"version": "1", "text": "Be kind."}}
    with serving(make_settings(tmp_path, cwl=IDLE, auth=auth)) as url:
        alice: Client = as_user(url, "alice")
        assert alice("GET", "/workflows").status_code == 403
        assert alice("POST", "/terms", json={"version": "1"}).status_code == 200
        assert alice("GET", "/workflows").status_code == 200


def test_a_service_without_terms(tmp_path: Path) -> None:
    with serving(make_settings(tmp_path, cwl=IDLE)) as url:
        alice = as_user(url, "alice")
        assert alice("GET", "/terms").json() == {"terms": None, "accepted_at": None}
        assert alice("POST", "/terms", json={"version": "1"}).status_code == 409
