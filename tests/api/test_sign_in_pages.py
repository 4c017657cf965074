"""The pages of signing in: what a browser may do with them, and what it shows when something fails."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests

from tests.signing_in import PUBLIC, Browser, Service, header, shown_token, sso_service
from tests.simulators.oidc import OIDCSimulator

pytest_plugins = "tests.signing_in_fixtures"


class Page(HTMLParser):
    """What a page consists of. Void elements may stay open; everything else must be closed in order."""

    VOID = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self, answer: requests.Response) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(answer.text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def pages(sso: Service) -> dict[str, requests.Response]:
    """Every page there is."""
    machine, confirming = sso.device(), sso.device()
    return {
        "signed in": sso.browser().sign_in(),
        "let in": sso.browser().let_in(machine["user_code"]),
        "enter": sso.browser().get("/auth/activate"),
        "confirm": sso.browser().get("/auth/activate", user_code=confirming["user_code"]),
        "failed": sso.browser().get("/auth/authorize", code="x", state="unknown"),
    }


def test_pages_are_whole_and_take_nothing_from_elsewhere(sso: Service) -> None:
    for name, answer in pages(sso).items():
        page = Page(answer)
        assert page.all("html") == [{"lang": "en"}], name
        assert len(page.all("title")) == len(page.all("h1")) == len(page.all("main")) == 1, name
        for _, attributes in page.tags:
            assert not {"src", "style", "onclick", "srcset"} & set(attributes), name
            for place in (attributes.get("href"), attributes.get("action")):
                assert place in (None, "login", "activate"), name
        labelled = {attributes["for"] for attributes in page.all("label")}
        visible = {item["id"] for item in page.all("input") if item["type"] != "hidden"}
        assert visible == labelled, name
        assert "://" not in answer.text.replace(PUBLIC, ""), name


def test_pages_run_nothing_but_their_own_script(sso: Service, idp: OIDCSimulator) -> None:
    nonces = []
    for name, answer in pages(sso).items():
        policy = dict(
            directive.strip().split(" ", 1) for directive in answer.headers["Content-Security-Policy"].split(";")
        )
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        nonce = policy["script-src"].removeprefix("'nonce-").removesuffix("'")
        assert policy["style-src"] == policy["script-src"] == f"'nonce-{nonce}'"
        assert {item.get("nonce") for kind in ("script", "style") for item in Page(answer).all(kind)} == {nonce}
        forms = policy["form-action"].split()
        assert forms == (["'self'", idp.issuer, "https:"] if name == "confirm" else ["'self'"])
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Frame-Options"] == "DENY"
        nonces.append(nonce)
    assert len(set(nonces)) == len(nonces)
    assert min(map(len, nonces)) >= 20


def test_what_users_are_called_is_only_text(sso: Service, idp: OIDCSimulator) -> None:
    name = "<script>alert('x')</script> & \"Co\""
    browser = sso.browser()
    leaving = browser.get("/auth/login")
    idp.user = {"sub": "<b>eve</b>", "name": name}
    page = browser.come_back(idp.follow(leaving.headers["Location"]))
    assert page.status_code == 200
    assert len(Page(page).all("script")) == 1
    assert Page(page).all("b") == []
    assert name in Page(page).text
    assert "<b>eve</b>" in Page(page).text


def test_what_the_provider_says_is_only_text(sso: Service) -> None:
    browser = sso.browser()
    callback = browser.at_provider(browser.get("/auth/login"))
    said = "&error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E"
    page = browser.come_back(re.sub("&?code=[^&]*", "", callback) + said)
    assert page.status_code == 403
    assert Page(page).all("script") == []
    assert "<script>alert(1)</script>" in Page(page).text


def test_what_users_type_is_only_text(sso: Service) -> None:
    page = sso.browser().get("/auth/activate", user_code='"><script>x</script>')
    assert page.status_code == 404
    assert Page(page).all("script") == []


def test_the_signed_in_page_tells_how_to_go_on(sso: Service) -> None:
    answer = sso.browser().sign_in()
    text = Page(answer).text
    for words in ("Alice Liddell", "alice", f"waas login --api_url {PUBLIC}", "HW_ACCESS_TOKEN", " UTC"):
        assert words in text
    # The token is out of sight until somebody asks for it.
    assert answer.text.index("<details>") < answer.text.index(shown_token(answer.text))


def test_failures_are_pages_for_browsers_that_lead_on(sso: Service, idp: OIDCSimulator) -> None:
    browser = sso.browser()
    failures = {
        400: browser.get("/auth/authorize", code="x", state="unknown"),
        404: browser.get("/auth/activate", user_code="BBBB-BBBB"),
        403: browser.post("/auth/activate", user_code="BBBB-BBBB", proof="x"),
    }
    leaving = browser.get("/auth/login")
    idp.error = "server_error"
    failures[502] = browser.come_back(browser.at_provider(leaving))
    for status, answer in failures.items():
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        (link,) = Page(answer).all("a")
        assert answer.headers["X-Request-ID"] in Page(answer).text
        # Links work wherever the proxy puts the service.
        target = urljoin(f"{PUBLIC}/auth/authorize", link["href"] or "")
        idp.error = None
        assert browser.get(target.removeprefix(PUBLIC)).status_code in (200, 303)


def test_failures_are_problems_for_others(sso: Service) -> None:
    answer = sso.browser("*/*").get("/auth/authorize", code="x", state="unknown")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["id"] == "bad_request"


def test_too_many_requests_are_a_page_too(sso: Service) -> None:
    sso.browser().get("/auth/login")
    sso.sql("UPDATE counters SET count = 600 WHERE key LIKE 'signing in %'")
    answer = sso.browser().get("/auth/login")
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"].startswith("text/html")


def test_a_provider_that_is_down_is_a_page_too(idp: OIDCSimulator, tmp_path: Path) -> None:
    idp.fault("discovery", "500")
    with sso_service(idp, tmp_path) as sso:
        answer = sso.browser().get("/auth/login")
        assert answer.status_code in (502, 503)
        assert answer.headers["Content-Type"].startswith("text/html")
        assert answer.cookies.get_dict() == {}
        assert sso.browser("*/*").get("/auth/activate", user_code=sso.device()["user_code"]).status_code in (502, 503)


# Cookies


def test_the_cookie_of_an_attempt_over_https(sso: Service) -> None:
    browser = sso.browser()
    browser.get("/auth/login")
    (cookie,) = browser.cookies.values()
    # The prefix keeps out what other hosts of the domain set; it demands this path.
    assert cookie.key.startswith("__Host-hpcwaas-login-")
    assert (cookie["path"], cookie["domain"], cookie["max-age"], cookie["samesite"]) == ("/", "", "600", "Lax")
    assert cookie["httponly"]
    assert cookie["secure"]


def test_the_cookie_of_an_attempt_on_this_machine(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path, public="http://localhost:9090/hpc") as sso:
        browser = sso.browser()
        leaving = browser.get("/auth/login")
        (cookie,) = browser.cookies.values()
        assert cookie.key.startswith("hpcwaas-login-")
        assert (cookie["path"], cookie["samesite"]) == ("/hpc/auth", "Lax")
        assert cookie["httponly"]
        assert not cookie["secure"]
        page = browser.come_back(browser.at_provider(leaving))
        assert page.status_code == 200
        assert browser.cookies == {}
        assert requests.get(f"{sso.url}/whoami", headers=header(shown_token(page.text)), timeout=60).status_code == 200
        assert sso.browser().let_in(sso.device()["user_code"]).status_code == 200


@pytest.mark.parametrize("accept", ["text/html", "*/*", "application/json"])
def test_no_cookie_is_needed_to_look_at_a_page(sso: Service, accept: str) -> None:
    assert Browser(sso, accept).get("/auth/activate").status_code == 200
