"""The command where the service demands a better sign-in, or terms of use to be accepted."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.service import PASSWORDS
from tests.signing_in import Service, query, sso_service
from tests.simulators.oidc import OIDCSimulator

MFA = "https://refeds.org/profile/mfa"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("step-up")
    step_up = {"acr_values": [MFA], "max_age": 600}
    with OIDCSimulator() as idp, sso_service(idp, directory, step_up=step_up) as service:
        yield service


class Browser:
    """The user's browser; the provider signs in as strongly as it is asked to.

    Attributes:
        user: who signs in next.
        asked: what the provider was asked for.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.user = "alice"
        self.asked: list[dict[str, str]] = []

    def open(self, address: str) -> bool:
        browser = self.service.browser()
        leaving = browser.press(browser.get("/auth/login", **query(address)))
        self.asked.append(query(leaving.headers["Location"]))
        acr = self.asked[-1].get("acr_values")
        self.service.idp.id_claims = {"acr": acr, "auth_time": int(time.time())}
        requests.get(browser.come_back(browser.at_provider(leaving, self.user)).headers["Location"], timeout=60)
        return True


@pytest.fixture
def browser(real: Service, home: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    for name in ("SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    found = Browser(real)
    monkeypatch.setattr(webbrowser, "get", lambda: found)
    yield found
    real.idp.id_claims = {}


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waas_cli.state.at_terminal", lambda: True)


def test_a_script_is_told_what_to_run(waas: Any, real: Service, browser: Browser) -> None:
    result = waas("login", "--api_url", real.url)
    assert "The page asks whether to let 127.0.0.1:" in result.err
    result = waas("tokens", "create", "t", "--scope", "workflows:read")
    assert (result.code, result.out) == (6, "")
    assert f"demands a stronger sign-in ({MFA}) that is not more than 600 seconds old" in result.err
    assert f"repeat it: waas login --acr-values {MFA} --max-age 600\n" in result.err
    assert len(browser.asked) == 1

    assert waas("login", "--api_url", real.url, "--acr-values", MFA, "--max-age", "600").code == 0
    assert (browser.asked[-1]["acr_values"], browser.asked[-1]["max_age"]) == (MFA, "600")
    assert waas("tokens", "create", "t", "--scope", "workflows:read").code == 0


def test_at_a_terminal_the_command_signs_in_again_and_goes_on(
    waas: Any, real: Service, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert waas("login", "--api_url", real.url).code == 0
    before = len(real.rows("sessions"))
    at_a_terminal(monkeypatch)
    result = waas("ssh_keys", "key-gen", "--name", "laptop")
    assert result.code == 0, result.err
    assert MFA in result.err
    assert browser.asked[-1]["acr_values"] == MFA
    assert len(real.rows("sessions")) == before  # the earlier one has ended
    assert waas("ssh_keys", "key-gen", "--name", "desktop").code == 0
    assert len(browser.asked) == 2


def test_nothing_is_done_for_somebody_else(
    waas: Any, real: Service, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert waas("login", "--api_url", real.url).code == 0
    at_a_terminal(monkeypatch)
    browser.user = "zoe"
    result = waas("ssh_keys", "key-gen", "--name", "theirs")
    assert result.code == 6
    assert "You began this command as alice, but signed in as zoe. Nothing was done." in result.err
    assert waas("whoami", "-o", "json").json["subject"] == "alice"


def test_terms_of_use(waas: Any, home: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    terms = {"version": "2", "text": "Be \x1b[31mkind."}
    with OIDCSimulator() as idp, sso_service(idp, tmp_path_factory.mktemp("terms"), terms=terms) as service:
        who = ("--api_url", service.url, "-u", f"bob:{PASSWORDS['bob']}")
        result = waas("login", *who)
        assert result.code == 6
        assert "haven't accepted the service's terms of use, version 2" in result.err
        assert "`waas terms`" in waas("workflows", "list", *who).err
        assert waas("terms", *who, "-o", "json").json["terms"]["version"] == "2"
        assert waas("terms", *who).code == 6  # nobody can be asked
        assert "of version 2 now" in waas("terms", "--accept", "1", *who).err
        assert waas("terms", "--accept", "2", *who).code == 0
        shown = waas("terms", *who).err
        assert "You accepted version 2" in shown
        assert "\x1b" not in shown
        assert waas("login", *who).code == 0
        assert waas("workflows", "list", "--api_url", service.url).code == 0


def test_a_service_without_terms(waas: Any, real: Service, home: Any) -> None:
    who = ("--api_url", real.url, "-u", f"bob:{PASSWORDS['bob']}")
    assert "no terms of use" in waas("terms", *who).err
    assert waas("terms", "--accept", "1", *who).code == 2
