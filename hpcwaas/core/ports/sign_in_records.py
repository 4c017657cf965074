"""The Protocols of the records that signing in needs. Every method may raise `Unavailable`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from hpcwaas.core.models import JSON
from hpcwaas.core.people import AccessToken, User, UserSession


class UserRecords(Protocol):
    """Records of users."""

    def add(self, user: User) -> None:
        """Stores a new user. Raises `Conflict` when there is one."""

    def put(self, user: User) -> None:
        """Stores a user who may be new, or what is told of one, unless what is known was told later (`seen_at`) or the
        account belongs to somebody else. Raises `Conflict` when they have another account."""

    def pin(self, subject: str, issuer: str, sub: str) -> None:
        """Lets an account of single sign-on that has belonged to nobody in particular yet belong to this user of the
        provider. Raises `Conflict` when they have another account."""

    def move(self, subject: str, issuer: str, sub: str) -> str | None:
        """Lets an account belong to this user of the provider, and the one that they had before to nobody.

        Returns:
            the one that they had before.

        Raises:
            NotFound: there is no such account.
        """

    def reissue(self, old: str, new: str) -> int:
        """Lets all accounts of a provider belong to the same users of it under its new name.

        Returns:
            how many there are.

        Raises:
            Conflict: one of these users has an account of the new name already.
        """

    def of_identity(self, issuer: str, sub: str) -> User | None:
        """The account that belongs to a user of the provider."""

    def change(self, subject: str, **changed: Any) -> None:
        """Changes `name`, `groups`, `password_hash`, `disabled`, `signed_out_at`, `entitled_by`. Raises `NotFound`."""

    def rehash(self, subject: str, old: str, new: str) -> None:
        """Replaces the hash of a password by another of the same one, unless it has been changed meanwhile."""

    def find(self, subject: str) -> User | None:
        """One user."""

    def all(self) -> Sequence[User]:
        """All users, by subject."""


class SessionRecords(Protocol):
    """Records of sign-ins that go on."""

    def add(self, session: UserSession, token_digest: str, refresh_digest: str | None) -> None:
        """Stores a new session; one that the same token belonged to ends."""

    def of_token(self, token_digest: str, now: datetime) -> UserSession | None:
        """The session of an access token."""

    def of_refresh(self, refresh_digest: str, now: datetime) -> UserSession | None:
        """The session that a token renews."""

    def of_replaced(self, refresh_digest: str) -> UserSession | None:
        """The session that a token has renewed, which it can't do again."""

    def renew(
        self, session_id: str, old_refresh_digest: str, token_digest: str, refresh_digest: str, expires_at: datetime
    ) -> bool:
        """Gives a session new tokens. False when somebody else was faster, or it has ended."""

    def end(self, session_id: str) -> None:
        """Ends a session."""

    def end_all(self, subject: str) -> None:
        """Ends all sessions of a user."""


class TokenRecords(Protocol):
    """Records of personal access tokens. An `owner` of None means whoever's."""

    def add(self, token: AccessToken, digest: str, at_most: int) -> None:
        """Stores a new token. Raises `Conflict` when its owner has one of this name, or this many."""

    def of(self, owner: str | None) -> Sequence[AccessToken]:
        """A user's tokens, newest first."""

    def find(self, digest: str, now: datetime) -> AccessToken | None:
        """A token that counts at this moment."""

    def used(self, token_id: str, now: datetime) -> None:
        """Notes a use."""

    def delete(self, token_id: str, owner: str | None) -> str:
        """Revokes a token, and tells whose it was. Raises `NotFound`."""

    def delete_all(self, owner: str) -> int:
        """Revokes all tokens of a user, and tells how many there were."""

    def drop_scope(self, owner: str, scope: str) -> int:
        """Takes a scope from all tokens of a user, and revokes those that are left with none.

        Returns:
            how many had it.
        """


class TermsRecords(Protocol):
    """Who accepted which terms of use."""

    def accept(self, subject: str, version: str, now: datetime) -> None:
        """Records that a user accepted a version; the first time counts."""

    def accepted_at(self, subject: str, version: str) -> datetime | None:
        """When a user accepted a version; None when they haven't."""


class Tickets(Protocol):
    """What counts once and for minutes."""

    def put(self, kind: str, key: str, content: Mapping[str, JSON], expires_at: datetime) -> None:
        """Stores a new ticket. Raises `Conflict` when there is one under this key."""

    def find_ticket(self, kind: str, key: str, now: datetime) -> Mapping[str, JSON] | None:
        """What a ticket says that counts."""

    def take(self, kind: str, key: str, now: datetime) -> Mapping[str, JSON] | None:
        """As `get`, for one of all who ask."""

    def change(self, kind: str, key: str, content: Mapping[str, JSON], now: datetime) -> bool:
        """Lets a ticket say something else. False when it doesn't count any more."""


class Counters(Protocol):
    """Counts in windows of time."""

    def add(self, key: str, window: timedelta, now: datetime, amount: int = 1) -> int:
        """Counts, and tells how much that makes in the present window."""

    def count_of(self, key: str, now: datetime) -> tuple[int, datetime]:
        """The count in the present window and the window's end."""

    def clear(self, key: str) -> None:
        """Forgets a count."""

    def clear_all(self, beginning: str) -> None:
        """Forgets all counts whose keys begin so."""


@dataclass(frozen=True, slots=True)
class SignInRecords:
    """All of them."""

    users: UserRecords
    sessions: SessionRecords
    tokens: TokenRecords
    terms: TermsRecords
    tickets: Tickets
    counters: Counters
