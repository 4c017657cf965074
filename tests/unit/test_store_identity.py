"""Records of users, sessions, tokens, tickets, counts and shares, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hpcwaas.core.models import Execution, ExecutionState, Status
from hpcwaas.core.people import AccessToken, Principal, Shares, User, UserSession
from hpcwaas.errors import BadRequest, Conflict, NotFound
from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.sessions import SessionStore
from hpcwaas.store.shares import ShareStore
from hpcwaas.store.starts import StartStore
from hpcwaas.store.tickets import TicketStore
from hpcwaas.store.tokens import TokenStore
from hpcwaas.store.users import UserStore

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


class TestUsers:
    ALICE = User("alice", "Alice", frozenset({"staff", "physics"}), "basic", NOW, "$argon2id$x")

    @pytest.fixture
    def users(self, database: Database) -> UserStore:
        return UserStore(database)

    def test_one_is_added_once(self, users: UserStore) -> None:
        assert users.find("alice") is None
        users.add(self.ALICE)
        assert users.find("alice") == self.ALICE
        with pytest.raises(Conflict, match="already"):
            users.add(replace(self.ALICE, name="Another"))
        assert users.find("alice") == self.ALICE

    def test_all_by_subject(self, users: UserStore) -> None:
        subjects = ["b", "a-1", "A", "a1", "ä", "Z", "a"]
        for subject in subjects:
            users.add(replace(self.ALICE, subject=subject))
        assert [user.subject for user in users.all()] == sorted(subjects)

    def test_news_of_one_change_neither_password_nor_rights(self, users: UserStore) -> None:
        users.add(replace(self.ALICE, disabled=True))
        users.put(User("alice", "Alice B.", frozenset(), "sso", NOW + HOUR, seen_at=NOW + HOUR))
        assert users.find("alice") == replace(
            self.ALICE, disabled=True, name="Alice B.", groups=frozenset(), source="sso", seen_at=NOW + HOUR
        )
        users.put(replace(self.ALICE, subject="new"))
        assert users.find("new") == replace(self.ALICE, subject="new")

    def test_what_was_told_later_stays(self, users: UserStore) -> None:
        known = User("carl", "Carl", frozenset({"now"}), "sso", NOW, seen_at=NOW)
        users.put(known)
        for moment in (NOW - SECOND, None):
            users.put(replace(known, name="Old", groups=frozenset({"then"}), seen_at=moment))
            assert users.find("carl") == known
        same = replace(known, name="Carl C.", groups=frozenset())
        users.put(same)
        assert users.find("carl") == same

    def test_of_whom_nothing_was_told_anything_is_news(self, users: UserStore) -> None:
        users.put(User("carl", "carl", frozenset(), "sso", NOW))
        told = User("carl", "Carl", frozenset({"g"}), "sso", NOW, seen_at=NOW - 24 * HOUR)
        users.put(told)
        assert users.find("carl") == told

    def test_news_let_nobody_in_who_has_signed_out_everywhere(self, users: UserStore) -> None:
        users.put(User("carl", "Carl", frozenset(), "sso", NOW, seen_at=NOW))
        users.change("carl", signed_out_at=NOW + SECOND)
        users.put(User("carl", "Carl", frozenset({"g"}), "sso", NOW, seen_at=NOW + HOUR))
        carl = users.find("carl")
        assert carl is not None
        assert (carl.groups, carl.signed_out_at) == (frozenset({"g"}), NOW + SECOND)

    def test_changes(self, users: UserStore) -> None:
        users.add(self.ALICE)
        users.change("alice", disabled=True, groups={"b", "a"})
        assert users.find("alice") == replace(self.ALICE, disabled=True, groups=frozenset({"a", "b"}))
        users.change("alice", password_hash="$argon2id$y")
        assert users.find("alice") == replace(
            self.ALICE, disabled=True, groups=frozenset({"a", "b"}), password_hash="$argon2id$y"
        )
        with pytest.raises(NotFound):
            users.change("bob", disabled=True)

    def test_names_that_no_user_can_have(self, users: UserStore) -> None:
        with pytest.raises(BadRequest):
            users.find("\ud800")


class TestSessions:
    SESSION = UserSession("s-1", "alice", "waas", NOW, NOW + HOUR, NOW + 24 * HOUR)

    @pytest.fixture
    def sessions(self, database: Database) -> SessionStore:
        sessions = SessionStore(database)
        sessions.add(self.SESSION, "token", "refresh")
        return sessions

    def test_an_access_token_counts_until_it_expires(self, sessions: SessionStore) -> None:
        assert sessions.of_token("token", NOW + HOUR - SECOND) == self.SESSION
        assert sessions.of_token("token", NOW + HOUR) is None
        assert sessions.of_token("refresh", NOW) is None
        assert sessions.of_refresh("token", NOW) is None

    def test_it_is_renewed_until_it_ends(self, sessions: SessionStore) -> None:
        assert sessions.of_refresh("refresh", NOW + 24 * HOUR - SECOND) == self.SESSION
        assert sessions.of_refresh("refresh", NOW + 24 * HOUR) is None

    def test_a_renewal_replaces_both_tokens(self, sessions: SessionStore) -> None:
        assert sessions.renew("s-1", "refresh", "token-2", "refresh-2", NOW + 2 * HOUR)
        renewed = replace(self.SESSION, expires_at=NOW + 2 * HOUR)
        assert sessions.of_token("token", NOW) is None
        assert sessions.of_token("token-2", NOW) == renewed
        assert sessions.of_refresh("refresh", NOW) is None
        assert sessions.of_refresh("refresh-2", NOW) == renewed
        assert sessions.of_replaced("refresh") == renewed
        assert not sessions.renew("s-1", "refresh", "token-3", "refresh-3", NOW + 3 * HOUR)
        assert not sessions.renew("s-2", "refresh-2", "token-3", "refresh-3", NOW + 3 * HOUR)
        assert sessions.of_token("token-2", NOW) == renewed

    def test_a_token_that_comes_again_begins_anew(self, sessions: SessionStore) -> None:
        sessions.renew("s-1", "refresh", "token", "refresh-2", NOW + HOUR)
        again = replace(self.SESSION, id="s-2", subject="bob", client="browser")
        sessions.add(again, "token", None)
        assert sessions.of_token("token", NOW) == again
        assert sessions.of_refresh("refresh-2", NOW) is None
        assert sessions.of_replaced("refresh") is None

    def test_ends(self, sessions: SessionStore) -> None:
        sessions.add(replace(self.SESSION, id="s-2"), "token-2", "refresh-2")
        sessions.add(replace(self.SESSION, id="s-3", subject="bob"), "token-3", None)
        sessions.add(replace(self.SESSION, id="s-4"), "token-4", None)
        sessions.end("s-1")
        sessions.end("s-1")
        assert [sessions.of_token(f"token{n}", NOW) is None for n in ("", "-2", "-3", "-4")] == [
            True,
            False,
            False,
            False,
        ]
        sessions.end_all("alice")
        assert [sessions.of_token(f"token-{n}", NOW) is None for n in (2, 3, 4)] == [True, False, True]

    def test_those_that_are_over_are_swept(self, sessions: SessionStore) -> None:
        sessions.sweep(NOW + 24 * HOUR - SECOND)
        assert sessions.of_token("token", NOW) == self.SESSION
        sessions.sweep(NOW + 24 * HOUR)
        assert sessions.of_token("token", NOW) is None


class TestTokens:
    TOKEN = AccessToken("t-1", "alice", "laptop", frozenset({"executions:read", "keys:write"}), NOW, NOW + HOUR)

    @pytest.fixture
    def tokens(self, database: Database) -> TokenStore:
        tokens = TokenStore(database)
        tokens.add(self.TOKEN, "digest", 9)
        return tokens

    def test_it_counts_until_it_expires(self, tokens: TokenStore) -> None:
        assert tokens.find("digest", NOW + HOUR - SECOND) == self.TOKEN
        assert tokens.find("digest", NOW + HOUR) is None
        assert tokens.find("t-1", NOW) is None

    def test_names_are_unique_for_each_owner(self, tokens: TokenStore) -> None:
        with pytest.raises(Conflict, match="name"):
            tokens.add(replace(self.TOKEN, id="t-2"), "digest-2", 9)
        tokens.add(replace(self.TOKEN, id="t-2", owner="bob"), "digest-2", 9)
        tokens.add(replace(self.TOKEN, id="t-3", name="Laptop"), "digest-3", 9)
        assert [len(tokens.of(owner)) for owner in ("alice", "bob", "eve")] == [2, 1, 0]

    def test_each_owner_has_a_limited_number(self, tokens: TokenStore) -> None:
        second = replace(self.TOKEN, id="t-2", name="second")
        with pytest.raises(Conflict, match="1 tokens, which is the limit"):
            tokens.add(second, "digest-2", 1)
        tokens.add(replace(second, owner="bob"), "digest-2", 1)
        tokens.delete("t-1", "alice")
        tokens.add(self.TOKEN, "digest", 1)

    def test_lists_are_newest_first(self, tokens: TokenStore) -> None:
        young = replace(self.TOKEN, id="t-0", name="young", created_at=NOW + SECOND)
        foreign = replace(self.TOKEN, id="t-2", owner="bob")
        tokens.add(young, "digest-0", 9)
        tokens.add(foreign, "digest-2", 9)
        assert tokens.of("alice") == [young, self.TOKEN]
        assert tokens.of(None) == [young, self.TOKEN, foreign]
        assert tokens.of("eve") == []

    def test_the_last_use_is_noted(self, tokens: TokenStore) -> None:
        tokens.used("t-1", NOW + SECOND)
        tokens.used("gone", NOW + SECOND)
        assert tokens.of("alice") == [replace(self.TOKEN, last_used_at=NOW + SECOND)]

    def test_only_its_owner_revokes_it(self, tokens: TokenStore) -> None:
        with pytest.raises(NotFound) as foreign:
            tokens.delete("t-1", "bob")
        with pytest.raises(NotFound) as unknown:
            tokens.delete("t-2", "bob")
        assert foreign.value.detail == unknown.value.detail
        tokens.delete("t-1", "alice")
        assert tokens.find("digest", NOW) is None
        tokens.add(self.TOKEN, "digest", 9)
        tokens.delete("t-1", None)
        assert tokens.of(None) == []

    def test_expired_ones_are_swept(self, tokens: TokenStore) -> None:
        tokens.sweep(NOW + HOUR)
        assert tokens.of("alice") == [self.TOKEN]
        tokens.sweep(NOW + HOUR + SECOND)
        assert tokens.of("alice") == []


class TestTickets:
    @pytest.fixture
    def tickets(self, database: Database) -> TicketStore:
        tickets = TicketStore(database)
        tickets.put("device", "k", {"user": None, "list": [1, "ü"]}, NOW + HOUR)
        return tickets

    def test_it_counts_until_it_expires(self, tickets: TicketStore) -> None:
        late = NOW + HOUR - SECOND
        assert tickets.find_ticket("device", "k", late) == {"user": None, "list": [1, "ü"]}
        assert tickets.find_ticket("device", "k", NOW + HOUR) is None
        assert tickets.take("device", "k", NOW + HOUR) is None
        assert not tickets.change("device", "k", {}, NOW + HOUR)

    def test_it_is_taken_once(self, tickets: TicketStore) -> None:
        assert tickets.take("device", "k", NOW) == {"user": None, "list": [1, "ü"]}
        assert tickets.take("device", "k", NOW) is None
        assert tickets.find_ticket("device", "k", NOW) is None

    def test_it_is_known_by_kind_and_key(self, tickets: TicketStore) -> None:
        tickets.put("code", "k", {"n": 2}, NOW + HOUR)
        with pytest.raises(Conflict):
            tickets.put("device", "k", {"n": 3}, NOW + HOUR)
        assert tickets.take("code", "k", NOW) == {"n": 2}
        assert tickets.find_ticket("device", "k", NOW) == {"user": None, "list": [1, "ü"]}

    def test_it_may_say_something_else(self, tickets: TicketStore) -> None:
        assert tickets.change("device", "k", {"user": "alice"}, NOW)
        assert tickets.take("device", "k", NOW) == {"user": "alice"}
        assert not tickets.change("device", "k", {"user": "alice"}, NOW)

    def test_those_that_count_no_longer_are_swept(self, tickets: TicketStore) -> None:
        tickets.sweep(NOW + HOUR - SECOND)
        assert tickets.find_ticket("device", "k", NOW) is not None
        tickets.sweep(NOW + HOUR)
        assert tickets.find_ticket("device", "k", NOW) is None


class TestCounters:
    @pytest.fixture
    def counters(self, database: Database) -> CounterStore:
        return CounterStore(database)

    def test_a_window_begins_with_the_first(self, counters: CounterStore) -> None:
        assert counters.count_of("k", NOW) == (0, NOW)
        assert counters.add("k", HOUR, NOW) == 1
        assert counters.add("k", HOUR, NOW + HOUR - SECOND, 5) == 6
        assert counters.count_of("k", NOW + HOUR - SECOND) == (6, NOW + HOUR)
        assert counters.count_of("k", NOW + HOUR) == (0, NOW + HOUR)
        assert counters.add("k", HOUR, NOW + HOUR) == 1
        assert counters.count_of("k", NOW + HOUR) == (1, NOW + 2 * HOUR)

    def test_each_key_has_its_own(self, counters: CounterStore) -> None:
        counters.add("a", HOUR, NOW)
        counters.add("b", HOUR, NOW, 2)
        counters.clear("a")
        counters.clear("a")
        assert (counters.count_of("a", NOW)[0], counters.count_of("b", NOW)[0]) == (0, 2)

    def test_all_that_begin_alike_are_forgotten(self, counters: CounterStore) -> None:
        for key in ("a_b", "a_b c", "axb", "b a_b"):
            counters.add(key, HOUR, NOW)
        counters.clear_all("a_b")
        assert [counters.count_of(key, NOW)[0] for key in ("a_b", "a_b c", "axb", "b a_b")] == [0, 0, 1, 1]

    def test_what_is_over_is_swept(self, counters: CounterStore) -> None:
        counters.add("k", HOUR, NOW)
        counters.sweep(NOW + HOUR - SECOND)
        assert counters.count_of("k", NOW)[0] == 1
        counters.sweep(NOW + HOUR)
        assert counters.count_of("k", NOW)[0] == 0


class TestShares:
    @pytest.fixture
    def shares(self, database: Database) -> ShareStore:
        state = ExecutionState(Status.PENDING)
        for name in ("e-1", "e-2"):
            ExecutionStore(database).add(Execution(name, "alice", "w", "w", "cwl", {}, NOW, state))
        return ShareStore(database)

    def test_with_users_and_groups(self, shares: ShareStore) -> None:
        assert shares.shares_of("e-1") == Shares()
        given = Shares(frozenset({"bob", "physics"}), frozenset({"physics"}))
        shares.put("e-1", given)
        assert shares.shares_of("e-1") == given
        assert shares.shares_of("e-2") == Shares()
        shares.put("e-1", Shares(frozenset({"eve"})))
        assert shares.shares_of("e-1") == Shares(frozenset({"eve"}))
        shares.put("e-1", Shares())
        assert shares.shares_of("e-1") == Shares()

    def test_who_is_included(self, shares: ShareStore, database: Database) -> None:
        shares.put("e-1", Shares(frozenset({"bob"}), frozenset({"physics"})))

        def included(subject: str, *groups: str, execution: str = "e-1") -> bool:
            principal = Principal(subject, subject, groups=frozenset(groups))
            try:
                return (
                    ExecutionStore(database).find_execution(execution, subject, shared_with=principal).id == execution
                )
            except NotFound:
                return False

        assert included("bob")
        assert included("eve", "chemistry", "physics")
        assert not included("eve")
        assert not included("eve", "bob", "chemistry")
        assert not included("physics")
        assert not included("bob", "physics", execution="e-2")

    def test_what_is_nothing_cannot_be_shared(self, shares: ShareStore) -> None:
        with pytest.raises(NotFound):
            shares.put("e-3", Shares(frozenset({"bob"})))
        assert shares.shares_of("e-3") == Shares()

    def test_they_go_with_the_execution(self, shares: ShareStore, database: Database) -> None:
        shares.put("e-1", Shares(frozenset({"bob"})))
        ExecutionStore(database).discard("e-1")
        assert shares.shares_of("e-1") == Shares()


class TestStarts:
    @pytest.fixture
    def starts(self, database: Database) -> StartStore:
        starts = StartStore(database)
        assert starts.begin("e-1", "here", NOW) is None
        return starts

    def test_one_is_asked_for_once(self, starts: StartStore) -> None:
        assert starts.begin("e-1", "here", NOW + HOUR) == (NOW, None)
        assert starts.end("e-1", "ref")
        assert starts.begin("e-1", "here", NOW + HOUR) == (NOW, "ref")

    def test_one_that_came_to_nothing_may_be_asked_for_again(self, starts: StartStore) -> None:
        starts.drop("e-1")
        assert starts.begin("e-1", "here", NOW + HOUR) is None

    def test_an_outcome_belongs_to_one(self, starts: StartStore) -> None:
        starts.begin("e-2", "here", NOW)
        assert starts.end("e-1", "ref")
        assert starts.end("e-1", "ref")
        assert not starts.end("e-2", "ref")
        assert starts.known(["ref", "other"]) == {"ref"}
        assert starts.known([]) == frozenset()

    def test_open_ones_at_a_place(self, starts: StartStore) -> None:
        starts.begin("e-2", "here", NOW + SECOND)
        starts.begin("e-3", "there", NOW)
        starts.begin("e-4", "here", NOW)
        starts.end("e-4", "ref")
        assert starts.open("here", NOW, NOW + SECOND) == 2
        assert starts.open("here", NOW, NOW) == 1
        assert starts.open("nowhere", NOW, NOW) == 0

    def test_old_ones_are_swept(self, starts: StartStore) -> None:
        starts.sweep(NOW + timedelta(days=30))
        assert starts.begin("e-1", "here", NOW) == (NOW, None)
        starts.sweep(NOW + timedelta(days=30, seconds=1))
        assert starts.begin("e-1", "here", NOW) is None
