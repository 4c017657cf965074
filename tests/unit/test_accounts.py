"""Signing in with a password: right ones, wrong ones, too many, and what time could tell."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import argon2
import pytest
import yaml
from limits import RateLimitItemPerMinute

from hpcwaas.core.models import Principal
from hpcwaas.core.people import User
from hpcwaas.errors import TooManyRequests, Unauthorized, Unavailable
from hpcwaas.identity import basic, passwords, throttle
from hpcwaas.identity.basic import BasicIdentity, advice
from hpcwaas.identity.directory import Users
from hpcwaas.identity.front import Front
from hpcwaas.identity.passwords import hash_password
from hpcwaas.identity.throttle import Throttle
from hpcwaas.settings import AuthSettings
from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database
from hpcwaas.store.users import UserStore

HERE, THERE = "192.0.2.1", "198.51.100.7"
HASHED = {name: hash_password(f"{name}'s password") for name in ("hugo", "sara", "dora")}
OLD_HASH = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("olga's password")
STRANGE = ["", "\ud800", "\0", "x" * 10_000]


class CountedUsers(UserStore):
    """The real records, counting how often a user is looked up."""

    looked_up = 0

    def find(self, subject: str) -> User | None:
        self.looked_up += 1
        return super().find(subject)


@dataclass
class World:
    """An identity over a real store, with plain (`paul`), hashed (`hugo`) and stored (`sara`, `olga`, `dora`) accounts.

    Attributes:
        now: what the throttle takes for the present.
    """

    database: Database
    now: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    auth: AuthSettings = field(
        default_factory=lambda: AuthSettings.model_validate(
            {
                "auth_type": "basic",
                "operators": ["sara"],
                "operator_groups": ["admins"],
                "basic_auth": {
                    "accounts": [
                        {"username": "paul", "password": "paul's password", "groups": ["climate"]},
                        {"username": "hugo", "password_hash": HASHED["hugo"], "groups": ["admins"]},
                    ]
                },
            }
        )
    )

    def __post_init__(self) -> None:
        self.records = CountedUsers(self.database)
        for name, hashed in (("sara", HASHED["sara"]), ("olga", OLD_HASH), ("dora", HASHED["dora"])):
            self.records.add(
                User(name, name.title(), frozenset({"climate"}), "basic", datetime.now(UTC), hashed, name == "dora")
            )
        self.records.add(User("sso-subject", "Sepp", frozenset({"admins"}), "sso", datetime.now(UTC)))
        self.users = Users(self.auth, self.records)
        self.counters = CounterStore(self.database)
        self.identity = self.another_process()

    def another_process(self) -> BasicIdentity:
        """An identity with a memory of its own over the same store."""
        return BasicIdentity(self.users, self.records, self.throttle())

    def throttle(self) -> Throttle:
        return Throttle(self.counters, lambda: self.now)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database to copy: that is faster than making one."""
    file = tmp_path_factory.mktemp("store") / "store.db"
    database = Database(f"sqlite:///{file}")
    database.upgrade()
    database.close()
    return file


@pytest.fixture
def world(empty: Path, tmp_path: Path) -> Iterator[World]:
    database = Database(f"sqlite:///{shutil.copy(empty, tmp_path)}")
    yield World(database)
    database.close()


Count: TypeAlias = Callable[[], int]


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> Count:
    """How often argon2 has verified something."""
    counted = []
    verify = argon2.PasswordHasher.verify

    def counting(self: argon2.PasswordHasher, *given: Any) -> Any:
        counted.append(given)
        return verify(self, *given)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counting)
    return lambda: len(counted)


def fail(world: World, name: str, times: int, address: str = HERE) -> None:
    for _ in range(times):
        assert world.identity.basic(name, "wrong", address) is None


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
        assert found == Principal(name, found.name, frozenset(roles), frozenset(groups))
        assert found == world.users.find(name)

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


class TestThrottle:
    @pytest.mark.parametrize("name", ["paul", "hugo", "sara", "dora", "mallory", "", "\0", "\ud800"])
    def test_an_account_whoever_it_is(self, world: World, name: str, verified: Count) -> None:
        fail(world, name, 10)
        with pytest.raises(TooManyRequests, match="as this user have failed: wait 15 minutes") as caught:
            world.identity.basic(name, f"{name}'s password", HERE)
        assert caught.value.retry_after == 900
        assert verified() == 10  # the right password wasn't even looked at

    @pytest.mark.parametrize("name", ["sara", "mallory"])
    def test_an_account_from_everywhere(self, world: World, name: str, verified: Count) -> None:
        for number in range(10):
            fail(world, name, 10, f"203.0.113.{number}")
        with pytest.raises(TooManyRequests, match="as this user have failed: wait 15 minutes"):
            world.identity.basic(name, f"{name}'s password", HERE)
        assert verified() == 100

    def test_nobody_is_locked_out_by_one_address(self, world: World) -> None:
        fail(world, "sara", 10, THERE)
        with pytest.raises(TooManyRequests):
            world.identity.basic("sara", "sara's password", THERE)
        assert world.identity.basic("sara", "sara's password", HERE)

    def test_nobody_is_locked_out_where_they_have_signed_in_before(self, world: World) -> None:
        assert world.identity.basic("sara", "sara's password", HERE)
        world.now += timedelta(days=29)
        for number in range(10):
            fail(world, "sara", 10, f"203.0.113.{number}")
        afterwards = world.another_process()  # which remembers nothing
        with pytest.raises(TooManyRequests):
            afterwards.basic("sara", "sara's password", THERE)
        assert afterwards.basic("sara", "sara's password", HERE)
        world.now += timedelta(days=2)
        for number in range(10):
            fail(world, "sara", 10, f"203.0.113.{number}")
        with pytest.raises(TooManyRequests):
            world.another_process().basic("sara", "sara's password", HERE)

    def test_a_locked_account_opens_again(self, world: World) -> None:
        fail(world, "sara", 10)
        world.now += timedelta(minutes=14, seconds=30)
        with pytest.raises(TooManyRequests, match="wait 1 minute\\.") as caught:
            world.identity.basic("sara", "sara's password", HERE)
        assert caught.value.retry_after == 30
        world.now += timedelta(seconds=30)
        assert world.identity.basic("sara", "sara's password", HERE)

    def test_a_success_clears_the_account(self, world: World) -> None:
        fail(world, "sara", 9)
        assert world.another_process().basic("sara", "sara's password", HERE)
        fail(world, "sara", 10)
        with pytest.raises(TooManyRequests):
            world.identity.basic("sara", "wrong", HERE)

    def test_a_success_clears_neither_the_account_elsewhere_nor_the_address(self, world: World) -> None:
        for number in range(9):
            fail(world, "sara", 10, f"203.0.113.{number}")
        fail(world, "sara", 9)
        assert world.identity.basic("sara", "sara's password", HERE)
        fail(world, "sara", 1, THERE)
        with pytest.raises(TooManyRequests):
            world.identity.basic("sara", "sara's password", "198.51.100.8")

    def test_an_operator_clears_all_of_an_account(self, world: World) -> None:
        for number in range(9):
            fail(world, "sara", 10, f"203.0.113.{number}")
        fail(world, "sara", 10)
        fail(world, "paul", 10)
        world.throttle().reopen("sara")
        for address in (HERE, THERE):
            assert world.another_process().basic("sara", "sara's password", address)
        with pytest.raises(TooManyRequests):
            world.identity.basic("paul", "paul's password", HERE)

    def test_others_are_not_locked(self, world: World) -> None:
        fail(world, "sara", 10)
        assert world.identity.basic("paul", "paul's password", HERE)

    def test_all_processes_count_together(self, world: World) -> None:
        fail(world, "sara", 10)
        with pytest.raises(TooManyRequests):
            world.another_process().basic("sara", "sara's password", HERE)

    def test_an_address(self, world: World) -> None:
        for number in range(49):
            world.throttle().failed(f"name{number}", HERE)
        fail(world, "mallory", 1)
        with pytest.raises(TooManyRequests, match="from this address"):
            world.identity.basic("sara", "sara's password", HERE)
        assert world.identity.basic("sara", "sara's password", THERE)
        with pytest.raises(TooManyRequests):  # an account of one's own doesn't clear the address
            world.identity.basic("mallory", "wrong", HERE)

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("2001:db8::1", "2001:db8::ffff:0:0:1", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
            ("192.0.2.1", "192.0.2.2", False),
            ("", "", True),
        ],
    )
    def test_what_counts_as_one_address(self, world: World, one: str, other: str, same: bool) -> None:
        counting = world.throttle()
        for number in range(50):
            counting.failed(f"name{number}", one)
        if same:
            with pytest.raises(TooManyRequests):
                counting.check("sara", other)
        else:
            counting.check("sara", other)

    def test_names_are_not_stored(self, world: World, tmp_path: Path) -> None:
        fail(world, "a password typed for the name", 1)
        world.database.close()
        assert not any(b"a password typed" in file.read_bytes() for file in tmp_path.iterdir())

    def test_attempts_at_the_same_time(self, world: World, verified: Count) -> None:
        """However many come at once: hardly more than allowed are verified."""
        with ThreadPoolExecutor(24) as pool:
            answers = [pool.submit(world.identity.basic, "sara", f"guess {number}", HERE) for number in range(60)]
        refused = [isinstance(answer.exception(), TooManyRequests) for answer in answers]
        assert verified() <= 11
        assert refused.count(False) == verified()

    def test_many_requests_with_the_right_password_at_the_same_time(self, world: World, verified: Count) -> None:
        with ThreadPoolExecutor(24) as pool:
            answers = [pool.submit(world.identity.basic, "sara", "sara's password", HERE) for _ in range(60)]
        assert all(answer.result() for answer in answers)
        assert verified() <= 2


def test_no_more_than_two_verify_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_PATIENCE", 0.05)
    verifier, entered, leave = passwords.Verifier(), threading.Barrier(3), threading.Event()

    def hold() -> None:
        with verifier.turn():
            entered.wait(10)
            leave.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    entered.wait(10)
    with pytest.raises(Unavailable), verifier.turn():
        pass
    leave.set()
    for thread in threads:
        thread.join(10)
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


class Tokens:
    """A way to sign in by the token `good`."""

    def __init__(self) -> None:
        self.asked = 0
        self.good = {"good"}

    def basic(self, username: str, password: str, address: str) -> Principal | None:
        return None

    def bearer(self, token: str, address: str) -> Principal | None:
        self.asked += 1
        return Principal("sara", "Sara") if token in self.good else None


class TestFront:
    def test_credentials_are_known_for_a_moment(self, world: World) -> None:
        front = Front([Tokens(), world.identity], world.throttle())
        pair = "c2FyYTpzYXJhJ3MgcGFzc3dvcmQ="
        for scheme, credentials in (("basic", pair), ("bearer", "good")):
            assert front.known(scheme, credentials, HERE) is None
            found = front.check(scheme, credentials, HERE)
            assert found.subject == "sara"
            assert front.known(scheme, credentials, HERE) == found
        assert front.known("basic", pair, THERE) is None
        assert front.known("bearer", "good", THERE) is not None
        front.forget()
        assert front.known("basic", pair, HERE) is front.known("bearer", "good", HERE) is None

    def test_what_was_found_out_before_a_change_is_not_kept(self, world: World) -> None:
        class Slow(Tokens):
            def bearer(self, token: str, address: str) -> Principal | None:
                front.forget()
                return super().bearer(token, address)

        front = Front([Slow()], world.throttle())
        assert front.check("bearer", "good", HERE)
        assert front.known("bearer", "good", HERE) is None

    @pytest.mark.parametrize("credentials", ["", "\ud800", "x" * 20_000, "!!!!", "c2FyYQ==", "/w=="])
    def test_nonsense(self, world: World, credentials: str) -> None:
        front = Front([Tokens(), world.identity], world.throttle())
        for scheme in ("basic", "bearer"):
            with pytest.raises(Unauthorized):
                front.check(scheme, credentials, HERE)

    def test_unknown_tokens_are_throttled_by_address(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(throttle, "_TOKENS", RateLimitItemPerMinute(20, 15))
        tokens = Tokens()
        front = Front([tokens], world.throttle())
        assert front.check("bearer", "good", HERE)
        for number in range(20):
            with pytest.raises(Unauthorized):
                front.check("bearer", f"bad {number}", HERE)
        with pytest.raises(TooManyRequests, match="from this address"):
            front.check("bearer", "bad", HERE)
        assert tokens.asked == 21
        front.forget()
        assert front.check("bearer", "good", HERE)  # who was known stays
        tokens.good.clear()
        front.forget()
        with pytest.raises(Unauthorized):
            front.check("bearer", "good", HERE)
        with pytest.raises(TooManyRequests):
            front.check("bearer", "good", HERE)


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
