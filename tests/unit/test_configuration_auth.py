"""How users sign in, as the configuration says it, and the database that it names."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpcwaas.configuration.load import read
from hpcwaas.configuration.text import effective
from hpcwaas.errors import ConfigurationError
from hpcwaas.identity.passwords import hash_password
from hpcwaas.identity.settings import AuthSettings
from tests.loading import load

SECRET = "s3cr3t-of-the-client"
CLIENT = {"client_id": "hpcwaas", "client_secret": SECRET, "redirect_url": "https://waas.example.org/auth/authorize"}
URLS = {
    "auth_url": "https://idp.example.org/auth",
    "token_url": "https://idp.example.org/token",
    "user_info_url": "https://idp.example.org/userinfo",
}
ACCOUNTS = {"accounts": [{"username": "alice", "password": SECRET}]}


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("hpcwaas.configuration.load.SYSTEM_FILE", tmp_path / "etc.yml")


def written(tmp_path: Path, auth: Any, **more: Any) -> Path:
    file = tmp_path / "service.yml"
    file.write_text(yaml.safe_dump({"auth": auth, **more}))
    return file


def accepted(tmp_path: Path, auth: Any) -> AuthSettings:
    found = load(written(tmp_path, auth), {}, {}).auth
    assert found is not None
    return found


def problems(tmp_path: Path, auth: Any, environ: dict[str, str] | None = None, **more: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(written(tmp_path, auth, **more), environ or {}, {})
    assert SECRET not in str(caught.value)
    return [line.partition(" (")[0] for line in str(caught.value).splitlines()]


def test_the_earlier_service_s_file_for_single_sign_on(tmp_path: Path) -> None:
    file = tmp_path / "old.yml"
    file.write_text(f"""\
listen_address: 0.0.0.0:9090
alien_config:
  address: http://127.0.0.1:8088
  user: admin
  password: admin
vault_config:
  address: http://127.0.0.1:8200
  role_id: role
  secret_id: secret
auth:
  auth_type: sso
  auth_url: https://idp.example.org/oauth2/authorize
  token_url: https://idp.example.org/oauth2/token
  user_info_url: https://idp.example.org/oauth2/userinfo
  redirect_url: https://waas.example.org/auth/authorize
  scopes:
    - openid
    - profile
  session_duration: 3600
  client_id: hpcwaas
  client_secret: {SECRET}
""")
    found = read(file, {"HWA_LISTEN_ADDRESS": "127.0.0.1:0"}, {})
    auth = found.settings.auth
    assert auth is not None
    assert (auth.auth_type, auth.session_duration, auth.scopes) == (("sso",), 3600, ("openid", "profile"))
    assert auth.user_info_url == "https://idp.example.org/oauth2/userinfo"
    assert SECRET not in effective(found)


@pytest.mark.parametrize("name", ["HWA_AUTH_CLIENT_SECRET", "HWA_AUTH.CLIENT_SECRET"])
def test_the_earlier_service_s_variables_for_single_sign_on(tmp_path: Path, name: str) -> None:
    variables = {f"HWA_AUTH_{key.upper()}": value for key, value in (CLIENT | URLS).items() if key != "client_secret"}
    settings = load(None, {**variables, "HWA_AUTH_AUTH_TYPE": "sso", "HWA_AUTH_SCOPES": "a,b", name: SECRET}, {})
    assert settings.auth is not None
    assert settings.auth.scopes == ("a", "b")
    assert settings.auth.client_secret is not None
    assert settings.auth.client_secret.get_secret_value() == SECRET


@pytest.mark.parametrize("given", ["basic, sso", ["basic", "sso"]])
def test_both_at_once(tmp_path: Path, given: Any) -> None:
    auth = {"auth_type": given, "basic_auth": ACCOUNTS, "issuer": "https://idp.example.org", **CLIENT}
    assert accepted(tmp_path, auth).auth_type == ("basic", "sso")


def test_both_at_once_in_a_variable(tmp_path: Path) -> None:
    file = written(tmp_path, {"issuer": "https://idp.example.org", **CLIENT})
    settings = load(file, {"HWA_AUTH_AUTH_TYPE": "basic,sso"}, {})
    assert settings.auth is not None
    assert settings.auth.auth_type == ("basic", "sso")


def test_accounts_may_all_stand_in_the_store(tmp_path: Path) -> None:
    assert accepted(tmp_path, {"auth_type": "basic"}).basic_auth.accounts == ()


def test_what_is_shown_can_be_taken_back(tmp_path: Path) -> None:
    accounts = {"accounts": [{"username": "alice", "password_hash": hash_password("alice's password")}]}
    auth = {"auth_type": "basic", "basic_auth": accounts, "operators": ["alice"], "operator_groups": ["ops"]}
    shown = yaml.safe_load(effective(read(written(tmp_path, auth), {}, {})))
    assert shown["auth"]["basic_auth"]["accounts"][0].pop("password_hash") == "********"
    shown["auth"]["basic_auth"]["accounts"][0]["password"] = "another"
    assert accepted(tmp_path, shown["auth"]).operators == ("alice",)


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({}, ["auth.auth_type: is required"]),
        (
            {"auth_type": "sso"},
            ["client_id: is required by `auth_type: sso`", "client_secret", "redirect_url", "issuer"],
        ),
        ({"auth_type": "sso", **CLIENT}, ["auth.issuer: is required by `auth_type: sso`, or instead all of"]),
        (
            {"auth_type": "sso", **CLIENT, "auth_url": URLS["auth_url"]},
            ["auth.token_url: is required if there is no `issuer`", "auth.user_info_url: is required"],
        ),
        (
            {"auth_type": "sso", **CLIENT, "issuer": "https://idp.example.org", "token_url": URLS["token_url"]},
            ["auth.token_url: isn't used when there is an `issuer`"],
        ),
        (
            {"auth_type": "sso", **CLIENT, **URLS, "redirect_url": "https://waas.example.org/callback"},
            ["auth.redirect_url: must end with /auth/authorize"],
        ),
        ({"auth_type": "sso", **CLIENT, **URLS, "client_secret": ""}, ["auth.client_secret: can't be empty"]),
        ({"auth_type": "sso", **CLIENT, **URLS, "ca_file": "no.pem"}, ["auth.ca_file: "]),
        (
            {"auth_type": "sso", **CLIENT, **URLS, "basic_auth": ACCOUNTS},
            ["auth.basic_auth.accounts: aren't used by `auth_type: sso`"],
        ),
        (
            {"auth_type": "basic", "basic_auth": ACCOUNTS, "client_secret": SECRET, "session_duration": 1},
            [
                "auth.client_secret: isn't used by `auth_type: basic`: remove it, or add `sso`",
                "auth.session_duration: isn't used by",
            ],
        ),
        ({"auth_type": "sso", **CLIENT, "issuer": "http://idp.example.org"}, ["auth.issuer: must be https"]),
        (
            {"auth_type": "sso", **CLIENT, **URLS, "token_url": f"https://x:{SECRET}@idp/token"},
            ["auth.token_url: contains credentials"],
        ),
        ({"auth_type": "sso,ldap", **CLIENT, **URLS}, ["auth.auth_type[1]: should be 'basic' or 'sso'"]),
        (
            {
                "auth_type": "basic",
                "basic_auth": {"accounts": [{"username": "a", "password_hash": "$argon2id$" + SECRET}]},
            },
            ["auth.basic_auth.accounts[0].password_hash: isn't one that `hpcwaas-api user hash` prints"],
        ),
        (
            {"auth_type": "basic", "basic_auth": {"accounts": [{"username": "a", "password_hash": SECRET}]}},
            ["auth.basic_auth.accounts[0]: `password_hash` isn't one that"],
        ),
        (
            {
                "auth_type": "basic",
                "basic_auth": {
                    "accounts": [{"username": "a", "password": SECRET, "password_hash": hash_password(SECRET)}]
                },
            },
            ["auth.basic_auth.accounts[0]: give either `password_hash` or `password`"],
        ),
    ],
)
def test_what_cannot_be_honoured(tmp_path: Path, auth: Any, expected: list[str]) -> None:
    found = problems(tmp_path, auth)
    assert len(found) == len(expected), found
    for problem, words in zip(found, expected, strict=True):
        assert words in problem


def test_an_address_of_this_machine_may_be_http(tmp_path: Path) -> None:
    auth = {"auth_type": "sso", **CLIENT, "issuer": "http://localhost:3000"}
    assert accepted(tmp_path, auth).issuer == "http://localhost:3000"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"postgresql://u:{SECRET}@db/x", "postgresql:// can't be used: expected postgresql+psycopg://"),
        (f"postgres://u:{SECRET}@db/x", "postgres:// can't be used: expected postgresql+psycopg://"),
        (f"mysql://u:{SECRET}@db/x", "mysql:// can't be used"),
        (SECRET, "isn't an SQLAlchemy URL"),
        (f"postgresql+psycopg://u:p@db:{SECRET}/x", "isn't an SQLAlchemy URL"),
        ("sqlite:///relative.db", "SQLite needs an absolute path here"),
    ],
)
def test_databases_that_cannot_be_used(tmp_path: Path, url: str, words: str) -> None:
    (problem,) = problems(tmp_path, {"auth_type": "basic"}, store={"url": url})
    assert problem.startswith("store.url: ")
    assert words in problem


def test_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql+psycopg://u:{SECRET}@db.example.org/x"
    found = read(written(tmp_path, {"auth_type": "basic"}, store={"url": url}), {}, {})
    assert found.settings.database_url == url
    assert SECRET not in effective(found)
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "psycopg" else there(name))
    (problem,) = problems(tmp_path, {"auth_type": "basic"}, store={"url": url})
    assert "`pip install 'hpcwaas[postgresql]'`" in problem
