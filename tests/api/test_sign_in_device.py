"""Signing in on a machine without a browser (RFC 8628)."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.signing_in import DEVICE_GRANT, PUBLIC, Browser, Service, query, refusal
from tests.simulators.oidc import OIDCSimulator

pytest_plugins = "tests.signing_in_fixtures"


def ask(sso: Service, machine: Any) -> requests.Response:
    """The machine's question."""
    return sso.token(grant_type=DEVICE_GRANT, device_code=machine["device_code"], client_id="waas")


def leads_on(page: requests.Response) -> tuple[str, str]:
    """Address and words of the link on a page of failure."""
    found = re.search('<a class="button" href="([^"]+)">([^<]+)</a>', page.text)
    assert found, page.text
    return found[1], found[2]


def test_a_machine_is_let_in(sso: Service) -> None:
    machine = sso.device()
    assert machine["verification_uri"] == f"{PUBLIC}/auth/activate"
    assert query(machine["verification_uri_complete"]) == {"user_code": machine["user_code"]}
    assert (machine["expires_in"], machine["interval"]) == (600, 5)
    assert refusal(ask(sso, machine)) == "authorization_pending"
    page = sso.browser().let_in(machine["user_code"], "alice")
    assert page.status_code == 200
    assert machine["user_code"] in page.text
    assert "Alice Liddell" in page.text
    tokens = ask(sso, machine).json()
    assert sso.whoami(tokens["access_token"]).json()["subject"] == "alice"
    assert sso.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).status_code == 200
    # A device code counts once.
    assert refusal(ask(sso, machine)) == "invalid_grant"


@pytest.mark.parametrize("body", [{}, {"data": {"client_id": "waas", "scope": "all"}}, {"data": {"other": "word"}}])
def test_what_a_machine_may_send(sso: Service, body: dict[str, Any]) -> None:
    answer = requests.post(f"{sso.url}/auth/device", timeout=60, **body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"


def test_codes_can_be_read_out_and_typed(sso: Service) -> None:
    codes = [sso.device()["user_code"] for _ in range(30)]
    assert len(set(codes)) == 30
    assert set("".join(codes)) <= set("BCDFGHJKLMNPQRSTVWXZ-")
    assert all(len(code) == 9 and code[4] == "-" for code in codes)


@pytest.mark.parametrize("typed", ["{0}", "{0} ", "{1}", "{2}", "{3}"])
def test_a_code_is_read_without_case_and_hyphens(sso: Service, typed: str) -> None:
    code = sso.device()["user_code"]
    forms = (code, code.lower(), code.replace("-", ""), code.lower().replace("-", " "))
    page = sso.browser().get("/auth/activate", user_code=typed.format(*forms))
    assert page.status_code == 200
    assert code in page.text


def test_the_page_tells_where_a_machine_asked_from(sso: Service) -> None:
    machine = sso.device()
    page = sso.browser().get("/auth/activate", user_code=machine["user_code"]).text
    assert "127.0.0.1" in page
    assert " UTC</time>" in page
    assert machine["device_code"] not in page


def test_who_asks_too_often_is_slowed_down(sso: Service) -> None:
    machine = sso.device()
    assert refusal(ask(sso, machine)) == "authorization_pending"
    assert refusal(ask(sso, machine)) == "slow_down"
    sso.age("counters", "expires_at", seconds=5)
    assert refusal(ask(sso, machine)) == "authorization_pending"
    # An answer that is there isn't held back.
    sso.browser().let_in(machine["user_code"])
    assert ask(sso, machine).status_code == 200


def test_a_user_who_refuses_at_the_provider(sso: Service, idp: OIDCSimulator) -> None:
    machine, browser = sso.device(), sso.browser()
    leaving = browser.press(browser.get("/auth/activate", user_code=machine["user_code"]))
    idp.error = "access_denied"
    page = browser.come_back(browser.at_provider(leaving))
    assert page.status_code == 403
    assert leads_on(page) == ("activate", "Enter a code")
    assert refusal(ask(sso, machine)) == "access_denied"
    assert refusal(ask(sso, machine)) == "invalid_grant"


def test_a_provider_that_fails_leaves_the_machine_waiting(sso: Service, idp: OIDCSimulator) -> None:
    machine, browser = sso.device(), sso.browser()
    leaving = browser.press(browser.get("/auth/activate", user_code=machine["user_code"]))
    idp.error = "server_error"
    page = browser.come_back(browser.at_provider(leaving))
    assert page.status_code == 502
    idp.error = None
    address, words = leads_on(page)
    assert (address, words) == (f"activate?user_code={machine['user_code']}", "Try again")
    again = browser.press(browser.get(f"/auth/{address}"))
    assert browser.come_back(browser.at_provider(again)).status_code == 200
    assert ask(sso, machine).status_code == 200


def test_who_is_not_let_in_may_try_again_as_somebody_else(sso: Service) -> None:
    machine = sso.device()
    page = sso.browser().let_in(machine["user_code"], "bob")  # an account with a password
    assert page.status_code == 403
    assert leads_on(page) == (f"activate?user_code={machine['user_code']}", "Try again")
    assert sso.browser().let_in(machine["user_code"], "alice").status_code == 200


def test_a_machine_that_waits_no_more(sso: Service, idp: OIDCSimulator) -> None:
    machine, browser = sso.device(), sso.browser()
    leaving = [browser.press(browser.get("/auth/activate", user_code=machine["user_code"])) for _ in range(3)]
    assert sso.browser().let_in(machine["user_code"]).status_code == 200
    late = browser.come_back(browser.at_provider(leaving[0]))
    assert (late.status_code, leads_on(late)) == (404, ("activate", "Enter a code"))
    idp.error = "access_denied"
    denied = browser.come_back(browser.at_provider(leaving[1]))
    assert (denied.status_code, leads_on(denied)) == (403, ("activate", "Enter a code"))
    browser.accept = "application/json"
    plain = browser.come_back(browser.at_provider(leaving[2]))
    assert (plain.status_code, plain.headers["Content-Type"]) == (403, "application/problem+json")
    assert ask(sso, machine).status_code == 200


def test_a_machine_waits_ten_minutes(sso: Service) -> None:
    machine, browser = sso.device(), sso.browser()
    page = browser.get("/auth/activate", user_code=machine["user_code"])
    sso.age("tickets", "expires_at", minutes=10, seconds=1)
    assert browser.press(page).status_code == 404
    assert sso.browser().get("/auth/activate", user_code=machine["user_code"]).status_code == 404


def test_an_expired_code_is_said_to_have_expired(sso: Service) -> None:
    machine = sso.device()
    sso.age("tickets", "expires_at", minutes=10, seconds=1)
    for row in sso.rows("tickets"):
        if row["kind"] == "device":
            sso.change("tickets", row, content={**row["content"], "until": "2020-01-01T00:00:00+00:00"})
    assert refusal(ask(sso, machine)) == "expired_token"


def test_a_machine_is_let_in_by_one_user(sso: Service) -> None:
    machine, alice, walter = sso.device(), sso.browser(), sso.browser()
    both = [
        (
            browser,
            browser.at_provider(browser.press(browser.get("/auth/activate", user_code=machine["user_code"])), user),
        )
        for browser, user in ((alice, "alice"), (walter, "walter"))
    ]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda pair: pair[0].come_back(pair[1]), both))
    assert sorted(answer.status_code for answer in answers) == [200, 404]
    winner = ("alice", "walter")[[answer.status_code for answer in answers].index(200)]
    assert sso.whoami(ask(sso, machine).json()["access_token"]).json()["subject"] == winner


def test_machines_that_wait_at_once_are_not_mixed_up(sso: Service) -> None:
    first, second = sso.device(), sso.device()
    browser = sso.browser()
    leaving = [browser.press(browser.get("/auth/activate", user_code=one["user_code"])) for one in (first, second)]
    back = [browser.at_provider(page, user) for page, user in zip(leaving, ("alice", "walter"), strict=True)]
    assert [second["user_code"] in browser.come_back(callback).text for callback in reversed(back)] == [True, False]
    subjects = [sso.whoami(ask(sso, one).json()["access_token"]).json()["subject"] for one in (first, second)]
    assert subjects == ["alice", "walter"]


def test_a_disabled_user_gets_no_tokens(sso: Service) -> None:
    machine = sso.device()
    sso.browser().let_in(machine["user_code"], "erin")
    sso.sql("UPDATE users SET disabled = true WHERE subject = 'erin'")
    assert refusal(ask(sso, machine)) == "invalid_grant"


# Wrong codes, and buttons that nobody pressed


def test_wrong_codes_are_counted_by_address(sso: Service) -> None:
    machine, browser = sso.device(), sso.browser("application/json")
    for number in range(10):
        wrong = "BBBB-BBB" + "BCDFGHJKLM"[number]
        assert browser.get("/auth/activate", user_code=wrong).status_code == 404
    refused = browser.get("/auth/activate", user_code=machine["user_code"])
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 600
    sso.age("counters", "expires_at", minutes=10)
    assert browser.get("/auth/activate", user_code=machine["user_code"]).status_code == 200


def test_right_codes_are_not_counted(sso: Service) -> None:
    machine, browser = sso.device(), sso.browser()
    for _ in range(15):
        assert browser.get("/auth/activate", user_code=machine["user_code"]).status_code == 200


@pytest.mark.parametrize(
    "trick", ["no cookie", "another's cookie", "no proof", "another's proof", "another code's proof"]
)
def test_a_button_counts_on_our_own_page_only(sso: Service, trick: str) -> None:
    machine, other = sso.device(), sso.device()
    victim, mallory = sso.browser("application/json"), sso.browser("application/json")
    victim.get("/auth/activate", user_code=machine["user_code"])
    mallory.get("/auth/activate", user_code=machine["user_code"])
    (cookie,), (his,) = victim.cookies.values(), mallory.cookies.values()
    victim.get("/auth/activate", user_code=other["user_code"])
    proofs = {name: morsel.value for name, morsel in victim.cookies.items()}
    proof = proofs[cookie.key]
    if trick == "no cookie":
        victim.cookies.clear()
    elif trick == "another's cookie":
        victim.cookies = {his.key: his}
    elif trick == "no proof":
        proof = ""
    elif trick == "another's proof":
        proof = his.value
    else:
        proof = next(value for name, value in proofs.items() if name != cookie.key)
    form = {"user_code": machine["user_code"], "proof": proof}
    answer = victim.post("/auth/activate", **form)
    assert answer.status_code == 403
    assert "Location" not in answer.headers


def test_the_page_may_be_open_in_several_tabs(sso: Service) -> None:
    machine, browser = sso.device(), sso.browser()
    tabs = [browser.get("/auth/activate", user_code=machine["user_code"]) for _ in range(2)]
    assert [browser.press(tab).status_code for tab in tabs] == [303, 303]


def test_the_proof_is_kept_from_other_sites(sso: Service) -> None:
    browser: Browser = sso.browser()
    browser.get("/auth/activate", user_code=sso.device()["user_code"])
    (cookie,) = browser.cookies.values()
    assert cookie["samesite"] == "Strict"
    assert cookie["httponly"]
    assert cookie["secure"]


@pytest.mark.parametrize("form", [{}, {"user_code": "BBBB-BBBB"}, {"user_code": "B" * 41, "proof": "x"}])
def test_forms_that_are_not_the_pages(sso: Service, form: dict[str, str]) -> None:
    page = sso.browser().post("/auth/activate", **form)
    assert page.status_code == 400
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    answer = sso.browser("*/*").post("/auth/activate", **form)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_machine_whose_request_is_malformed_is_told_in_the_words_of_oauth(sso: Service) -> None:
    answer = requests.post(f"{sso.url}/auth/device", data={"scope": "x" * 1001}, timeout=60)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["error"] == "invalid_request"
