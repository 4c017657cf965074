"""The command against the real service, which trusts an identity provider and has accounts with passwords."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.service import PASSWORDS
from tests.signing_in import Service, query, sso_service
from tests.simulators.oidc import OIDCSimulator

WAAS = [sys.executable, "-c", "from waas_cli.main import main; main()"]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("sso")
    with OIDCSimulator() as idp, sso_service(idp, directory, operators=["root"], runs=True) as service:
        yield service


class Browser:
    """The user's browser: to the service, to the provider and back, and to the command that waits."""

    def __init__(self, service: Service, user: str) -> None:
        self.service = service
        self.user = user

    def open(self, address: str) -> bool:
        browser = self.service.browser()
        leaving = browser.press(browser.get("/auth/login", **query(address)))
        requests.get(browser.come_back(browser.at_provider(leaving, self.user)).headers["Location"], timeout=60)
        return True


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")


def kept(home: Path) -> Any:
    return json.loads((home / ".local" / "state" / "waas" / "credentials.json").read_text())


def expire(home: Path, url: str) -> None:
    """Lets the hour of the access token be over, as far as the command knows."""
    path = home / ".local" / "state" / "waas" / "credentials.json"
    content = kept(home)
    content["logins"][url]["expires_at"] = 0
    path.write_text(json.dumps(content))


def test_by_the_browser(waas: Any, real: Service, home: Path, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "get", lambda: Browser(real, "alice"))
    result = waas("login", "--api_url", real.url)
    assert (result.code, result.out) == (0, f"SUCCESS: Signed in at {real.url} as Alice Liddell (alice)\n")
    who = waas("whoami", "-o", "json").json
    assert (who["subject"], who["groups"], who["scopes"]) == ("alice", ["hpc"], None)
    before = kept(home)["logins"][real.url]
    expire(home, real.url)
    assert waas("workflows", "list").code == 0
    after = kept(home)["logins"][real.url]
    assert before["access_token"] != after["access_token"]
    assert before["refresh_token"] != after["refresh_token"]

    secret = waas("tokens", "create", "nightly", "--scope", "workflows:read").out.strip()
    assert waas("-t", secret, "--api_url", real.url, "workflows", "list").code == 0
    lacking = waas("-t", secret, "--api_url", real.url, "ssh_keys", "list")
    assert (lacking.code, "keys:write" in lacking.err) == (6, True)
    assert waas("tokens", "list").out.split("\t")[1] == "nightly"
    assert waas("tokens", "revoke", "nightly").code == 0
    assert waas("-t", secret, "--api_url", real.url, "workflows", "list").code == 6

    assert waas("logout").code == 0
    for token in (before["access_token"], after["access_token"]):
        assert real.whoami(token).status_code == 401
    assert real.token(grant_type="refresh_token", refresh_token=after["refresh_token"]).status_code == 400
    assert waas("whoami", "--api_url", real.url).code == 6


def test_who_is_not_let_in(waas: Any, real: Service, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "get", lambda: Browser(real, "alice"))
    real.idp.error = "access_denied"
    try:
        result = waas("login", "--api_url", real.url)
    finally:
        real.idp.error = None
    assert (result.code, result.out) == (6, "")
    assert "The sign-in was refused: The identity provider didn't sign you in" in result.err


def test_by_another_device(waas: Any, real: Service, home: Path) -> None:
    line = [*WAAS, "login", "--device", "--api_url", real.url, "--debug"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ) as running:
        assert running.stderr
        seen = ""
        while not (code := re.search("[A-Z]{4}-[A-Z]{4}$", seen, re.MULTILINE)):
            seen += running.stderr.readline()
        assert f"{real.public}/auth/activate\n" in seen
        assert real.browser().let_in(code[0]).status_code == 200
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (0, f"SUCCESS: Signed in at {real.url} as Alice Liddell (alice)\n")
    login = kept(home)["logins"][real.url]
    for secret in (login["access_token"], login["refresh_token"]):
        assert secret not in seen + err
    assert waas("whoami").code == 0


def test_by_password(waas: Any, real: Service, home: Path) -> None:
    words = ["login", "--api_url", real.url, "-u"]
    assert waas(*words, "bob:wrong").code == 6
    assert waas(*words, f"bob:{PASSWORDS['bob']}").code == 0
    who = waas("whoami", "-o", "json").json
    assert who["subject"] == "bob"
    assert who["scopes"] == ["executions:read", "executions:write", "keys:write", "workflows:read"]
    # An operator's token is one of an operator; signing in anew ends what was before.
    before = kept(home)["logins"][real.url]["access_token"]
    assert waas(*words, f"root:{PASSWORDS['root']}").code == 0
    assert real.whoami(before).status_code == 401
    assert "operator" in waas("whoami", "-o", "json").json["roles"]
    refused = waas("tokens", "list")
    assert (refused.code, "--user NAME" in refused.err) == (6, True)
    assert waas("logout").code == 0


def test_shares(waas: Any, real: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HW_API_URL", real.url)
    users = {name: ("-u", f"{name}:{PASSWORDS[name]}") for name in ("bob", "carol", "root")}

    def run(user: str, *words: str) -> Any:
        return waas(*users[user], *words, "-o", "json")

    execution = run("bob", "workflows", "trigger", "echo", "-i", "message=hello", "--follow").json["id"]
    assert run("carol", "executions", "show", execution).code == 5
    shared = run("bob", "executions", "share", execution, "-u", "carol", "-g", "climate")
    assert shared.json == {"users": ["carol"], "groups": ["climate"]}
    assert run("bob", "executions", "shares", execution).json == shared.json
    assert run("carol", "executions", "show", execution).json["owner"] == "bob"
    assert [each["id"] for each in run("carol", "executions", "list", "--shared").json] == [execution]
    assert run("carol", "executions", "list").json == []
    assert run("carol", "executions", "list", "--owner", "bob").code == 6
    assert execution in [each["id"] for each in run("root", "executions", "list", "--owner", "*").json]
    assert run("bob", "executions", "unshare", execution).json == {"users": [], "groups": []}
    assert run("carol", "executions", "show", execution).code == 5
