"""Sessions: renewal, the end, restarts and replicas; and that no secret of a sign-in is left anywhere."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.service import as_user, serving
from tests.signing_in import (
    DEVICE_GRANT,
    Command,
    Service,
    decoded,
    encoded,
    header,
    query,
    refusal,
    renewed,
    shown_token,
    sso_service,
    sso_settings,
)
from tests.simulators.oidc import OIDCSimulator

ROOT = Path(__file__).parents[2]

pytest_plugins = "tests.signing_in_fixtures"

# Sessions


def test_a_session_is_renewed_and_its_old_tokens_count_no_more(sso: Service) -> None:
    first = sso.sign_in()
    assert sso.whoami(first["access_token"]).status_code == 200
    second = sso.token(grant_type="refresh_token", refresh_token=first["refresh_token"]).json()
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]
    assert sso.whoami(first["access_token"]).status_code == 401
    assert sso.whoami(second["access_token"]).json()["subject"] == "alice"


def test_an_expired_access_token_can_be_renewed(sso: Service) -> None:
    tokens = sso.sign_in()
    sso.age("sessions", "expires_at", minutes=61)
    assert sso.whoami(tokens["access_token"]).status_code == 401
    renewed = sso.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).json()
    assert sso.whoami(renewed["access_token"]).status_code == 200


def test_a_session_ends_after_its_duration(sso: Service) -> None:
    tokens = sso.sign_in()
    sso.age("sessions", "ends_at", hours=23, minutes=30)
    late = sso.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).json()
    assert 0 < late["expires_in"] <= 1800
    sso.age("sessions", "ends_at", minutes=31)
    assert sso.whoami(late["access_token"]).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": late["refresh_token"]}
    assert refusal(sso.token(**form)) == "invalid_grant"


def test_a_refresh_token_that_comes_again_at_once_is_refused_and_ends_nothing(sso: Service) -> None:
    first = sso.sign_in()
    second = renewed(sso, first)
    assert refusal(sso.token(grant_type="refresh_token", refresh_token=first["refresh_token"])) == "invalid_grant"
    assert sso.whoami(second["access_token"]).status_code == 200
    assert sso.whoami(renewed(sso, second)["access_token"]).status_code == 200


@pytest.mark.parametrize("renewals", [1, 2, 3])
def test_a_stolen_refresh_token_ends_the_session(sso: Service, renewals: int) -> None:
    stolen = sso.sign_in()
    latest = stolen
    for _ in range(renewals):
        latest = renewed(sso, latest)
    sso.age("sessions", "expires_at", seconds=31)
    assert refusal(sso.token(grant_type="refresh_token", refresh_token=stolen["refresh_token"])) == "invalid_grant"
    assert refusal(sso.token(grant_type="refresh_token", refresh_token=latest["refresh_token"])) == "invalid_grant"
    assert sso.whoami(latest["access_token"]).status_code == 401


def test_processes_that_renew_at_once_leave_one_good_pair(sso: Service) -> None:
    tokens = sso.sign_in()
    barrier = threading.Barrier(6)

    def renew(_: int) -> requests.Response:
        barrier.wait()
        return sso.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(renew, range(6)))
    good = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(good) == 1
    assert {refusal(answer) for answer in answers if answer.status_code != 200} == {"invalid_grant"}
    assert sso.whoami(renewed(sso, good[0])["access_token"]).status_code == 200


def test_a_disabled_user_loses_all_sessions(sso: Service) -> None:
    tokens, page = sso.sign_in("dora"), sso.browser().sign_in("dora")
    sso.sql("UPDATE users SET disabled = true WHERE subject = 'dora'")
    assert sso.whoami(tokens["access_token"]).status_code == 401
    assert sso.whoami(shown_token(page.text)).status_code == 401
    assert refusal(sso.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])) == "invalid_grant"
    assert sso.browser().sign_in("dora").status_code == 403
    sso.sql("UPDATE users SET disabled = false WHERE subject = 'dora'")
    assert sso.browser().sign_in("dora").status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        "hpcwaas_ses_" + "A" * 43,
        "hpcwaas_ref_" + "A" * 65,
        encoded("hpcwaas_ses_" + "A" * 43),
        encoded("a token of nobody"),
        "%%%",
        "=",
    ],
)
def test_foreign_tokens_are_refused(sso: Service, token: str) -> None:
    assert sso.whoami(token).status_code == 401


def test_a_refresh_token_opens_nothing(sso: Service) -> None:
    tokens = sso.sign_in()
    assert sso.whoami(tokens["refresh_token"]).status_code == 401


def test_a_token_of_another_service_is_refused(sso: Service, tmp_path: Path) -> None:
    with sso_service(sso.idp, tmp_path) as other:
        tokens = other.sign_in()
        assert other.whoami(tokens["access_token"]).status_code == 200
        assert sso.whoami(tokens["access_token"]).status_code == 401


# Signing out


def test_signing_out_ends_the_session(sso: Service) -> None:
    tokens = sso.sign_in()
    assert sso.logout(tokens["access_token"]).status_code == 204
    assert sso.whoami(tokens["access_token"]).status_code == 401
    assert refusal(sso.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])) == "invalid_grant"
    assert sso.logout(tokens["access_token"]).status_code == 401


def test_the_token_of_a_page_can_be_signed_out_though_the_provider_goes_on_vouching_for_it(sso: Service) -> None:
    token = shown_token(sso.browser().sign_in().text)
    assert sso.whoami(token).status_code == 200
    assert sso.logout(token).status_code == 204
    for _ in range(2):
        assert sso.whoami(token).status_code == 401
    assert requests.get(f"{sso.idp.issuer}/userinfo", headers=header(decoded(token)), timeout=60).status_code == 200
    assert sso.whoami(decoded(token)).status_code == 401


def test_a_token_straight_from_the_provider_can_be_signed_out(sso: Service) -> None:
    token = sso.idp.issue({"sub": "alice", "name": "Alice"})
    assert sso.whoami(token).json()["subject"] == "alice"
    assert sso.logout(token).status_code == 204
    assert sso.whoami(token).status_code == 401
    assert sso.whoami(encoded(token)).status_code == 401


def test_signing_out_with_a_password_ends_nothing(sso: Service) -> None:
    bob = as_user(sso.url, "bob")
    assert bob("POST", "/auth/logout").status_code == 204
    assert bob("GET", "/whoami").status_code == 200


def test_signing_out_revokes_a_personal_access_token(sso: Service) -> None:
    bob = as_user(sso.url, "bob")
    token = bob("POST", "/tokens", json={"name": "to sign out", "scopes": ["workflows:read"]}).json()["token"]
    assert sso.logout(token).status_code == 204
    assert sso.whoami(token).status_code == 401
    assert bob("GET", "/tokens").json()["tokens"] == []


# Restarts and several processes


def test_a_restart_interrupts_nobody(idp: OIDCSimulator, tmp_path: Path) -> None:
    settings = sso_settings(idp, tmp_path)
    with serving(settings) as url:
        first = Service(url, settings, idp)
        tokens, page = first.sign_in(), first.browser().sign_in()
        browser = first.browser()
        leaving = browser.get("/auth/login")
        machine = first.device()
    with serving(settings) as url:
        second = Service(url, settings, idp)
        assert second.whoami(tokens["access_token"]).status_code == 200
        assert second.whoami(shown_token(page.text)).status_code == 200
        assert second.whoami(renewed(second, tokens)["access_token"]).status_code == 200
        browser.service = second
        assert browser.come_back(browser.at_provider(leaving)).status_code == 200
        second.browser().let_in(machine["user_code"])
        answer = second.token(grant_type=DEVICE_GRANT, device_code=machine["device_code"])
        assert answer.status_code == 200


def test_two_services_on_one_database_agree(idp: OIDCSimulator, tmp_path: Path) -> None:
    settings = sso_settings(idp, tmp_path)
    with serving(settings) as one, serving(settings) as other:
        first, second = Service(one, settings, idp), Service(other, settings, idp)
        command, browser = Command(), first.browser()
        callback = browser.at_provider(browser.confirm(command))
        browser.service = second
        location = browser.come_back(callback).headers["Location"]
        browser.service = first
        assert browser.come_back(callback).status_code == 400
        tokens = first.token(**command.exchange(location)).json()
        assert refusal(second.token(**command.exchange(location))) == "invalid_grant"
        assert second.whoami(tokens["access_token"]).json()["subject"] == "alice"
        again = renewed(first, tokens)
        assert second.whoami(again["access_token"]).status_code == 200
        assert second.logout(again["access_token"]).status_code == 204
        assert first.whoami(again["access_token"]).status_code == 401


# Secrets


def test_no_secret_is_logged_or_stored(
    idp: OIDCSimulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = [idp.client_secret]
    before = len(idp.requests)
    caplog.set_level(logging.INFO)  # as `hpcwaas.server.logs` sets it; below that, this test's own client writes, too
    caplog.set_level(logging.DEBUG, "hpcwaas")
    with sso_service(idp, tmp_path) as sso:
        browser, command, machine = sso.browser(), Command(), sso.device()
        page = browser.sign_in()
        location = sso.browser().leave_for(command)
        tokens = sso.token(**command.exchange(location)).json()
        again = renewed(sso, tokens)
        activation = sso.browser()
        activation.let_in(machine["user_code"])
        third = sso.token(grant_type=DEVICE_GRANT, device_code=machine["device_code"]).json()
        waiting = sso.device()
        unfinished = sso.browser()
        unfinished.at_provider(unfinished.confirm(command))
        for token in (shown_token(page.text), again["access_token"], third["access_token"]):
            assert sso.whoami(token).status_code == 200
        sso.token(**command.exchange(location, code_verifier="x" * 43))
        seen += [command.state, command.verifier, query(location)["code"], shown_token(page.text)]
        seen.append(decoded(shown_token(page.text)))
        seen += [cookie.value for cookie in unfinished.cookies.values()]
        for machine_ in (machine, waiting):
            seen += [machine_["device_code"], machine_["user_code"], machine_["user_code"].replace("-", "")]
        for pair in (tokens, again, third):
            seen += [pair["access_token"], pair["refresh_token"], encoded(pair["access_token"])]
        for request in idp.requests[before:]:
            seen += [
                request.params[name] for name in ("state", "nonce", "code", "code_verifier") if name in request.params
            ]
        places = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        places["database"] = sso.dump().encode()
    output = capfd.readouterr()
    places |= {"log": caplog.text.encode(), "output": (output.out + output.err).encode()}
    assert b"hpcwaas.access" in places["log"]
    assert b"attempt" in places["database"]
    assert "audit.jsonl" in places
    assert len(seen) > 30
    assert [
        (name, secret) for name, content in places.items() for secret in set(seen) if secret.encode() in content
    ] == []


def test_the_plain_text_is_that_of_the_old_service(sso: Service) -> None:
    recordings = ROOT / "tests" / "data" / "original" / "rest.jsonl"
    rows = (json.loads(line) for line in recordings.read_text(encoding="utf-8").splitlines())
    old = next(row for row in rows if row["name"] == "sso_authorize_ok")["response"]["body"]
    text = sso.browser("application/json").sign_in("alice").text
    token = text.rsplit("\t", 1)[1].strip()
    assert text.replace(token, "dG9rL2VuKzE/").replace("Alice Liddell", "Al Ice") == old
