"""Signing in."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from waas_cli import config, device, loopback
from waas_cli.client import Client
from waas_cli.credentials import Credentials, Login
from waas_cli.errors import ExitCode, WaasError
from waas_cli.oauth import Refused

from tests.cli.identity import keep, kept
from tests.waiting import until

WAAS = [sys.executable, "-c", "from waas_cli.main import main; main()"]


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a screen."""
    for name in ("SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")


class Browser:
    """Goes where it is led, as a browser does."""

    def __init__(self, meddle: Callable[[str], object] = lambda _: None) -> None:
        self.meddle = meddle
        self.pages: list[str] = []

    def open(self, address: str) -> bool:
        self.meddle(parse_qs(urlsplit(address).query)["redirect_uri"][0])
        self.pages.append(requests.get(address, timeout=60).text)
        return True


@pytest.fixture
def browser(here: None, monkeypatch: pytest.MonkeyPatch) -> Browser:
    found = Browser()
    monkeypatch.setattr(webbrowser, "get", lambda: found)
    return found


def test_by_the_browser(waas: Any, service: Any, home: Path, browser: Browser) -> None:
    service.identity.methods = ["sso"]
    result = waas("login", "--api_url", service.url, "--debug")
    assert result.code == 0
    assert result.out == f"SUCCESS: Signed in at {service.url} as Alice Liddell (alice)\n"
    assert f"{service.url}/auth/login?redirect_uri=http%3A%2F%2F127.0.0.1%3A" in result.err
    assert "s3cret" not in result.err + result.out
    file = kept(home)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    content = json.loads(file.read_text())
    assert content["default"] == service.url
    assert content["logins"][service.url]["access_token"].startswith("hpcwaas_ses_")
    # The address is remembered, and all commands are signed in there.
    assert waas("whoami", "-o", "json").json["subject"] == "alice"
    assert waas("workflows", "list", "-o", "json").json == service.workflows
    while not browser.pages:
        time.sleep(0.01)
    assert "Thank you" in browser.pages[0]


def test_what_else_comes_to_the_loopback_address(waas: Any, service: Any, browser: Browser) -> None:
    statuses: list[int] = []
    silent: list[socket.socket] = []

    def meddle(address: str) -> None:
        port = int(urlsplit(address).port or 0)
        silent.append(socket.create_connection(("127.0.0.1", port)))  # as browsers do beforehand
        silent.append(socket.create_connection(("127.0.0.1", port)))
        silent[1].sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        strays = ["", "favicon.ico", "?code=evil&state=wrong", "?code=evil", "?code=evil&state=%C3%A9", "?error=x"]
        statuses.extend(requests.get(address + stray, timeout=60).status_code for stray in strays)
        statuses.append(requests.post(address, data={"code": "evil"}, timeout=60).status_code)

    browser.meddle = meddle
    assert waas("login", "--api_url", service.url).code == 0
    assert statuses == [404, 404, 400, 400, 400, 400, 501]
    assert [each.form["code"] for each in service.sent("POST", "/auth/token")] == ["s3cret-code-1"]
    for each in silent:
        each.close()


def test_the_page_says_nothing_of_the_request(service: Any, home: Path) -> None:
    """Nothing that a browser brings comes back in the page, and nothing may be loaded into it."""
    answers: list[requests.Response] = []

    def show(address: str, _: str) -> None:
        query = parse_qs(urlsplit(address).query)
        back = {"state": query["state"][0], "error": "<script>x</script>", "error_description": "\x1b[31mno"}
        answers.append(requests.get(query["redirect_uri"][0], params=back, timeout=60))

    client = Client(config.load({"api_url": service.url}, {}), note=print)
    with pytest.raises(Refused, match="no") as failure:
        loopback.sign_in(client, service.url, show)
    assert failure.value.code == ExitCode.UNAUTHORIZED
    assert "script" not in answers[0].text
    assert "default-src 'none'" in answers[0].headers["Content-Security-Policy"]
    assert answers[0].headers["Cache-Control"] == "no-store"


def test_the_browser_is_refused(waas: Any, service: Any, home: Path, browser: Browser) -> None:
    service.identity.refuse = "It was cancelled."
    result = waas("login", "--api_url", service.url)
    assert (result.code, result.out) == (6, "")
    assert "The sign-in was refused: It was cancelled." in result.err
    assert not kept(home).exists()


def test_nobody_comes(service: Any, home: Path) -> None:
    client = Client(config.load({"api_url": service.url}, {}), note=print)
    with pytest.raises(WaasError, match="Nobody signed in within") as failure:
        loopback.sign_in(client, service.url, lambda *_: None, patience=0.05)
    assert failure.value.code == ExitCode.UNAUTHORIZED
    assert "--device" in str(failure.value.hint)


def test_a_real_browser_command_and_nothing_secret_in_its_arguments(service: Any, home: Path, here: None) -> None:
    """A browser that doesn't return before it is closed, whose command line others can see."""
    script = home / "browser"
    script.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys, time, urllib.request\n"
        "urllib.request.urlopen(sys.argv[1]).read()\n"
        f"pathlib.Path({str(home / 'arguments')!r}).write_text(sys.argv[1])\n"
        f"while not pathlib.Path({str(home / 'close')!r}).exists(): time.sleep(0.02)\n"
    )
    script.chmod(0o700)
    line = [*WAAS, "login", "-o", "json", "--api_url", service.url]
    with (home / "out").open("w") as out, (home / "err").open("w") as err:
        environment = {**os.environ, "BROWSER": str(script)}
        try:
            subprocess.run(line, stdout=out, stderr=err, timeout=60, check=True, env=environment)
            until((home / "arguments").exists)
        finally:
            (home / "close").touch()
    assert json.loads((home / "out").read_text())["subject"] == "alice"
    told = (home / "err").read_text()
    for note in told.splitlines():
        assert json.loads(note)["note"]
    assert "s3cret" not in (home / "arguments").read_text()
    verifier = service.sent("POST", "/auth/token")[0].form["code_verifier"]
    assert verifier not in (home / "arguments").read_text() + told


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"DISPLAY": ":0", "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}, []),
        ({"DISPLAY": ":0", "SSH_TTY": "/dev/pts/0"}, []),
        ({}, []),
        ({"DISPLAY": ":0"}, ["--device"]),
    ],
)
def test_by_another_device(
    waas: Any, service: Any, browser: Browser, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: Any
) -> None:
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = waas("login", "--api_url", service.url, *words)
    assert result.code == 0
    assert "Signed in" in result.out
    assert "https://waas.example.org/auth/activate\n" in result.err
    assert "WDJB-MJHT" in result.err
    assert "s3cret" not in result.err
    assert browser.pages == []


def test_without_opening_a_browser(service: Any, home: Path) -> None:
    """--no-browser shows the address, also over SSH: whoever asks for it knows how to get there."""
    environment = {**os.environ, "SSH_TTY": "/dev/pts/0"}
    line = [*WAAS, "login", "--no-browser", "--api_url", service.url]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stderr
        assert "Open this address" in running.stderr.readline()
        assert "Thank you" in requests.get(running.stderr.readline().strip(), timeout=60).text
        out, _ = running.communicate(timeout=60)
    assert (running.returncode, "Signed in" in out) == (0, True)


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)

    def clock(self) -> float:
        return self.now


def by_device(service: Any, time_: Time, notes: list[str]) -> Login:
    client = Client(config.load({"api_url": service.url}, {}), note=notes.append)
    return device.sign_in(client, sleep=time_.sleep, clock=time_.clock)


def test_polls_as_the_service_wants_it(service: Any, home: Path) -> None:
    service.identity.interval = 5
    service.identity.device_answers = ["authorization_pending", "slow_down", "authorization_pending"]
    service.trouble = [("POST", "/auth/token", "drop", {}), ("POST", "/auth/token", 503, {"Retry-After": "40"})]
    found = Time()
    assert by_device(service, found, []).access_token.startswith("hpcwaas_ses_")
    assert found.waits == [5, 10, 40, 40, 45, 45]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["authorization_pending"] * 1000, "Nobody confirmed the code in time"),
        (["authorization_pending", "expired_token"], "Nobody confirmed the code in time"),
        (["access_denied"], "The sign-in was refused"),
        (["invalid_grant"], "The sign-in was refused"),
    ],
)
def test_another_device_says_no(service: Any, home: Path, answers: list[str], message: str) -> None:
    service.identity.interval = 5
    service.identity.device_answers = answers
    found = Time()
    with pytest.raises(WaasError, match=message) as failure:
        by_device(service, found, [])
    assert failure.value.code == ExitCode.UNAUTHORIZED
    assert found.now <= 600


@pytest.mark.parametrize("words", [["--device"], ["--no-browser"]])
def test_giving_up(service: Any, home: Path, words: list[str]) -> None:
    service.identity.device_answers = ["authorization_pending"] * 1000
    line = [*WAAS, "login", "--api_url", service.url, *words]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stderr
        running.stderr.readline()
        time.sleep(0.2)
        running.send_signal(2)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "")
    assert "Error: The command was interrupted." in err
    assert "Traceback" not in err


def test_by_password(waas: Any, service: Any, home: Path) -> None:
    service.identity.tokens["old"] = {"name": f"waas on {socket.gethostname()} 1", "id": "old", "owner": "alice"}
    service.identity.tokens["old"] |= {"scopes": ["keys:write"], "created_at": "2026-11-23T09:25:41.308Z"}
    service.identity.tokens["old"] |= {"expires_at": "2026-11-24T09:25:41.308Z", "last_used_at": None}
    result = waas("login", "--api_url", service.url, "-u", "alice:alicepw", "--debug")
    assert result.code == 0
    assert "alicepw" not in result.err + kept(home).read_text()
    assert "s3cret" not in result.err
    made = service.sent("POST", "/tokens")[0].json
    assert made == {
        "name": f"waas on {socket.gethostname()} 2",
        "scopes": ["workflows:read", "executions:read", "executions:write", "keys:write"],
        "days": 30,
    }
    assert waas("workflows", "list").code == 0
    assert service.requests[-1].headers["Authorization"].startswith("Bearer hpcwaas_pat_")
    # What only the password may do: at the remembered address.
    refused = waas("tokens", "list")
    assert refused.code == 6
    assert "--user NAME" in refused.err
    assert waas("tokens", "list", "-u", "alice:alicepw").code == 0


def test_an_operator_signs_in_where_tokens_are_short(waas: Any, service: Any, home: Path) -> None:
    service.identity.roles, service.identity.longest_days = ["user", "operator"], 7
    assert waas("login", "--api_url", service.url, "-u", "alice:alicepw").code == 0
    made = service.sent("POST", "/tokens")[-1].json
    assert "admin" in made["scopes"]
    login = Credentials(kept(home).parent).find(service.url)
    assert login
    assert 6 * 86400 < login.expires_at - time.time() <= 7 * 86400


def test_a_wrong_password(waas: Any, service: Any, home: Path) -> None:
    result = waas("login", "--api_url", service.url, "-u", "alice:wr0ng")
    assert (result.code, result.out) == (6, "")
    assert f"{service.url} doesn't accept this password for alice." in result.err
    assert "wr0ng" not in result.err
    assert not kept(home).exists()


@pytest.mark.parametrize(
    ("methods", "words", "code", "message"),
    [
        (["local"], [], 0, "need not sign in"),
        ([], [], 1, "no way to sign in"),
        (["sso"], ["-u", "alice"], 2, "takes no passwords"),
        (["basic"], ["--device"], 2, "single sign-on"),
        (["basic"], [], 2, "--user NAME"),
        (["basic"], ["-t", "token"], 2, "needs no sign-in"),
    ],
)
def test_other_ways(
    waas: Any, service: Any, home: Path, methods: list[str], words: list[str], code: int, message: str
) -> None:
    service.identity.methods = methods
    result = waas("login", "--api_url", service.url, *words)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert not kept(home).exists()


def test_an_old_service(waas: Any, service: Any) -> None:
    service.old = True
    result = waas("login", "--api_url", service.url)
    assert result.code == 1
    assert "too old" in result.err


def test_other_credentials_that_hide_the_sign_in_are_pointed_out(
    waas: Any, service: Any, home: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HW_ACCESS_TOKEN", "other")
    result = waas("login", "--api_url", service.url)
    assert result.code == 0
    assert "HW_ACCESS_TOKEN" in result.err
    assert "other credentials" in result.err


def test_signing_in_again_ends_what_was_before(waas: Any, service: Any, home: Path, browser: Browser) -> None:
    first = keep(home, service.url, service.identity.session(), life=0)
    assert waas("login").code == 0
    assert len(service.identity.refresh) == 1
    assert first.access_token not in service.identity.access
    assert waas("whoami").code == 0
