"""Signing in with a real OpenID provider, in a real browser and by the real `waas`."""

from __future__ import annotations

import base64
import contextlib
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.processes import eventually
from tests.system.signing_in import OTHERS_REDIRECT, Place, place, query

pytestmark = pytest.mark.system

OVER = "isn't known here"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path) as found:
        yield found


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[Place]:
    """Where the provider's access tokens are JSON Web Tokens."""
    with place(tmp_path, jwt=True) as found:
        yield found


def test_a_user_signs_in_and_copies_the_token(here: Place, tmp_path: Path) -> None:
    token = here.shown_token("alice")

    page = here.browsers("alice", "look")
    assert (page["url"], page["title"]) == (f"{here.url}/auth/authorize", "Signed in - Workflow Execution Service")
    assert "Alice Liddell" in page["text"]
    assert "Copied." in page["text"]
    assert token not in page["text"]
    user = here.whoami(token).json()
    assert (user["subject"], user["name"], user["groups"]) == ("alice", "Alice Liddell", ["climate", "hpc"])
    assert here.whoami(base64.b64decode(token).decode()).status_code == 200
    pictures(here, "alice", tmp_path, "signed-in")
    assert here.browsers("alice", "press", "Show the token")["text"].count(token) == 1
    pictures(here, "alice", tmp_path, "token-shown")
    assert here.browsers("alice", "noticed") == {"elsewhere": [], "errors": []}


def test_a_name_is_no_markup(here: Place) -> None:
    token = here.shown_token("bob")
    assert "Bob <b>Builder</b>" in here.browsers("bob", "look")["text"]
    assert here.whoami(token).json()["roles"] == ["user", "operator"]
    assert here.browsers("bob", "noticed") == {"elsewhere": [], "errors": []}


def test_a_user_who_knows_the_service_by_another_name(here: Place) -> None:
    page = here.browsers("alice", "open", here.url.replace("127.0.0.1", "localhost") + "/auth/login")
    assert page["url"].startswith(here.provider.issuer)
    page = here.sign_in("alice")
    assert (page["status"], page["url"]) == (200, f"{here.url}/auth/authorize")


def test_a_user_who_cancels_at_the_provider_is_told_so(here: Place, tmp_path: Path) -> None:
    here.browsers("alice", "open", f"{here.url}/auth/login")
    page = here.browsers("alice", "press", "Cancel")
    assert page["status"] == 403
    assert "You aren't signed in" in page["text"]
    pictures(here, "alice", tmp_path, "cancelled")
    assert here.browsers("alice", "press", "Sign in again")["url"].startswith(here.provider.issuer)


def test_waas_signs_in_by_the_browser_of_its_machine(here: Place, tmp_path: Path) -> None:
    with waas_login(here, tmp_path) as (login, address):
        page = here.browsers("alice", "open", address)
        assert page["status"] == 200
        assert page["code"] == [urlsplit(query(address)["redirect_uri"]).netloc]
        pictures(here, "alice", tmp_path, "let-a-command-in")
        here.browsers("alice", "press", "Sign in and let it in")
        page = here.sign_in("alice")
        said, trouble = login.communicate(timeout=60)
    assert (login.returncode, said) == (0, f"SUCCESS: Signed in at {here.url} as Alice Liddell (alice)\n"), trouble
    assert page["url"].startswith("http://127.0.0.1:")
    assert "Thank you" in page["text"]
    kept = here.keep_credentials()
    assert "Alice Liddell" in here.waas("whoami").stdout
    assert "script" in here.waas("workflows", "list").stdout

    here.service.stop()
    here.service.start()
    assert here.waas("whoami").returncode == 0

    assert here.waas("logout").returncode == 0
    assert here.whoami(kept["access_token"]).status_code == 401
    assert here.waas("whoami", "--api_url", here.url).returncode == 6


def test_waas_is_told_when_the_user_cancels(here: Place, tmp_path: Path) -> None:
    with waas_login(here, tmp_path) as (login, address):
        here.browsers("alice", "open", address)
        here.browsers("alice", "press", "Sign in and let it in")
        assert "Not signed in" in here.browsers("alice", "press", "Cancel")["text"]
        _, trouble = login.communicate(timeout=60)
    assert login.returncode == 6
    assert "refused" in trouble


def test_waas_is_told_when_the_user_does_not_let_it_in(here: Place, tmp_path: Path) -> None:
    with waas_login(here, tmp_path) as (login, address):
        here.browsers("alice", "open", address)
        assert "Not signed in" in here.browsers("alice", "press", "Refuse")["text"]
        _, trouble = login.communicate(timeout=60)
    assert login.returncode == 6
    assert "You didn't let the command in" in trouble
    assert not [url for url in here.browsers("alice", "visited") if url.startswith(here.provider.issuer)]


def test_terms_of_use_are_accepted_on_the_way(tmp_path: Path) -> None:
    terms = {"HWA_AUTH_TERMS_VERSION": "2026-11", "HWA_AUTH_TERMS_TEXT": "Use it for science.\n" * 60}
    with place(tmp_path, terms) as here, waas_login(here, tmp_path) as (login, address):
        here.browsers("alice", "open", address)
        here.browsers("alice", "press", "Sign in and let it in")
        page = here.sign_in("alice")
        assert "Terms of use" in page["title"]
        assert "version 2026-11" in page["text"]
        pictures(here, "alice", tmp_path, "terms")
        page = here.browsers("alice", "press", "I accept them")
        assert "Thank you" in page["text"]  # the provider knows her by now
        said, trouble = login.communicate(timeout=60)
        assert login.returncode == 0, trouble
        assert "Alice Liddell" in said
        kept = here.keep_credentials()
        assert here.whoami(kept["access_token"]).status_code == 200
        assert here.browsers("alice", "noticed") == {"elsewhere": [], "errors": []}
        with here.service.database() as database:
            rows = database.execute("SELECT subject, version FROM accepted_terms").fetchall()
        assert rows == [("alice", "2026-11")]


def test_a_fresh_sign_in_is_demanded_and_had(tmp_path: Path) -> None:
    demand = {"HWA_AUTH_STEP_UP_MAX_AGE": "60", "HWA_AUTH_STEP_UP_ACTS": "tokens"}
    with place(tmp_path, demand) as here:
        for options, made in (((), False), (("--max-age", "0"), True)):
            with waas_login(here, tmp_path, *options) as (login, address):
                here.browsers("alice", "open", address)
                here.browsers("alice", "press", "Sign in and let it in")
                here.sign_in("alice")
                assert login.wait(60) == 0
            here.keep_credentials()
            if not made:
                with here.service.database() as database:
                    database.execute("UPDATE sessions SET proved_at = '2026-01-01 00:00:00.000000'")
            create = here.waas("tokens", "create", "t", "--scope", "workflows:read")
            assert (create.returncode == 0) is made, create.stderr
            if not made:
                assert "--max-age 60" in create.stderr
            else:
                here.keep("personal access token", create.stdout.strip())


def test_a_machine_without_a_browser_is_let_in(here: Place, tmp_path: Path) -> None:
    with here.service.waas_started("login", "--device", "--api_url", here.url) as login:
        page_url, code = device_code(login)
        here.keep("user code", code)
        page = here.browsers("alice", "open", page_url)
        pictures(here, "alice", tmp_path, "enter-code")
        here.browsers("alice", "type_", "Code", code.lower().replace("-", " "))
        page = here.browsers("alice", "press", "Go on")
        assert page["code"] == [code]
        assert "127.0.0.1" in page["text"]
        pictures(here, "alice", tmp_path, "compare-code")
        here.browsers("alice", "press", "Sign in and let it in")
        page = here.sign_in("alice")
        assert "The machine is signed in" in page["text"]
        pictures(here, "alice", tmp_path, "let-in")
        said, trouble = login.communicate(timeout=60)
    assert (login.returncode, said) == (0, f"SUCCESS: Signed in at {here.url} as Alice Liddell (alice)\n"), trouble
    assert "Alice Liddell" in here.waas("whoami").stdout
    assert here.browsers("alice", "noticed") == {"elsewhere": [], "errors": []}

    again = here.browsers("bob", "open", f"{page_url}?user_code={code}")
    assert again["status"] == 404


def test_machines_that_nobody_lets_in_are_told_so(here: Place) -> None:
    with (
        here.service.waas_started("login", "--device", "--api_url", here.url) as refused,
        here.service.waas_started("login", "--device", "--api_url", here.url) as late,
    ):
        page_url, code = device_code(refused)
        here.keep("user code", code)
        device_code(late)
        here.browsers("alice", "open", f"{page_url}?user_code={code}")
        here.browsers("alice", "press", "Sign in and let it in")
        assert here.browsers("alice", "press", "Cancel")["status"] == 403
        with here.service.database() as database:
            database.execute(
                "UPDATE tickets SET content = json_set(content, '$.until', '2026-01-01T00:00:00+00:00') "
                "WHERE kind = 'device' AND json_extract(content, '$.status') = 'waiting'"
            )
        trouble = {process: process.communicate(timeout=60)[1] for process in (refused, late)}
    assert (refused.returncode, late.returncode) == (6, 6)
    assert "refused" in trouble[refused]
    assert "in time" in trouble[late]


def test_attempts_of_two_users_cannot_be_mixed_up(here: Place) -> None:
    callback = f"{here.url}/auth/authorize"
    here.browsers("alice", "hold", callback)
    here.browsers("alice", "open", f"{here.url}/auth/login")
    here.sign_in("alice")
    of_alice = here.browsers("alice", "held")

    here.browsers("bob", "open", f"{here.url}/auth/login")  # has an attempt of his own
    page = here.browsers("bob", "open", of_alice)
    assert page["status"] == 400
    assert OVER in page["text"]
    # With the state of his own attempt the code is no better.
    own = next(url for url in here.browsers("bob", "visited") if url.startswith(here.provider.issuer))
    page = here.browsers("bob", "open", of_alice.replace(query(of_alice)["state"], query(own)["state"]))
    assert page["status"] == 401
    assert here.browsers("bob", "noticed")["elsewhere"] == []


def test_a_callback_counts_once_and_for_its_browser(here: Place) -> None:
    here.browsers("alice", "open", f"{here.url}/auth/login")
    assert here.sign_in("alice")["status"] == 200
    used = [url for url in here.browsers("alice", "visited") if url.startswith(f"{here.url}/auth/authorize")]
    page = here.browsers("alice", "open", used[0])
    assert page["status"] == 400
    assert OVER in page["text"]

    here.browsers("bob", "open", f"{here.url}/auth/login")
    assert here.browsers("bob", "tamper", "hpcwaas-login-") == 1
    page = here.sign_in("bob")
    assert page["status"] == 400
    assert OVER in page["text"]


def test_opaque_tokens_are_taken_from_this_client_only(here: Place) -> None:
    own, others = here.token_of("hpcwaas", "alice"), here.token_of("another", "alice")
    assert here.whoami(own).json()["groups"] == ["climate", "hpc"]
    assert here.whoami(base64.b64encode(own.encode()).decode()).status_code == 200
    assert here.whoami(others).status_code == 401
    assert here.browsers("alice at another", "held").startswith(OTHERS_REDIRECT)


def test_signed_tokens_are_taken_from_this_client_only(signed: Place) -> None:
    own, others = signed.token_of("hpcwaas", "alice"), signed.token_of("another", "alice")
    assert own.count(".") == others.count(".") == 2
    assert signed.whoami(own).json()["subject"] == "alice"
    assert signed.whoami(base64.b64encode(own.encode()).decode()).status_code == 200
    assert signed.whoami(others).status_code == 401
    head, body, signature = own.split(".")
    assert signed.whoami(f"{head}.{body}.{signature[::-1]}").status_code == 401

    # Such a token tells no groups, and opens no user info. What the ID token told before goes on to count.
    shown = signed.shown_token("alice")
    for token in (shown, own, shown):
        user = signed.whoami(token).json()
        assert (user["name"], user["groups"]) == ("Alice Liddell", ["climate", "hpc"])


def test_a_restart_ends_neither_attempts_nor_sessions(here: Place) -> None:
    shown = here.shown_token("bob")
    here.browsers("alice", "open", f"{here.url}/auth/login")
    here.service.kill("master", "worker")
    here.service.start()
    page = here.sign_in("alice")
    assert page["status"] == 200
    assert "Alice Liddell" in page["text"]
    assert here.whoami(shown).json()["subject"] == "bob"


def test_sessions_go_on_while_the_provider_is_down(here: Place, tmp_path: Path) -> None:
    shown, direct = here.shown_token("alice"), here.token_of("hpcwaas", "bob")
    assert here.whoami(direct).status_code == 200
    here.browsers("bob", "open", f"{here.url}/auth/login")
    here.provider.kill()

    assert here.whoami(shown).json()["subject"] == "alice"
    assert here.whoami(direct).json()["subject"] == "bob"  # known from just now
    unknown = here.whoami("an-opaque-token-that-nobody-has-seen")
    assert (unknown.status_code, int(unknown.headers["Retry-After"]) > 0) == (503, True)

    here.service.kill("master", "worker")
    here.service.start()
    assert here.whoami(shown).json()["subject"] == "alice"
    page = here.browsers("alice", "open", f"{here.url}/auth/login")
    assert page["status"] == 503
    assert "can't be reached" in page["text"]
    pictures(here, "alice", tmp_path, "provider-down")

    here.provider.start()
    eventually(lambda: here.browsers("alice", "open", f"{here.url}/auth/login")["status"] == 200, 20, 0.5)
    assert here.sign_in("alice")["status"] == 200


@contextlib.contextmanager
def waas_login(here: Place, directory: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`waas login`, and the address that it opens in the user's browser."""
    opened = directory / "opened"
    opened.unlink(missing_ok=True)
    browser = directory / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {shlex.quote(str(opened))}.new && mv {opened}.new {opened}\n')
    browser.chmod(0o755)
    variables = {"BROWSER": f"{browser} %s", "DISPLAY": ":99"}
    with here.service.waas_started("login", "--api_url", here.url, *options, **variables) as login:
        eventually(opened.exists)
        yield login, opened.read_text()


def device_code(login: subprocess.Popen[str]) -> tuple[str, str]:
    """The address and the code that `waas` shows."""
    assert login.stderr
    lines = [login.stderr.readline() for _ in range(2)]
    return lines[0].split()[-1], lines[1].split()[-1]


def pictures(here: Place, whose: str, directory: Path, name: str) -> None:
    """Takes pictures of a page as it is on a light and on a dark screen, and on a phone."""
    for kind, scheme, width in (("light", "light", 1000), ("dark", "dark", 1000), ("phone", "light", 360)):
        path = directory / f"{name}-{kind}.png"
        here.browsers(whose, "picture", str(path), scheme, width)
        assert path.stat().st_size > 5_000
        assert not here.browsers(whose, "look")["overflows"], path
