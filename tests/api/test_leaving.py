"""People leave: all that is kept of somebody is written out, and removed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text

from hpcwaas.command.main import main
from hpcwaas.core.people import User
from hpcwaas.identity.passwords import hash_password
from hpcwaas.store.database import Database
from hpcwaas.store.users import UserStore
from tests import databases
from tests.service import CWL, Client, as_user, make_settings, serving
from tests.waiting import until

PASSWORD = "alina's password"


class Operator:
    """At the service's machine, where alina's account stands in the database."""

    def __init__(self, tmp_path: Path) -> None:
        self.settings = make_settings(tmp_path / "data")
        self.settings.data_dir.mkdir(mode=0o700)
        databases.prepare(self.settings.database_url)
        database = Database(self.settings.database_url)
        database.upgrade()
        account = User("alina", "Alina", frozenset(), "basic", datetime.now(UTC), hash_password(PASSWORD))
        UserStore(database).add(account)
        database.close()
        self.file = tmp_path / "settings.yml"
        self.file.touch(0o600)
        given = {
            "data_dir": str(self.settings.data_dir),
            "auth": {"auth_type": "basic", "basic_auth": {"accounts": [{"username": "root", "password": "x" * 20}]}},
            "store": {"url": self.settings.database_url},
            "cwl": {"catalogue": str(CWL["catalogue"])},
        }
        self.file.write_text(yaml.safe_dump(given))

    def __call__(self, *arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(main, ["user", *arguments, "--config", str(self.file)], **more)

    def rows(self, name: str) -> Mapping[str, int]:
        """How often a name stands in each column of the store."""
        engine = create_engine(self.settings.database_url)
        columns = {
            "executions": "owner",
            "uploads": "owner",
            "ssh_keys": "owner",
            "accounts": "owner",
            "tokens": "owner",
            "idempotency_keys": "owner",
            "sessions": "subject",
            "accepted_terms": "subject",
            "shares": "name",
            "users": "subject",
        }
        found = {}
        with engine.connect() as connection:
            for table, column in columns.items():
                query = text(f"SELECT count(*) FROM {table} WHERE {column} = :name")  # noqa: S608  (they are above)
                found[table] = int(connection.execute(query, {"name": name}).scalar() or 0)
        engine.dispose()
        return {table: number for table, number in found.items() if number}


def client(url: str) -> Client:
    return Client(url, {"Authorization": f"Basic {base64.b64encode(f'alina:{PASSWORD}'.encode()).decode()}"})


def busy(url: str) -> tuple[str, str]:
    """Has alina do things; the paths of an ended and of a running execution of hers."""
    alina, bob = client(url), as_user(url, "bob")
    upload = alina.upload("data.txt", b"her data")
    alina("POST", "/ssh_keys", json={"name": "login"})
    alina("POST", "/tokens", json={"name": "robot", "scopes": ["executions:read"]})
    ended: str = alina.trigger("values", file={"class": "File", "location": upload})
    assert alina.finished(ended)["status"] == "SUCCEEDED"
    alina("PUT", f"{ended}/shares", json={"users": ["bob"]})
    theirs = bob.trigger("echo", message="bob's")
    bob.finished(theirs)
    bob("PUT", f"{theirs}/shares", json={"users": ["alina"]})
    running = alina("POST", "/workflows/slow", json={"inputs": {"seconds": 600}}, headers={"Idempotency-Key": "k"})
    return ended, running.headers["Location"]


def test_everything_is_written_out_and_then_nothing_is_left(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    with serving(operator.settings) as url:
        ended, running = busy(url)
        target = tmp_path / "export"
        result = operator("export", "alina", str(target))
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        assert target.stat().st_mode & 0o777 == 0o700
        execution = target / "executions" / ended.rpartition("/")[2]
        shown = json.loads((execution / "execution.json").read_text())
        assert shown["shared_with"] == {"users": ["bob"], "groups": []}
        assert [path.read_text() for path in execution.glob("outputs/**/copy.bin")] == ["her data"]
        assert (execution / "log.jsonl").stat().st_size > 0
        assert [path.read_text() for path in target.glob("uploads/*/data.txt")] == ["her data"]
        assert [key["name"] for key in json.loads((target / "ssh_keys.json").read_text())] == ["login"]
        assert len(json.loads((target / "shared.json").read_text())) == 1
        acts = [json.loads(line) for line in (target / "audit.jsonl").read_text().splitlines()]
        assert {act["who"] for act in acts} == {"alina"}
        everything = "".join(path.read_text() for path in target.rglob("*") if path.is_file())
        assert "argon2" not in everything
        assert "PRIVATE KEY" not in everything
        assert operator("export", "alina", str(target)).exit_code == 1

        refused = operator("remove", "alina", input="n\n")
        assert refused.exit_code == 1
        assert client(url)("GET", running).json()["status"] in ("PENDING", "RUNNING")
        result = operator("remove", "alina", "--yes")
        assert result.exit_code == 0, result.output
        assert "the service removes 2 executions, 1 upload, 1 SSH key" in result.stdout
        assert "audit" in result.stderr
        until(lambda: client(url)("GET", "/whoami").status_code == 401)
        until(lambda: operator.rows("alina") == {})
        for path in (ended, running):
            assert as_user(url, "root")("GET", path).status_code == 404
            assert not (operator.settings.data_dir / "cwl" / "executions" / path.rpartition("/")[2]).exists()
        assert [path for path in (operator.settings.data_dir / "files").iterdir() if path.is_file()] == []
        assert operator("remove", "alina", "--yes").exit_code == 1
        assert operator("export", "alina", str(tmp_path / "more")).exit_code == 1
        audit = operator.settings.audit_file.read_text()
        assert "user remove" in audit
        assert "userRemoved" in audit


def test_one_who_is_being_removed_is_not_let_in_again(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    assert operator("remove", "alina", "--yes").exit_code == 0
    assert "is being removed" in operator("unsuspend", "alina").stderr
    assert "being removed" in operator("list").stdout
    again = operator("remove", "alina")
    assert again.stdout == "alina: is being removed; still there: 0 executions, 0 uploads, 0 SSH keys\n"


def test_an_account_of_the_settings_has_to_leave_them_first(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    assert "is an account of the settings" in operator("remove", "root", "--yes").stderr
    assert "Nothing is kept" in operator("remove", "nobody", "--yes").stderr


def test_what_is_left_of_somebody_without_an_account_can_be_removed(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    engine = create_engine(operator.settings.database_url)
    later = datetime.now(UTC) + timedelta(days=1)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO accepted_terms (subject, version, accepted_at) VALUES ('gone', '1', :at)"),
            {"at": later if engine.name != "sqlite" else later.replace(tzinfo=None)},
        )
    engine.dispose()
    assert operator("remove", "gone", "--yes").exit_code == 0
    with serving(operator.settings):
        until(lambda: operator.rows("gone") == {})


@pytest.mark.parametrize("place", ["full", "a-file"])
def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, place: str) -> None:
    operator = Operator(tmp_path)
    target = tmp_path / place
    if place == "full":
        target.mkdir()
        (target / "x").touch()
    else:
        target.touch()
    result = operator("export", "alina", str(target))
    assert result.exit_code == 1
    assert str(target) in result.stderr
