"""What is recorded of signing in, and of accounts."""

from __future__ import annotations

import base64
import json
import os
import pwd
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hpcwaas.api.audit import Strangers
from hpcwaas.command.main import main
from hpcwaas.configuration.settings import Settings
from tests.signing_in import DEVICE_GRANT, Command, encoded, query, shown_token, sso_service
from tests.simulators.oidc import OIDCSimulator
from tests.waiting import until

pytest_plugins = "tests.signing_in_fixtures"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Strangers, "EVERY", 0.2)


def lines(settings: Settings) -> list[Any]:
    return [json.loads(line) for line in settings.audit_file.read_bytes().splitlines()]


def recorded(settings: Settings) -> list[Any]:
    return [act for act in lines(settings) if act["operation"] != "strangers"]


def strangers(settings: Settings, requests: int) -> dict[str, int]:
    """What was counted of whom the service doesn't know, after so much of it has been recorded."""

    def counted() -> Counter[str]:
        counts: Counter[str] = Counter()
        for act in lines(settings):
            if act["operation"] == "strangers":
                counts.update(act["requests"])
        return counts

    until(lambda: counted().total() >= requests)
    return dict(counted())


def test_signing_in_and_out_by_the_provider(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path) as service:
        browser = service.browser()
        callback = browser.at_provider(browser.get("/auth/login"))
        page = browser.come_back(callback)
        browser.come_back(callback)  # once more
        tokens = service.sign_in("alice")
        service.whoami(tokens["access_token"])
        service.logout(tokens["access_token"])
        service.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        acts = recorded(service.settings)
        session = acts[2]["credential"]
        assert [(act["who"], act["credential"], act["operation"], act["result"]) for act in acts] == [
            ("alice", "sign-in", "authorize", 200),
            ("alice", "sign-in", "authorize", 303),
            ("alice", session, "issueToken", 200),
            ("alice", session, "logout", 204),
        ]
        assert session.startswith("session ")
        assert strangers(service.settings, 3) == {"authorize 400": 1, "confirmLogin 303": 1, "issueToken 400": 1}
        text = service.settings.audit_file.read_text()
        secrets = [*query(callback).values(), shown_token(page.text), tokens["access_token"], tokens["refresh_token"]]
        assert [secret for secret in secrets if secret in text or encoded(secret) in text] == []


def test_a_machine_that_waits_is_recorded_when_it_is_let_in(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path) as service:
        device = service.device()
        form = {"grant_type": DEVICE_GRANT, "device_code": device["device_code"], "client_id": "waas"}
        assert service.token(**form).json()["error"] == "authorization_pending"
        assert service.token(**form).json()["error"] == "slow_down"
        service.browser().let_in(device["user_code"], "bob-of-the-provider")
        acts = recorded(service.settings)
        assert [(act["who"], act["operation"], act["result"]) for act in acts] == [
            ("bob-of-the-provider", "authorize", 200)
        ]
        assert strangers(service.settings, 2) == {"startDevice 200": 1, "activate 303": 1}
        text = service.settings.audit_file.read_text()
        assert device["device_code"] not in text
        assert device["user_code"] not in text


def test_a_command_that_brings_a_wrong_secret(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path) as service:
        command = Command()
        form = command.exchange(service.browser().leave_for(command), code_verifier="w" * 43)
        service.token(**form)
        assert strangers(service.settings, 2) == {"confirmLogin 303": 1, "issueToken 400": 1}
        assert form["code"] not in service.settings.audit_file.read_text()


def test_acts_on_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_USER", raising=False)
    file = tmp_path / "settings.yaml"
    file.write_text(f"data_dir: {tmp_path}/data\nauth: {{auth_type: basic}}\n")
    for arguments, given in (
        (["add", "dora"], "first password"),
        (["add", "dora"], "first password"),  # refused
        (["passwd", "dora"], "second password"),
        (["suspend", "dora"], ""),
        (["unsuspend", "dora"], ""),
        (["list"], ""),
        (["hash"], "third password"),
    ):
        CliRunner().invoke(main, ["--config", str(file), "user", *arguments], input=f"{given}\n")
    audit = tmp_path / "data" / "audit.jsonl"
    acts = [json.loads(line) for line in audit.read_bytes().splitlines()]
    me = pwd.getpwuid(os.getuid()).pw_name
    assert [(act["who"], act["credential"], act["operation"], act["object"], act["result"]) for act in acts] == [
        (me, "account", f"user {command}", "dora", "ok") for command in ("add", "passwd", "suspend", "unsuspend")
    ]
    text = audit.read_text()
    for word in ("first", "second", "third"):
        assert word not in text
        assert base64.b64encode(word.encode()).decode()[:6] not in text
