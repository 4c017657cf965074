"""Replays what was recorded of single sign-on by the service that this one takes the place of, with its old settings.

As `test_replay_original.py`, with an identity provider of that time: no discovery, no ID tokens, and an access token
that needs encoding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from tests.replay import ROWS, Answer, Replay, Row, check_document, check_problem
from tests.service import make_settings, serving
from tests.signing_in import Service, query
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_worlds import original
from tests.simulators.oidc import OIDCSimulator

TOKEN = "tok/en+1?"
NAMES = [name for name in ROWS if name.startswith("sso_") or name == "auth_authorize_bad_state"]
ADDED = ("code_challenge", "code_challenge_method", "nonce")
RETURNS = ("sso_authorize_bad_code", "sso_authorize_userinfo_401", "sso_authorize_ok")

MENDED: dict[str, tuple[int, str]] = {
    "sso_workflows_no_space": (401, "a blank stands between scheme and credentials (RFC 9110)"),
    "sso_authorize_bad_code": (401, "the provider doesn't vouch for anybody: no failure of this service"),
    "sso_authorize_userinfo_401": (401, "the provider doesn't vouch for anybody: no failure of this service"),
}


class OldProvider(OIDCSimulator):
    """Gives everybody the token that was recorded."""

    def issue(self, user: Mapping[str, Any] | None = None) -> str:
        made = super().issue(user)
        self._tokens[TOKEN] = self._tokens.pop(made)
        return TOKEN


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Answer]]:
    """This service's answers to all rows."""
    with pytest.MonkeyPatch.context() as patch, Simulator(original()) as engine, OldProvider() as idp:
        patch.setattr("hpcwaas.identity.front._MOMENT", 0.0)  # what has ended, has ended
        idp.id_tokens = False
        idp.user = {"sub": "alice", "name": "Al Ice"}
        idp.redirect_uris = {"http://127.0.0.1:29190/auth/authorize"}
        settings = make_settings(
            tmp_path_factory.mktemp("service"),
            auth={
                "auth_type": "sso",
                "auth_url": f"{idp.url}/authorize",
                "token_url": f"{idp.url}/token",
                "user_info_url": f"{idp.url}/userinfo",
                "redirect_url": "http://127.0.0.1:29190/auth/authorize",
                "client_id": idp.client_id,
                "client_secret": idp.client_secret,
                "scopes": ["profile", "email", "eflows"],
            },
            alien_config={"address": engine.url, "cache_seconds": 0.01},
        )
        with serving(settings) as url:
            service, replay, found = Service(url, settings, idp), Replay(url), {}
            for name in NAMES:
                if name == "sso_expired":
                    service.age("sessions", "ends_at", days=2)
                    idp.revoke(TOKEN)
                found[name] = replay.send(prepared(ROWS[name], service) if name in RETURNS else ROWS[name])
            yield found


def prepared(row: Row, service: Service) -> Row:
    """A row that comes back from the provider, with the state and the cookie of an attempt that has begun."""
    leaving = requests.get(f"{service.url}/auth/login", allow_redirects=False, timeout=60)
    back = query(service.idp.follow(leaving.headers["Location"]))
    recorded = query(row["request"]["path"])["code"]
    if recorded == "bad":
        back["code"] = "bad"
    elif recorded == "nouser":
        service.idp.fault("userinfo", "401", times=1)
    headers = {**row["request"]["headers"], "Cookie": leaving.headers["Set-Cookie"].split(";")[0]}
    return {**row, "request": {**row["request"], "path": f"/auth/authorize?{urlencode(back)}", "headers": headers}}


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_is_the_recorded_one_or_better(answers: Mapping[str, Answer], name: str) -> None:
    recorded, answer = ROWS[name]["response"], answers[name]
    status, _ = MENDED.get(name, (recorded["status"], ""))
    assert answer.status == status, answer.body
    if status >= 400:
        check_problem(recorded, answer)
    elif status == 303:
        ours, old = query(answer.headers["Location"]), query(recorded["headers"]["Location"])
        assert ours == {**old, **{name: ours[name] for name in ("state", "client_id", *ADDED)}}
    elif status == 201:
        assert answer.headers["Location"].startswith("/executions/")
    elif recorded["body"].startswith("{"):
        check_document(name, json.loads(recorded["body"]), answer.json())
    else:
        assert answer.body.decode() == recorded["body"]
        assert answer.headers["Content-Type"] == recorded["headers"]["Content-Type"]


def test_every_attempt_has_a_state_of_its_own(answers: Mapping[str, Answer]) -> None:
    locations = [
        answers[name].headers["Location"] for name in ("sso_login_redirect", "sso_login_redirect_again_same_state")
    ]
    assert len({query(location)["state"] for location in locations}) == 2
    assert {urlsplit(location).path for location in locations} == {"/authorize"}
