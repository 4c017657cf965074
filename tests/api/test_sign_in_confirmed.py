"""The page that asks whether a command on the user's machine is their own (RFC 8252, 8.6)."""

from __future__ import annotations

import html
import re

import pytest
import requests

from tests.signing_in import LOOPBACK, Command, Service, query

pytest_plugins = "tests.signing_in_fixtures"


def fields(page: requests.Response) -> dict[str, str]:
    """What the page's form would send with its first button."""
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    return {**{name: html.unescape(value) for name, value in hidden}, "decision": "accept"}


@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
def test_the_user_is_asked_before_the_browser_goes_anywhere(sso: Service, accept: str) -> None:
    page = sso.browser(accept).get("/auth/login", **Command().parameters)
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "127.0.0.1:49152" in page.text
    assert "waas login" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert f"form-action 'self' {sso.idp.issuer} http://127.0.0.1:49152 https:" in policy
    assert page.headers["Cache-Control"] == "no-store"


def test_a_user_who_refuses_tells_the_command_so(sso: Service) -> None:
    command = Command()
    answer = sso.browser().confirm(command, "refuse")
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(f"{LOOPBACK}?")
    told = query(answer.headers["Location"])
    assert (told["error"], told["state"]) == ("access_denied", command.state)


def test_only_the_page_itself_lets_a_command_in(sso: Service) -> None:
    browser, other = sso.browser(), sso.browser()
    form = fields(browser.get("/auth/login", **Command().parameters))
    assert other.post("/auth/login", **form).status_code == 403  # without the cookie
    assert browser.post("/auth/login", **{**form, "proof": "x" * 43}).status_code == 403
    assert browser.post("/auth/login", **{**form, "redirect_uri": "http://127.0.0.1:50000/back"}).status_code == 403
    cookie = next(one for name, one in browser.cookies.items() if "command" in name)
    assert (cookie["samesite"], cookie["httponly"], cookie["secure"]) == ("Strict", True, True)
    assert browser.post("/auth/login", **form).status_code == 303


@pytest.mark.parametrize("uri", ["https://evil.example.org/", "http://localhost:49152/", "waas://x"])
@pytest.mark.parametrize("decision", ["accept", "refuse"])
def test_no_answer_leads_elsewhere(sso: Service, uri: str, decision: str) -> None:
    browser = sso.browser()
    form = fields(browser.get("/auth/login", **Command().parameters))
    answer = browser.post("/auth/login", **{**form, "redirect_uri": uri, "decision": decision})
    assert answer.status_code in (400, 403)


def test_two_commands_at_the_same_time(sso: Service) -> None:
    browser, commands = sso.browser(), [Command(), Command("http://127.0.0.1:50123/")]
    pages = [browser.get("/auth/login", **command.parameters) for command in commands]
    for page, command in zip(pages, commands, strict=True):
        location = browser.come_back(browser.at_provider(browser.press(page))).headers["Location"]
        assert sso.token(**command.exchange(location)).status_code == 200


def test_what_a_command_sends_is_no_markup(sso: Service) -> None:
    command = Command("http://127.0.0.1:49152/a'b", state='"><script>alert(1)</script>')
    page = sso.browser().get("/auth/login", **command.parameters)
    assert "<script>alert" not in page.text
    assert fields(page)["state"] == command.state
