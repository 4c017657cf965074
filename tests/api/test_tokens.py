"""`/whoami` and `/tokens`: personal access tokens."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.configuration.settings import Settings
from hpcwaas.core.people import AccessToken
from hpcwaas.store.database import Database
from hpcwaas.store.tokens import TokenStore
from tests.service import CATALOGUE, Client, as_user, make_settings, serving

READ = ["executions:read", "workflows:read"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(tmp_path_factory.mktemp("tokens"), limits={})


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[Callable[[str], Client]]:
    """A service of its own: some tests look into its database."""
    with serving(settings) as url:
        yield lambda name: as_user(url, name)


@pytest.fixture
def operator(service: Callable[[str], Client]) -> Client:
    return service("root")


@pytest.fixture
def store(settings: Settings) -> Iterator[TokenStore]:
    database = Database(settings.database_url)
    yield TokenStore(database)
    database.close()


def make(client: Client, name: str, scopes: list[str], **more: Any) -> Any:
    answer = client("POST", "/tokens", json={"name": name, "scopes": scopes, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def by(client: Client, credentials: str) -> Client:
    return Client(client.url, {"Authorization": credentials})


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_token_signs_in_in_every_form(alice: Client) -> None:
    token = make(alice, "forms", READ)
    secret = token["token"]
    assert re.fullmatch(r"hpcwaas_pat_[A-Za-z0-9_-]{43}", secret)
    forms = [
        f"Bearer {secret}",
        f"bearer {encoded(secret)}",
        f"Bearer {encoded(secret).rstrip('=')}",
        f"Basic {encoded(f'alice:{secret}')}",
    ]
    for form in forms:
        answer = by(alice, form)("GET", "/whoami")
        assert answer.status_code == 200, form
        assert answer.headers["Cache-Control"] == "no-store"
        assert (answer.json()["subject"], answer.json()["scopes"]) == ("alice", READ)
    wrong = [
        f"Basic {encoded(f'bob:{secret}')}",
        f"Basic {encoded(f':{secret}')}",
        f"Bearer {secret[:-1]}",
        f"Bearer {secret}x",
        f"Bearer {secret.upper()}",
        f"Bearer {encoded(encoded(secret))}",
        "Bearer hpcwaas_pat_",
        "Bearer hpcwaas_pat_ä",
        f"Bearer {hashlib.sha256(secret.encode()).hexdigest()}",
    ]
    for form in wrong:
        assert by(alice, form.encode())("GET", "/whoami").status_code == 401, form  # type: ignore[arg-type]


def test_its_secret_is_shown_once_and_kept_nowhere(alice: Client, settings: Settings, store: TokenStore) -> None:
    answer = alice("POST", "/tokens", json={"name": "once", "scopes": ["keys:write"]})
    secret = answer.json()["token"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Location"] == f"/tokens/{answer.json()['id']}"
    listed = alice("GET", "/tokens")
    (shown,) = [token for token in listed.json()["tokens"] if token["name"] == "once"]
    assert shown == {name: value for name, value in answer.json().items() if name != "token"}
    by(alice, f"Bearer {secret}")("GET", "/ssh_keys")
    assert store.find(hashlib.sha256(secret.encode()).hexdigest(), datetime.now(UTC)) is not None
    kept = b"".join(file.read_bytes() for file in settings.data_dir.rglob("*") if file.is_file())
    for form in (secret, encoded(secret), secret.removeprefix("hpcwaas_pat_")):
        assert form.encode() not in kept


def test_its_scopes_bound_what_it_may(alice: Client) -> None:
    reader = by(alice, f"Bearer {make(alice, 'reader', READ)['token']}")
    writer = by(alice, f"Bearer {make(alice, 'writer', ['executions:write'])['token']}")
    assert reader("GET", "/workflows").status_code == 200
    assert reader("GET", "/executions").status_code == 200
    refused = reader("POST", "/workflows/echo", json={"inputs": {}})
    assert refused.status_code == 403
    assert "`executions:write`" in refused.json()["detail"]
    assert reader("GET", "/ssh_keys").status_code == 403
    assert writer("GET", "/executions").status_code == 403
    assert writer("POST", "/files?name=a", data=b"x").status_code == 201


def test_a_token_makes_shows_and_revokes_none(alice: Client) -> None:
    token = make(alice, "no more", ["workflows:read"])
    holder = by(alice, f"Bearer {token['token']}")
    assert holder("GET", "/tokens").status_code == 403
    assert holder("DELETE", f"/tokens/{token['id']}").status_code == 403
    refused = holder("POST", "/tokens", json={"name": "x", "scopes": ["workflows:read"]})
    assert refused.status_code == 403
    assert "sign in yourself" in refused.json()["detail"]


def test_only_operators_make_tokens_of_operators(alice: Client, operator: Client) -> None:
    assert alice("POST", "/tokens", json={"name": "a", "scopes": ["admin"]}).status_code == 403
    plain = by(operator, f"Bearer {make(operator, 'plain', READ)['token']}")
    admin = by(operator, f"Bearer {make(operator, 'admin', ['admin', *READ])['token']}")
    assert operator("GET", "/whoami").json()["roles"] == ["user", "operator"]
    assert plain("GET", "/whoami").json()["roles"] == ["user"]
    assert admin("GET", "/whoami").json()["roles"] == ["user", "operator"]
    assert plain("GET", "/executions?owner=alice").status_code == 403
    assert admin("GET", "/executions?owner=alice").status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "x", "scopes": ["workflows:read"], "days": 366}, ["days", "366", "365"]),
        ({"name": "x", "scopes": ["workflows:read"], "days": 0}, ["days"]),
        ({"name": "x", "scopes": ["workflows:write"]}, ["scopes", "workflows:write"]),
        ({"name": "x", "scopes": []}, ["scopes"]),
        ({"name": "", "scopes": ["admin"]}, ["name"]),
        ({"name": " x", "scopes": ["workflows:read"]}, ["name"]),
        ({"name": "a\x1b[31m", "scopes": ["workflows:read"]}, ["name"]),
        ({"name": "a\x00", "scopes": ["workflows:read"]}, ["name"]),
        ({"name": "\ud800", "scopes": ["workflows:read"]}, ["name"]),
        ({"name": "x" * 101, "scopes": ["workflows:read"]}, ["name"]),
        ({"scopes": ["workflows:read"]}, ["name"]),
        ({"name": "x"}, ["scopes"]),
    ],
)
def test_what_cannot_be_is_refused_in_words(alice: Client, body: Any, words: list[str]) -> None:
    answer = alice("POST", "/tokens", json=body)
    assert answer.status_code == 400, answer.text
    for word in words:
        assert word in answer.json()["detail"]


def test_its_life(alice: Client, store: TokenStore) -> None:
    def days(token: Any) -> float:
        made, ends = (datetime.fromisoformat(token[name]) for name in ("created_at", "expires_at"))
        return (ends - made) / timedelta(days=1)

    assert days(make(alice, "usual life", READ)) == 90
    assert days(make(alice, "long life", READ, days=365)) == 365
    now = datetime.now(UTC)
    for name, ends in (("over", now - timedelta(seconds=1)), ("not over", now + timedelta(hours=1))):
        token = AccessToken(name, "alice", name, frozenset(READ), now - timedelta(days=1), ends)
        store.add(token, hashlib.sha256(f"hpcwaas_pat_{name.replace(' ', '_')}".encode()).hexdigest(), 100)
    assert by(alice, "Bearer hpcwaas_pat_over")("GET", "/whoami").status_code == 401
    assert by(alice, "Bearer hpcwaas_pat_not_over")("GET", "/whoami").status_code == 200


def test_a_name_counts_once_for_each_user(alice: Client, bob: Client) -> None:
    make(alice, "same", READ)
    again = alice("POST", "/tokens", json={"name": "same", "scopes": READ})
    assert again.status_code == 409
    assert "name" in again.json()["detail"]
    make(bob, "same", READ)


def test_there_is_a_most(service: Callable[[str], Client], store: TokenStore) -> None:
    carol = service("carol")
    now = datetime.now(UTC)
    for number in range(99):
        token = AccessToken(f"c{number}", "carol", f"{number}", frozenset(READ), now, now + timedelta(days=1))
        store.add(token, f"digest {number}", 100)
    make(carol, "the last", READ)
    refused = carol("POST", "/tokens", json={"name": "one more", "scopes": READ})
    assert refused.status_code == 409
    assert "100 tokens" in refused.json()["detail"]
    assert carol("DELETE", "/tokens/c7").status_code == 204
    make(carol, "one more", READ)


def test_revoked_it_counts_no_longer(alice: Client, bob: Client) -> None:
    token = make(alice, "revoked", READ)
    holder = by(alice, f"Bearer {token['token']}")
    assert holder("GET", "/whoami").status_code == 200
    foreign, unknown = bob("DELETE", f"/tokens/{token['id']}"), bob("DELETE", "/tokens/nope")
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert foreign.json()["detail"] == unknown.json()["detail"]
    assert holder("GET", "/whoami").status_code == 200
    assert alice("DELETE", f"/tokens/{token['id']}").status_code == 204
    assert holder("GET", "/whoami").status_code == 401
    assert alice("DELETE", f"/tokens/{token['id']}").status_code == 404


def test_operators_see_and_revoke_all(alice: Client, bob: Client, operator: Client) -> None:
    mine, other = make(alice, "seen", READ), make(bob, "seen", READ)
    assert {token["owner"] for token in alice("GET", "/tokens").json()["tokens"]} == {"alice"}
    assert alice("GET", "/tokens?owner=alice").status_code == 200
    assert alice("GET", "/tokens?owner=bob").status_code == 403
    assert alice("GET", "/tokens?owner=*").status_code == 403
    assert {token["owner"] for token in operator("GET", "/tokens?owner=bob").json()["tokens"]} == {"bob"}
    everybody = operator("GET", "/tokens?owner=*").json()["tokens"]
    assert {mine["id"], other["id"]} <= {token["id"] for token in everybody}
    assert "hpcwaas_pat_" not in str(everybody)
    assert operator("DELETE", f"/tokens/{mine['id']}").status_code == 204
    assert by(alice, f"Bearer {mine['token']}")("GET", "/whoami").status_code == 401


def test_its_last_use_is_recorded(alice: Client) -> None:
    token = make(alice, "used", READ)
    assert token["last_used_at"] is None
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert by(alice, f"Bearer {token['token']}")("GET", "/workflows").status_code == 200
    deadline = time.monotonic() + 60
    while True:
        (shown,) = [item for item in alice("GET", "/tokens").json()["tokens"] if item["id"] == token["id"]]
        if shown["last_used_at"] is not None:
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert before <= datetime.fromisoformat(shown["last_used_at"]) <= datetime.now(UTC)


def test_whoami(alice: Client, service: Callable[[str], Client]) -> None:
    answer = alice("GET", "/whoami")
    assert answer.headers["Cache-Control"] == "no-store"
    limits = answer.json().pop("limits")
    assert {name: value for name, value in answer.json().items() if name != "limits"} == {
        "subject": "alice",
        "name": "alice",
        "roles": ["user"],
        "groups": [],
        "scopes": None,
    }
    assert limits["executions"] == {"used": 0, "limit": 100}
    assert limits["stored"]["limit"] == 100 * 2**30
    assert limits["requests"]["limit"] == 6000
    assert limits["requests"]["used"] >= 1
    assert service("carol")("GET", "/whoami").json()["groups"] == ["climate"]
    assert alice.headers["Authorization"] not in answer.text


def test_in_local_mode_too(tmp_path: Path) -> None:
    with serving(Settings.model_validate({"data_dir": tmp_path, "cwl": {"catalogue": CATALOGUE}})) as url:
        local = Client(url, {"Authorization": f"Bearer {tmp_path.joinpath('local-token').read_text().strip()}"})
        me = local("GET", "/whoami").json()
        assert me["roles"] == ["user", "operator"]
        token = make(local, "script", READ)
        assert token["owner"] == me["subject"]
        holder = by(local, f"Bearer {token['token']}")
        assert holder("GET", "/whoami").json() | {"limits": 0} == {
            **me, "roles": ["user"], "scopes": READ, "limits": 0
        }  # fmt: skip
        assert holder("POST", "/files?name=a", data=b"").status_code == 403
        assert local("POST", "/tokens", json={"name": "x", "scopes": READ, "days": 366}).status_code == 400
        assert local("DELETE", f"/tokens/{token['id']}").status_code == 204
        assert holder("GET", "/whoami").status_code == 401
