"""Accounts as a running service sees them: kept by `hpcwaas-api user`, locked, disabled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import requests
from click.testing import CliRunner
from requests.auth import HTTPBasicAuth

from hpcwaas.command.main import main
from hpcwaas.configuration.settings import Settings
from tests.service import IDLE, PASSWORDS, make_settings, serving

WITHIN = 60.0
"""Seconds until a service follows what another process has changed; credentials are remembered for 2."""

ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}
"""As a reverse proxy on this machine says it."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(tmp_path_factory.mktemp("accounts"), cwl=IDLE, server={"trusted_proxies": ["127.0.0.1"]})


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with serving(settings) as url:
        yield url


@pytest.fixture
def user(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs `hpcwaas-api user …` beside the service."""
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {
        "HWA_DATA_DIR": str(settings.data_dir),
        "HWA_STORE_URL": settings.database_url,
        "HWA_AUTH_AUTH_TYPE": "basic",
    }

    def run(*arguments: str, password: str = "") -> str:
        result = CliRunner().invoke(main, ["user", *arguments], input=f"{password}\n", env=environ)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def ask(url: str, name: str, password: str, headers: Mapping[str, str] = MappingProxyType({})) -> requests.Response:
    return requests.get(
        f"{url}/workflows", auth=HTTPBasicAuth(name.encode(), password.encode()), headers=headers, timeout=60
    )


def wait_for(url: str, name: str, password: str, status: int) -> None:
    deadline = time.monotonic() + WITHIN
    while (answer := ask(url, name, password)).status_code != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)


def test_an_account_s_life_beside_a_running_service(url: str, user: Callable[..., str]) -> None:
    assert ask(url, "anna", "anna's password").status_code == 401
    user("add", "anna", "--name", "Anna Alm", password="anna's password")
    assert ask(url, "anna", "anna's password").status_code == 200
    user("passwd", "anna", password="anna's new password")
    assert ask(url, "anna", "anna's new password").status_code == 200
    wait_for(url, "anna", "anna's password", 401)
    user("suspend", "anna")
    wait_for(url, "anna", "anna's new password", 401)
    user("unsuspend", "anna")
    assert ask(url, "anna", "anna's new password").status_code == 200


@pytest.mark.parametrize("name", ["carol", "nobody-of-this-name"])
def test_who_fails_too_often_has_to_wait(url: str, name: str) -> None:
    answers = [ask(url, name, f"guess {number}") for number in range(10)]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    for password in ("another guess", PASSWORDS.get(name, "")):
        locked = ask(url, name, password)
        assert locked.status_code == 429
        assert 0 < int(locked.headers["Retry-After"]) <= 900
        assert "as this user have failed: wait 15 minutes" in locked.json()["detail"]
    assert ask(url, "bob", PASSWORDS["bob"]).status_code == 200


def test_who_has_just_signed_in_is_not_locked_out_from_elsewhere(url: str) -> None:
    """Even after the moment for which a process doesn't ask at all."""
    assert ask(url, "root", PASSWORDS["root"]).status_code == 200
    for _ in range(10):
        assert ask(url, "root", "guess", ELSEWHERE).status_code == 401
    assert ask(url, "root", PASSWORDS["root"], ELSEWHERE).status_code == 429
    time.sleep(2.1)
    assert ask(url, "root", PASSWORDS["root"]).status_code == 200


def test_a_service_without_any_account_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING),
        serving(make_settings(tmp_path, cwl=IDLE, auth={"auth_type": "basic"})) as url,
    ):
        assert ask(url, "alice", PASSWORDS["alice"]).status_code == 401
    assert any("hpcwaas-api user add" in record.message for record in caplog.records)
