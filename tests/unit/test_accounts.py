"""Signing in with a password: right ones, wrong ones, what time could tell, and what is remembered."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime

import argon2
import pytest
import yaml

from hpcwaas.core.people import NO_PROOF, Principal, User
from hpcwaas.errors import TooManyRequests, Unavailable
from hpcwaas.identity import basic, passwords
from hpcwaas.identity.basic import advice
from hpcwaas.identity.directory import Users
from hpcwaas.identity.passwords import hash_password
from hpcwaas.identity.settings import AuthSettings
from tests.unit.accounts import HASHED, HERE, OLD_HASH, STRANGE, THERE, Count, World, fail

pytest_plugins = "tests.unit.accounts_fixtures"


class TestPasswords:
    @pytest.mark.parametrize(
        ("name", "groups", "roles"),
        [
            ("paul", {"climate"}, {"user"}),
            ("hugo", {"admins"}, {"user", "operator"}),
            ("sara", {"climate"}, {"user", "operator"}),
            ("olga", {"climate"}, {"user"}),
        ],
    )
    def test_the_right_one(self, world: World, name: str, groups: set[str], roles: set[str]) -> None:
        found = world.identity.basic(name, f"{name}'s password", HERE)
        assert found is not None
        assert found.proof.at is not None  # by the password, just now
        assert replace(found, proof=NO_PROOF) == Principal(name, found.name, frozenset(roles), frozenset(groups))
        assert replace(found, proof=NO_PROOF) == world.users.find(name)

    @pytest.mark.parametrize("name", ["paul", "hugo", "sara"])
    @pytest.mark.parametrize("password", ["Paul's password", "paul's password ", "dora's password", *STRANGE])
    def test_wrong_ones(self, world: World, name: str, password: str) -> None:
        assert world.identity.basic(name, password, HERE) is None

    def test_the_hash_is_no_password(self, world: World) -> None:
        assert world.identity.basic("hugo", HASHED["hugo"], HERE) is None

    @pytest.mark.parametrize("name", ["Paul", "mallory", "sso-subject", *STRANGE])
    def test_unknown_names(self, world: World, name: str) -> None:
        assert world.identity.basic(name, "paul's password", HERE) is None

    def test_a_disabled_account(self, world: World) -> None:
        assert world.identity.basic("dora", "dora's password", HERE) is None

    def test_there_are_no_tokens(self, world: World) -> None:
        assert world.identity.bearer("paul's password", HERE) is None

    def test_an_account_of_the_settings_beats_one_of_the_store(self, world: World) -> None:
        world.records.add(
            User("paul", "Impostor", frozenset(), "basic", datetime.now(UTC), hash_password("impostor's password"))
        )
        assert world.identity.basic("paul", "impostor's password", HERE) is None
        assert world.identity.basic("paul", "paul's password", HERE) is not None

    def test_an_old_hash_is_renewed(self, world: World, verified: Count) -> None:
        assert world.identity.basic("olga", "olga's password", HERE)
        user = world.records.find("olga")
        assert user is not None
        assert user.password_hash is not None
        assert user.password_hash != OLD_HASH
        assert not passwords.needs_rehash(user.password_hash)
        assert world.identity.basic("olga", "olga's password", HERE)
        assert verified() == 1  # the renewed hash is the one that is remembered
        assert world.another_process().basic("olga", "olga's password", HERE)

    def test_renewing_never_undoes_a_change(self, world: World) -> None:
        changed = hash_password("olga's new password")
        world.records.change("olga", password_hash=changed)
        world.records.rehash("olga", OLD_HASH, hash_password("olga's password"))
        user = world.records.find("olga")
        assert user is not None
        assert user.password_hash == changed


class TestTime:
    @pytest.mark.parametrize("name", ["paul", "hugo", "sara", "dora", "sso-subject", "mallory", "\0", "x" * 1000])
    @pytest.mark.parametrize("right", [True, False])
    def test_the_same_work_is_done_whoever_it_is(self, world: World, verified: Count, name: str, right: bool) -> None:
        before = world.records.looked_up
        world.identity.basic(name, f"{name}'s password" if right else "wrong", HERE)
        assert (world.records.looked_up - before, verified()) == (1, 1)

    def test_nobody_s_hash_costs_what_others_cost(self) -> None:
        costs = {str(argon2.extract_parameters(it)) for it in (passwords.Verifier()._nobody, HASHED["sara"])}
        assert len(costs) == 1


class TestMemory:
    @pytest.mark.parametrize("name", ["paul", "hugo", "sara"])
    def test_a_password_is_verified_once(self, world: World, verified: Count, name: str) -> None:
        for _ in range(3):
            assert world.identity.basic(name, f"{name}'s password", HERE)
        assert verified() == 1

    def test_for_some_minutes_only(self, world: World, verified: Count, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(basic, "_REMEMBERED", -1.0)
        for _ in range(2):
            assert world.identity.basic("sara", "sara's password", HERE)
        assert verified() == 2

    def test_a_changed_password_counts_at_once(self, world: World) -> None:
        assert world.identity.basic("sara", "sara's password", HERE)
        world.records.change("sara", password_hash=hash_password("another password"))
        assert world.identity.basic("sara", "sara's password", HERE) is None
        assert world.identity.basic("sara", "another password", HERE)

    def test_a_disabled_account_counts_no_more_at_once(self, world: World) -> None:
        assert world.identity.basic("sara", "sara's password", HERE)
        world.records.change("sara", disabled=True)
        assert world.identity.basic("sara", "sara's password", HERE) is None

    def test_passwords_are_not_kept_in_plain_text(self, world: World) -> None:
        assert world.identity.basic("sara", "sara's password", HERE)
        assert "sara's password" not in str(vars(world.identity)) + str(world.identity._memory._entries)
        assert "paul's password" not in str(world.users.account("paul"))

    def test_no_more_are_remembered_than_fit(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(basic, "_MOST", 2)
        world.identity = world.another_process()
        for number in range(4):
            assert world.identity.basic("sara", "sara's password", f"192.0.2.{number}")
        assert len(world.identity._memory._entries) == 2

    def test_it_is_no_way_to_guess(self, world: World) -> None:
        """What is remembered answers its own client, but not many guesses."""
        assert world.identity.basic("sara", "sara's password", HERE)
        fail(world, "sara", 10, THERE)
        assert world.identity.basic("sara", "sara's password", HERE)
        with pytest.raises(TooManyRequests):
            world.identity.basic("sara", "sara's password", THERE)
        fail(world, "sara", 10, HERE)
        with pytest.raises(TooManyRequests):
            world.identity.basic("sara", "sara's password", HERE)


def test_no_more_than_two_verify_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_PATIENCE", 0.05)
    verifier, entered, leave = passwords.Verifier(), threading.Barrier(3), threading.Event()

    def hold() -> None:
        with verifier.turn():
            entered.wait(60)
            leave.wait(60)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    entered.wait(60)
    with pytest.raises(Unavailable), verifier.turn():
        pass
    leave.set()
    for thread in threads:
        thread.join(60)
    with verifier.turn():
        pass


class TestDirectory:
    def test_everybody(self, world: World) -> None:
        names = ["paul", "hugo", "sara", "dora", "sso-subject", "mallory"]
        assert [bool(world.users.find(name)) for name in names] == [True, True, True, False, False, False]
        assert [world.users.has_password(name) for name in names] == [True, True, True, True, False, False]
        assert world.users.any_account()

    def test_users_of_the_identity_provider(self, world: World) -> None:
        both = Users(world.auth.model_copy(update={"auth_type": ("basic", "sso")}), world.records)
        assert both.find("sso-subject") == Principal(
            "sso-subject", "Sepp", frozenset({"user", "operator"}), frozenset({"admins"})
        )
        only = Users(AuthSettings(auth_type=("sso",)), world.records)
        assert only.find("sso-subject") is not None
        assert only.find("sara") is None
        assert only.has_password("sara")
        assert not only.any_account()

    def test_the_local_mode_knows_its_user_alone(self, world: World) -> None:
        me = Principal("me", "me", frozenset({"user", "operator"}))
        users = Users(None, world.records, me)
        assert (users.find("me"), users.find("sara"), users.find("sso-subject")) == (me, None, None)


def test_advice_shows_the_hash_to_put_there(world: World) -> None:
    plain, old = advice(
        AuthSettings.model_validate(
            {
                "auth_type": "basic",
                "basic_auth": {
                    "accounts": [
                        {"username": "hugo", "password_hash": HASHED["hugo"]},
                        {"username": "paul", "password": "paul's password"},
                        {"username": "olga", "password_hash": OLD_HASH},
                    ]
                },
            }
        )
    )
    assert plain.startswith("auth.basic_auth.accounts[1].password is plain text")
    assert "paul's password" not in plain
    hashed = yaml.safe_load("{" + plain.partition("by: ")[2] + "}")["password_hash"]
    assert argon2.PasswordHasher().verify(hashed, "paul's password")
    assert old.startswith("auth.basic_auth.accounts[2].password_hash was made with other parameters")
    assert OLD_HASH not in old
    assert list(advice(None)) == []
