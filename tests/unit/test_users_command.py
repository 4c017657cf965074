"""The commands `hpcwaas-api user …` that take something away from users, or give it to others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from hpcwaas.core.models import Execution, ExecutionState, Status
from hpcwaas.core.people import NO_PROOF, AccessToken, User, UserSession
from hpcwaas.core.ports.identity import Vouched
from hpcwaas.errors import Forbidden
from hpcwaas.identity.directory import Users
from hpcwaas.identity.enrolment import Enrolment
from hpcwaas.identity.settings import AuthSettings
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.sessions import SessionStore
from hpcwaas.store.tokens import TokenStore
from hpcwaas.store.users import UserStore
from tests.unit.test_accounts_command import _home, call, database, done, refused

__all__ = ["_home", "database"]

NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=1)
ISSUER = "https://idp.example.org"
ANNA = User("anna", "Anna", frozenset(), "sso", NOW, issuer=ISSUER, sub="1")

SSO = {
    "auth_type": "basic,sso",
    "issuer": ISSUER,
    "client_id": "hpcwaas",
    "client_secret": "secret of the client",
    "redirect_url": "https://hpc.example.org/auth/authorize",
}


class Signed:
    """What a user signs in with."""

    def __init__(self, database: Database, name: str) -> None:
        self.name = name
        self.sessions, self.tokens = SessionStore(database), TokenStore(database)
        self.sessions.add(UserSession(f"s-{name}", name, "waas", NOW, LATER, LATER), f"session of {name}", None)
        token = AccessToken(f"t-{name}", name, "robot", frozenset({"executions:read", "admin"}), NOW, LATER)
        self.tokens.add(token, f"token of {name}", 10)
        self.tokens.add(replace(token, id=f"a-{name}", name="admin", scopes=frozenset({"admin"})), f"a {name}", 10)

    def counts(self) -> tuple[bool, int]:
        """Whether the session counts, and how many tokens do."""
        return self.sessions.of_token(f"session of {self.name}", NOW) is not None, len(self.tokens.of(self.name))


@pytest.mark.parametrize(
    ("options", "said", "left"),
    [
        ([], "anna: password changed; 2 access tokens revoked\n", (False, 0)),
        (["--keep-tokens"], "anna: password changed\n", (False, 2)),
    ],
)
def test_another_password_revokes(database: Database, options: list[str], said: str, left: tuple[bool, int]) -> None:
    UserStore(database).add(User("anna", "Anna", frozenset(), "basic", NOW, password_hash="$argon2id$x"))
    anna, other = Signed(database, "anna"), Signed(database, "other")
    assert done("passwd", "anna", *options) == said
    assert anna.counts() == left
    assert other.counts() == (True, 2)


@pytest.mark.parametrize("source", ["basic", "sso"])
def test_suspending_ends_all_that_is_somebodys(database: Database, source: str) -> None:
    users, executions = UserStore(database), ExecutionStore(database)
    users.add(replace(ANNA, source=source))
    users.add(User("other", "Other", frozenset(), "basic", NOW))
    anna, other = Signed(database, "anna"), Signed(database, "other")
    for name in ("anna", "other"):
        state = ExecutionState(Status.RUNNING)
        executions.add(Execution(name, name, "w", "w", "cwl", {}, NOW, state, reference=name))
    assert executions.of_suspended() == []
    assert done("suspend", "anna") == "anna: suspended; the service ends 1 execution\n"
    assert (anna.counts(), other.counts()) == ((False, 0), (True, 2))
    assert [execution.id for execution in executions.of_suspended()] == ["anna"]
    found = users.find("anna")
    assert found is not None
    assert found.signed_out_at is not None  # what the provider made for her before counts no more
    made_meanwhile = Signed(database, "anna")
    assert done("unsuspend", "anna") == "anna: may sign in again\n"
    assert made_meanwhile.counts() == (False, 0)
    assert executions.of_suspended() == []


def test_who_never_came_can_be_suspended_and_is_refused_when_they_come(database: Database, tmp_path: Path) -> None:
    assert "There is no user bob" in refused("suspend", "bob")  # without single sign-on nobody can come
    file = tmp_path / ".hpcwaas-api.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["auth"] |= SSO
    file.write_text(yaml.safe_dump(settings))
    assert "There is no user *" in refused("suspend", "*")
    result = call("suspend", "bob")
    assert result.stdout == "bob: suspended before the first sign-in\n"
    assert "nobody has signed in by this name yet" in result.stderr
    assert done("suspend", "bob") == "bob: suspended\n"
    assert "suspended" in done("list")

    users = UserStore(database)
    directory = Users(AuthSettings(auth_type="sso"), users)
    enrolment = Enrolment(users, SessionStore(database), TokenStore(database), directory, None)

    def come(sub: str) -> str:
        now = datetime.now(UTC)
        groups = frozenset({"climate"})
        return enrolment.admit(Vouched(ISSUER, sub, "bob", "Bob", groups, None, "token", now, now, NO_PROOF)).subject

    for _ in range(2):
        with pytest.raises(Forbidden, match="`bob` is suspended"):
            come("2")
    assert done("unsuspend", "bob") == "bob: may sign in again\n"
    assert come("2") == "bob"
    with pytest.raises(Forbidden, match="belongs to somebody else"):
        come("3")


def test_groups_that_make_no_operator_take_admin_away(database: Database) -> None:
    UserStore(database).add(User("anna", "Anna", frozenset({"ops"}), "basic", NOW, password_hash="$argon2id$x"))
    anna = Signed(database, "anna")
    done("groups", "anna", "-g", "ops")
    assert {scope for token in anna.tokens.of("anna") for scope in token.scopes} == {"executions:read", "admin"}
    done("groups", "anna", "-g", "climate")
    assert [token.scopes for token in anna.tokens.of("anna")] == [{"executions:read"}]


def test_an_account_moves_to_somebody_else(database: Database) -> None:
    users = UserStore(database)
    users.add(ANNA)
    users.add(User("anna2", "Anna", frozenset(), "sso", NOW, issuer=ISSUER, sub="2"))
    both = [Signed(database, "anna"), Signed(database, "anna2")]
    said = done("move", "anna", "--sub", "2", "--issuer", ISSUER)
    assert said == f"anna: belongs to 2 of {ISSUER}\nanna2: belongs to nobody\n"
    assert [signed.counts() for signed in both] == [(False, 0), (False, 0)]
    found = users.of_identity(ISSUER, "2")
    assert found is not None
    assert found.subject == "anna"
    assert users.of_identity(ISSUER, "1") is None
    left = users.find("anna2")
    assert left is not None
    assert (left.issuer, left.sub) == (ISSUER, None)


def test_moving_what_cannot_be_moved(database: Database) -> None:
    UserStore(database).add(User("anna", "Anna", frozenset(), "basic", NOW, password_hash="$argon2id$x"))
    assert "There is no user nobody" in refused("move", "nobody", "--sub", "1", "--issuer", ISSUER)
    assert "signs in with a password" in refused("move", "anna", "--sub", "1", "--issuer", ISSUER)
    assert "name no identity provider" in refused("move", "anna", "--sub", "1")
    assert "1 to 255" in refused("move", "anna", "--sub", "", "--issuer", ISSUER)


def test_a_provider_under_another_name(database: Database) -> None:
    users = UserStore(database)
    users.add(ANNA)
    assert done("issuer", ISSUER, "https://new.example.org") == "https://new.example.org: 1 account\n"
    assert users.of_identity("https://new.example.org", "1") is not None
    assert "No account belongs to a user of" in refused("issuer", ISSUER, "https://new.example.org")
    users.add(User("anna2", "Anna", frozenset(), "sso", NOW, issuer=ISSUER, sub="1"))
    assert "has an account of its own" in refused("issuer", ISSUER, "https://new.example.org")


def test_names_with_colons_are_told_apart(database: Database, tmp_path: Path) -> None:
    subject = "https://aai.example.org/users/42"
    UserStore(database).add(replace(ANNA, subject=subject))
    assert "no colon" in refused("add", subject)
    assert "suspended" in done("suspend", subject)
    assert subject in done("list")
    settings = yaml.safe_load((tmp_path / ".hpcwaas-api.yaml").read_text())
    settings["auth"]["operators"] = [subject]
    (tmp_path / ".hpcwaas-api.yaml").write_text(yaml.safe_dump(settings))
    assert "operator, user" in call("list").stdout
