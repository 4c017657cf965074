"""Attacks on signing in, against a real service: by strangers, other users, and users of the identity provider."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import yaml

from tests.e2e.processes import Service as Process
from tests.e2e.processes import eventually
from tests.service import make_settings
from tests.signing_in import HTML, Command, Service, header, query, refusal
from tests.simulators.oidc import OIDCSimulator

PUBLIC = "https://waas.example.org"
SLEEPER = "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: [sleep, '600']\ninputs: {}\noutputs: {}\n"


@dataclass
class Place:
    """A service in processes of its own, and its identity provider."""

    process: Process
    service: Service
    idp: OIDCSimulator

    def token(self, **claims: Any) -> str:
        """Signs in by `waas` as whoever has these claims; gives the access token."""
        command, browser = Command(), self.service.browser()
        leaving = browser.confirm(command)
        self.idp.user = {"name": "Somebody", "groups": [], **claims}
        back = browser.come_back(self.idp.follow(leaving.headers["Location"])).headers["Location"]
        token: str = self.service.token(**command.exchange(back)).json()["access_token"]
        return token

    def call(self, token: str, method: str, path: str, **arguments: Any) -> requests.Response:
        """Calls the service."""
        return requests.request(method, self.service.url + path, headers=header(token), timeout=60, **arguments)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("attacked")
    with OIDCSimulator() as idp:
        process = Process(home, HWA_AUTH_CLIENT_SECRET=idp.client_secret)
        settings = {
            "auth": {
                "auth_type": ["basic", "sso"],
                "basic_auth": {"accounts": [{"username": "root", "password": "root's password"}]},
                "issuer": idp.issuer,
                "redirect_url": f"{PUBLIC}/auth/authorize",
                "client_id": idp.client_id,
                "subject_claim": "preferred_username",
                "groups_claim": ["groups", "realm_access.roles"],
                "operator_groups": ["operators"],
            }
        }
        (home / ".hpcwaas-api.yaml").write_text(yaml.safe_dump(settings))
        process.publish("sleeper", SLEEPER)
        process.start()
        try:
            yield Place(process, Service(process.url, make_settings(process.data), idp, PUBLIC), idp)
        finally:
            process.end()


# Login CSRF, fixation, forged cookies


def test_nobody_is_signed_in_as_somebody_else(here: Place) -> None:
    """The attacker's own callback, given to a victim: their browser has no attempt of that name."""
    attacker, victim = here.service.browser(), here.service.browser()
    leaving = attacker.get("/auth/login")
    here.idp.user = {"sub": "9", "preferred_username": "mallory"}
    callback = here.idp.follow(leaving.headers["Location"])
    assert victim.come_back(callback).status_code == 400
    assert attacker.come_back(callback).status_code == 200


@pytest.mark.parametrize(
    "forged", ["", "x", "A" * 43 + ".", "A" * 43 + ".c3RhdGU", "\u00e9".encode().decode("latin-1")]
)
def test_a_forged_cookie_ends_no_attempt(here: Place, forged: str) -> None:
    browser = here.service.browser()
    leaving = browser.get("/auth/login")
    here.idp.user = {"sub": "1", "preferred_username": "alice"}
    callback = here.idp.follow(leaving.headers["Location"])
    name = next(iter(browser.cookies))
    parameters = query(callback)
    answer = requests.get(
        f"{here.service.url}/auth/authorize",
        params=parameters,
        headers={"Accept": "application/json", "Cookie": f"{name}={forged}", "Host": "waas.example.org"},
        timeout=60,
    )
    assert answer.status_code == 400
    assert browser.come_back(callback).status_code == 200  # and wastes nothing of who has it


def test_a_cookie_that_the_attacker_planted_is_of_no_use(here: Place) -> None:
    """Session fixation: with `__Host-` no other host of the domain can plant one; and each attempt has its own."""
    browser = here.service.browser()
    names: set[str] = set()
    for _ in range(2):
        browser.cookies.clear()
        browser.get("/auth/login")
        names |= browser.cookies.keys()
    assert len(names) == 2
    assert all(name.startswith("__Host-") for name in names)


# Codes


def test_a_code_counts_once_and_for_who_has_the_secret(here: Place) -> None:
    command, thief, browser = Command(), Command(), here.service.browser()
    leaving = browser.confirm(command)
    here.idp.user = {"sub": "1", "preferred_username": "alice"}
    location = browser.come_back(here.idp.follow(leaving.headers["Location"])).headers["Location"]
    form = command.exchange(location)
    assert refusal(here.service.token(**{**form, "code_verifier": thief.verifier})) == "invalid_grant"
    assert refusal(here.service.token(**form)) == "invalid_grant"  # who stole it has spoilt it


def test_no_code_goes_to_a_port_that_the_user_has_not_let_in(here: Place) -> None:
    """Another user of the machine, or a program of the user's, opens the address with a port of its own."""
    page = here.service.browser().get("/auth/login", **Command("http://127.0.0.1:40404/").parameters)
    assert page.status_code == 200
    assert "Location" not in page.headers
    assert "127.0.0.1:40404" in page.text


def test_a_page_of_another_site_presses_no_button(here: Place) -> None:
    command, browser = Command("http://127.0.0.1:40404/"), here.service.browser()
    browser.get("/auth/login", **command.parameters)
    form = {**command.parameters, "proof": "guessed", "decision": "accept"}
    assert browser.post("/auth/login", **form).status_code == 403
    browser.cookies.clear()  # `SameSite=Strict`: another site's form comes without
    assert browser.post("/auth/login", **form).status_code == 403


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example.org/",
        "http://127.0.0.1:80@evil.example.org/",
        "http://127.0.0.1:8080.evil.example.org/",
        "http://localhost:8080/",
        "//evil.example.org",
        "javascript:alert(1)",
        "http://127.0.0.1:8080/\\@evil.example.org",
    ],
)
def test_no_open_redirect(here: Place, uri: str) -> None:
    browser = here.service.browser("application/json")
    answer = browser.get("/auth/login", **Command(uri).parameters)
    assert answer.status_code == 400
    for decision in ("accept", "refuse"):
        form = {**Command(uri).parameters, "proof": "x", "decision": decision}
        assert browser.post("/auth/login", **form).status_code in (400, 403)


@pytest.mark.parametrize("parameter", ["next", "return_to", "redirect", "url"])
def test_no_other_parameter_leads_elsewhere(here: Place, parameter: str) -> None:
    answer = here.service.browser().get("/auth/login", **{parameter: "https://evil.example.org/"})
    assert answer.status_code in (303, 400)
    assert "evil" not in answer.headers.get("Location", "")


# Issuers and accounts


def test_the_answer_of_another_issuer_is_refused_before_its_code_is_used(here: Place) -> None:
    browser = here.service.browser("application/json")
    leaving = browser.get("/auth/login")
    here.idp.user = {"sub": "1", "preferred_username": "alice"}
    callback = here.idp.follow(leaving.headers["Location"])
    before = here.idp.calls["token"]
    assert browser.come_back(f"{callback}&iss=https%3A%2F%2Fevil.example.org").status_code == 401
    assert here.idp.calls["token"] == before


def test_a_name_that_somebody_else_has_opens_nothing(here: Place) -> None:
    victim = here.token(sub="1", preferred_username="alice")
    execution = here.call(victim, "POST", "/workflows/script", json={"inputs": {"script": "true"}}).headers["Location"]
    for claims in (
        {"sub": "666", "preferred_username": "alice", "groups": ["operators"]},
        {"sub": "1 ", "preferred_username": "alice"},
    ):
        assert here.service.whoami(here.idp.issue(claims)).status_code == 401
    rupert = here.token(sub="667", preferred_username="rupert")
    here.token(sub="667", preferred_username="alice")  # renamed at the provider
    assert here.call(rupert, "GET", execution).status_code == 404
    assert here.service.whoami(victim).json()["roles"] == ["user"]


@pytest.mark.parametrize("name", ["root", "root ", " root", "root\u200b", "ro\u00adot", "*", ""])
def test_nobody_becomes_a_local_account_by_the_provider(here: Place, name: str) -> None:
    assert here.service.whoami(here.idp.issue({"sub": "668", "preferred_username": name})).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"groups": "climate operators"},
        {"groups": "climate,operators"},
        {"groups": ["climate operators"]},
        {"groups": [["operators"]]},
        {"groups": {"operators": True}},
        {"groups": ["Operators", "operators ", "/operators", "operators\u200b"]},
        {"realm_access": {"roles": "x operators"}},
        {"realm_access": "roles: [operators]"},
        {"realm_access": {"roles": {"operators": 1}}},
    ],
)
def test_forged_groups_make_no_operator(here: Place, claims: dict[str, Any]) -> None:
    token = here.token(sub="700", preferred_username="gina", **claims)
    assert here.service.whoami(token).json()["roles"] == ["user"]


# Tokens


def test_no_token_gets_more_than_it_has(here: Place) -> None:
    session = here.token(sub="1", preferred_username="alice")
    made = here.call(session, "POST", "/tokens", json={"name": str(time.time()), "scopes": ["workflows:read"]})
    robot = made.json()["token"]
    for method, path, body in (
        ("POST", "/tokens", {"name": "more", "scopes": ["keys:write"]}),
        ("GET", "/tokens", None),
        ("POST", "/ssh_keys", {}),
        ("GET", "/executions", None),
    ):
        assert here.call(robot, method, path, json=body).status_code == 403
    assert here.call(session, "POST", "/tokens", json={"name": "a", "scopes": ["admin"]}).status_code == 403
    assert here.call(session, "POST", "/tokens", json={"name": "a", "scopes": ["*"]}).status_code == 400
    as_other = base64.b64encode(f"mallory:{robot}".encode()).decode()
    answer = requests.get(f"{here.service.url}/whoami", headers={"Authorization": f"Basic {as_other}"}, timeout=60)
    assert answer.status_code == 401


def test_time_does_not_tell_who_there_is(here: Place) -> None:
    here.token(sub="1", preferred_username="alice")

    def seconds(name: str) -> float:
        taken = []
        for number in range(4):
            given = base64.b64encode(f"{name}:wrong{number}".encode()).decode()
            started = time.monotonic()
            answer = requests.get(f"{here.service.url}/whoami", headers={"Authorization": f"Basic {given}"}, timeout=60)
            taken.append(time.monotonic() - started)
            assert (answer.status_code, answer.json()["detail"]) == (401, "Credentials are missing or wrong.")
        return min(taken)  # what a busy machine adds isn't theirs

    known, sso, unknown = (seconds(name) for name in ("root", "alice", "nobody-of-this-name"))
    assert max(known, sso, unknown) < 5 * min(known, sso, unknown)


# Suspension


def test_suspending_ends_everything_in_the_running_service(here: Place) -> None:
    claims = {"sub": "800", "preferred_username": "https://aai.example.org/users/42"}
    session = here.token(**claims)
    body = {"name": "robot", "scopes": ["executions:read"]}
    robot = here.call(session, "POST", "/tokens", json=body).json()["token"]
    bearer = here.idp.issue(claims)
    tokens = (session, robot, bearer)
    assert [here.service.whoami(token).status_code for token in tokens] == [200, 200, 200]
    execution = here.call(session, "POST", "/workflows/sleeper", json={"inputs": {}}).headers["Location"]
    eventually(lambda: here.call(session, "GET", execution).json()["status"] == "RUNNING")

    done = here.process.command("user", "suspend", claims["preferred_username"])
    assert done.returncode == 0, done.stderr
    assert "the service ends 1 execution" in done.stdout
    eventually(lambda: [here.service.whoami(token).status_code for token in tokens] == [401] * 3)
    with here.process.database() as database:
        eventually(
            lambda: (
                database.execute("SELECT status FROM executions WHERE id = ?", [execution.split("/")[-1]]).fetchone()
                == ("CANCELLED",)
            )
        )
    assert not [each for each in here.process.strangers() if "sleep" in each.name()]
    browser = here.service.browser(HTML)
    leaving = browser.get("/auth/login")
    here.idp.user = claims
    page = browser.come_back(here.idp.follow(leaving.headers["Location"]))
    assert page.status_code == 403
    assert "suspended" in page.text
