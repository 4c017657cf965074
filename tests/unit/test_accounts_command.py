"""The commands `hpcwaas-api user …`."""

from __future__ import annotations

import errno
import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import argon2
import click
import pytest
import yaml
from click.testing import CliRunner, Result

from hpcwaas.command.main import main
from hpcwaas.core.people import User, UserSession
from hpcwaas.errors import TooManyRequests
from hpcwaas.identity.throttle import Throttle
from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database
from hpcwaas.store.sessions import SessionStore
from hpcwaas.store.users import UserStore

PASSWORD = "korrekt-pferd ü"
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("hpcwaas.configuration.load.SYSTEM_FILE", tmp_path / "etc.yml")
    accounts = [{"username": "sam", "password": "sam's password", "groups": ["ops"]}]
    file = tmp_path / ".hpcwaas-api.yaml"
    file.touch(0o600)
    file.write_text(
        yaml.safe_dump(
            {
                "data_dir": str(tmp_path / "data"),
                "auth": {"auth_type": "basic", "operator_groups": ["ops"], "basic_auth": {"accounts": accounts}},
            }
        )
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The service's database, open as in a service that runs."""
    (tmp_path / "data").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'data' / 'hpcwaas.db'}")
    database.upgrade()
    yield database
    database.close()


def call(*arguments: str, stdin: str | bytes = f"{PASSWORD}\n") -> Result:
    return CliRunner().invoke(main, ["user", *arguments], input=stdin)


def done(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str, stdin: str | bytes = f"{PASSWORD}\n") -> str:
    result = call(*arguments, stdin=stdin)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    return result.stderr


def test_an_account_is_added_to_a_service_that_never_ran(tmp_path: Path) -> None:
    assert done("add", "anna", "--group", "climate", "-g", "ocean", "--name", "Anna Alm") == "anna: added\n"
    database = Database(f"sqlite:///{tmp_path / 'data' / 'hpcwaas.db'}")
    anna = UserStore(database).find("anna")
    database.close()
    assert anna is not None
    assert (anna.name, anna.groups, anna.source, anna.disabled) == (
        "Anna Alm",
        frozenset({"climate", "ocean"}),
        "basic",
        False,
    )
    assert anna.password_hash is not None
    assert argon2.PasswordHasher().verify(anna.password_hash, PASSWORD)
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["", ":", "a:b", " a", "a\n", "\x1b[31m", "x" * 256])
def test_names_that_cannot_be(name: str) -> None:
    assert "A name has 1 to 255 printable characters" in refused("add", "--", name)


@pytest.mark.parametrize(
    ("stdin", "text"),
    [
        ("", "at least 8 characters"),
        ("seven77\n", "at least 8 characters"),
        ("x" * 1025, "at most 1024 characters"),
        ("with\ttabulator\n", "control characters"),
        (b"\xff\xfe not utf-8\n", "UTF-8"),
    ],
)
def test_passwords_that_cannot_be(stdin: str | bytes, text: str) -> None:
    for command in (["add", "anna"], ["hash"]):
        assert text in refused(*command, stdin=stdin)
    assert "There is no user anna" in refused("passwd", "anna")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\nsecond line\n"])
def test_the_first_line_is_the_password(end: str) -> None:
    result = call("hash", stdin=f" {PASSWORD} {end}")
    assert argon2.PasswordHasher().verify(result.stdout.strip(), f" {PASSWORD} ")


def test_a_name_is_taken_once(database: Database) -> None:
    done("add", "anna")
    assert "There is already a user anna" in refused("add", "anna")
    UserStore(database).add(User("sepp", "Sepp", frozenset(), "sso", NOW))
    assert "There is already a user sepp" in refused("add", "sepp")


@pytest.mark.parametrize("command", ["add", "groups", "passwd", "suspend", "unsuspend"])
def test_accounts_of_the_settings_stay_there(tmp_path: Path, command: str) -> None:
    text = refused(command, "sam")
    assert f"change auth.basic_auth.accounts[0] ({tmp_path}/.hpcwaas-api.yaml:5)" in text


@pytest.mark.parametrize("command", ["groups", "passwd", "suspend", "unsuspend"])
def test_unknown_users(command: str) -> None:
    assert refused(command, "nobody") == "hpcwaas-api: There is no user nobody.\n"


def _with_session(database: Database, name: str) -> SessionStore:
    sessions = SessionStore(database)
    later = NOW + timedelta(hours=1)
    sessions.add(UserSession("s", name, "waas", NOW, later, later), "digest", None)
    return sessions


def test_another_password_ends_sessions_and_opens_a_locked_account(database: Database) -> None:
    done("add", "anna")
    before = UserStore(database).find("anna")
    sessions, throttle = _with_session(database, "anna"), Throttle(CounterStore(database))
    for _ in range(10):
        throttle.failed("anna", "192.0.2.1")
    with pytest.raises(TooManyRequests):
        throttle.check("anna", "192.0.2.1")
    result = call("passwd", "anna", stdin="another password")
    assert (result.exit_code, result.stdout) == (0, "anna: password changed\n")
    after = UserStore(database).find("anna")
    assert before is not None
    assert after is not None
    assert after.password_hash is not None
    assert after.password_hash != before.password_hash
    assert argon2.PasswordHasher().verify(after.password_hash, "another password")
    assert sessions.of_token("digest", NOW) is None
    throttle.check("anna", "192.0.2.1")


def test_groups_are_replaced(database: Database) -> None:
    users = UserStore(database)
    users.add(User("anna", "Anna", frozenset({"old"}), "basic", NOW, password_hash="$argon2id$x"))
    users.add(User("sepp", "Sepp", frozenset({"theirs"}), "sso", NOW))

    def groups_of(name: str) -> frozenset[str]:
        found = users.find(name)
        assert found is not None
        return found.groups

    assert done("groups", "anna", "-g", "climate", "--group", "ops") == "anna: climate, ops\n"
    assert groups_of("anna") == {"climate", "ops"}
    assert done("groups", "anna") == "anna: in no group\n"
    assert groups_of("anna") == frozenset()
    assert "identity provider" in refused("groups", "sepp", "-g", "ops")
    assert groups_of("sepp") == {"theirs"}


def test_single_sign_on_has_no_password_here(database: Database) -> None:
    UserStore(database).add(User("sepp", "Sepp", frozenset(), "sso", NOW))
    assert "signs in by single sign-on" in refused("passwd", "sepp")


@pytest.mark.parametrize("source", ["basic", "sso"])
def test_suspend_and_unsuspend(database: Database, source: str) -> None:
    users = UserStore(database)
    users.add(User("anna", "Anna", frozenset(), source, NOW))
    sessions = _with_session(database, "anna")
    for command, disabled in (("suspend", True), ("suspend", True), ("unsuspend", False)):
        assert done(command, "anna") == f"anna: {'suspended' if disabled else 'may sign in again'}\n"
        anna = users.find("anna")
        assert anna is not None
        assert anna.disabled is disabled
    assert sessions.of_token("digest", NOW) is None


def test_list(database: Database) -> None:
    users = UserStore(database)
    users.add(User("anna", "Anna Alm", frozenset({"climate", "ocean"}), "basic", NOW, "$argon2id$hidden", True))
    users.add(User("sepp", "\x1b[31mSepp", frozenset({"ops"}), "sso", NOW, seen_at=NOW))
    users.add(User("sam", "Shadowed", frozenset(), "basic", NOW, "$argon2id$hidden"))
    assert done("list").splitlines() == [
        "user  name       from      roles           groups          state",
        "anna  Anna Alm   basic     user            climate, ocean  suspended",
        "sam   sam        settings  operator, user  ops             -",
        "sepp  ?[31mSepp  sso       operator, user  ops             -",
    ]
    anna, sam, sepp = json.loads(done("list", "-o", "json"))
    assert anna == {
        "subject": "anna",
        "name": "Anna Alm",
        "source": "basic",
        "roles": ["user"],
        "groups": ["climate", "ocean"],
        "suspended": True,
        "leaving_since": None,
        "issuer": None,
        "sub": None,
        "created_at": NOW.isoformat(),
        "seen_at": None,
    }
    assert (sam["source"], sam["created_at"]) == ("settings", None)
    assert sepp["seen_at"] == NOW.isoformat()


def test_a_database_of_another_version_is_refused(database: Database, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "data" / "hpcwaas.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0002'")
    for command in (
        ["add", "anna"],
        ["list"],
        ["groups", "anna"],
        ["passwd", "anna"],
        ["suspend", "anna"],
        ["unsuspend", "anna"],
        ["move", "anna", "--sub", "1"],
        ["issuer", "https://old.example.org", "https://new.example.org"],
    ):
        assert "run `hpcwaas-api db upgrade`" in refused(*command)


def test_accounts_that_do_not_count_yet(tmp_path: Path) -> None:
    (tmp_path / ".hpcwaas-api.yaml").write_text(f"data_dir: {tmp_path / 'data'}\n")
    result = call("add", "anna")
    assert result.exit_code == 0
    assert "`auth.auth_type` doesn't contain `basic`" in result.stderr


def test_a_password_is_never_an_argument() -> None:
    group = main.commands["user"]
    assert isinstance(group, click.Group)
    assert "password" not in {parameter.name for it in group.commands.values() for parameter in it.params}


def _on_terminal(*lines: str) -> tuple[int, str, str]:
    """Runs `user hash` with a terminal before it: exit code, stdout, and what the terminal shows."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from hpcwaas.command.main import main; main()", "user", "hash"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    waiting = list(lines)
    try:
        while chunk := os.read(ours, 1000):
            shown += chunk
            if waiting and shown.endswith(b": "):
                os.write(ours, waiting.pop(0).encode() + b"\n")
    except OSError as error:  # how Linux tells the end of a terminal
        if error.errno != errno.EIO:
            raise
    finally:
        os.close(ours)
    stdout, _ = process.communicate(timeout=60)
    return process.returncode, stdout.decode(), shown.decode()


def test_a_terminal_is_asked_twice_and_shows_nothing() -> None:
    code, stdout, shown = _on_terminal("first try!", "second try!", PASSWORD, PASSWORD)
    assert code == 0, shown
    assert argon2.PasswordHasher().verify(stdout.strip(), PASSWORD)
    assert "try!" not in shown
    assert PASSWORD not in shown
    assert "at least 8 characters" in shown
