"""Attacks on signing in that have been tried."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from hpcwaas.identity.passwords import Verifier
from tests.service import IDLE, Client, as_user, make_settings, serving
from tests.signing_in import encoded, sso_service
from tests.simulators.oidc import OIDCSimulator

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the points of P-256."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(make_settings(tmp_path_factory.mktemp("hostile"), cwl=IDLE)) as found:
        yield found


def token_of(user: Client) -> Client:
    """The same user by a personal access token."""
    body = {"name": "t", "scopes": ["workflows:read", "executions:write", "keys:write"]}
    answer = user("POST", "/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return Client(user.url, {"Authorization": f"Bearer {answer.json()['token']}"})


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_can_not_use_the_password_that_a_browser_keeps(url: str, site: str) -> None:
    bob = as_user(url, "bob")
    key = bob("POST", "/ssh_keys").json()
    rotate = f"/ssh_keys/{key['id']}/rotate"
    form = {"Sec-Fetch-Site": site, "Content-Type": "application/x-www-form-urlencoded"}
    for path in (rotate, "/files?name=a"):
        refused = bob("POST", path, data=b"a=b", headers=form)
        assert refused.status_code == 403
        assert "another site" in refused.json()["detail"]
    assert bob("GET", f"/ssh_keys/{key['id']}", headers=form).json() == key
    for own in ("same-origin", "none"):
        assert bob("POST", rotate, headers={"Sec-Fetch-Site": own}).status_code == 200


def test_a_token_is_nothing_that_a_browser_keeps(url: str) -> None:
    bob = token_of(as_user(url, "carol"))
    assert bob("POST", "/ssh_keys", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 201


def test_who_guesses_passwords_holds_up_nobody_with_a_token(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = token_of(as_user(url, "alice"))
    end, waiting = threading.Event(), threading.Semaphore(0)

    @contextlib.contextmanager
    def turn(_self: Verifier) -> Iterator[None]:
        waiting.release()
        assert end.wait(60)
        yield

    monkeypatch.setattr(Verifier, "turn", turn)

    def guess(number: int) -> int:
        pair = base64.b64encode(f"user{number}:guess".encode()).decode()
        return requests.get(f"{url}/whoami", headers={"Authorization": f"Basic {pair}"}, timeout=60).status_code

    with ThreadPoolExecutor(30) as pool:
        guesses = [pool.submit(guess, number) for number in range(30)]
        try:
            assert all(waiting.acquire(timeout=60) for _ in range(16))  # as many as there are threads
            assert alice("GET", "/workflows").status_code == 200
        finally:
            end.set()
        assert {each.result() for each in guesses} == {401}


def test_a_token_that_was_signed_out_does_not_come_back_with_another_signature(tmp_path: Path) -> None:
    with OIDCSimulator(jwt=True, alg="ES256") as idp, sso_service(idp, tmp_path) as service:
        token = idp.issue({"sub": "alice", "name": "Alice", "groups": []})
        signed, _, signature = token.rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        second = raw[:32] + (_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
        other = f"{signed}.{base64.urlsafe_b64encode(second).decode().rstrip('=')}"
        assert [service.whoami(form).status_code for form in (token, other)] == [200, 200]
        assert service.logout(token).status_code == 204
        for form in (token, other, encoded(token), encoded(other)):
            assert service.whoami(form).status_code == 401
        assert service.whoami(idp.issue({"sub": "alice", "name": "Alice", "groups": []})).status_code == 200
