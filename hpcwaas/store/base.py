"""The Protocols that the use cases need of the store. Every method may raise `Unavailable`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from hpcwaas.core.endings import Closing
from hpcwaas.core.models import JSON, Execution, ExecutionState, Principal, Shares, SSHKey, Status, Upload
from hpcwaas.core.people import AccessToken, User, UserSession

CLAIM = timedelta(seconds=15)
"""How long an execution without a reference is left to whoever starts it, unless they renew that."""


class ExecutionRecords(Protocol):
    """Records of executions. `owner=None` means whoever's."""

    def add(
        self,
        execution: Execution,
        idempotency: tuple[str, str] | None = None,
        ssh_keys: Collection[str] = (),
        at_most: int | None = None,
        room: int | None = None,
    ) -> tuple[Execution, bool]:
        """Stores the intent to start an execution, in one transaction with its idempotency key.

        Args:
            execution: without a reference yet.
            idempotency: the user's key and a fingerprint of the request.
            ssh_keys: ids of the owner's SSH keys that it uses.
            at_most: how many executions that haven't ended the owner may have with this one.
            room: how many bytes the owner may have stored with its inputs.

        Returns:
            the stored execution and whether it is new; the earlier one when its owner has used the key before.

        Raises:
            Conflict: the key was used with another fingerprint.
            NotFound: one of the SSH keys has been deleted.
            TooManyRequests: the owner has as many, or as much, as they may, and didn't start this one before.
        """

    def of_key(self, owner: str, key: str, fingerprint: str, now: datetime) -> Execution | None:
        """The execution that its owner started with an idempotency key that counts at this moment, if any.

        Raises:
            Conflict: the key was used with another fingerprint.
        """

    def discard(self, execution_id: str) -> None:
        """Forgets an intent that never reached the engine, with its idempotency key. One that has a reference stays."""

    def set_reference(self, execution_id: str, reference: str) -> None:
        """Stores under which reference the engine knows the execution.

        Raises:
            NotFound: no such execution.
            Conflict: the engine's execution is another one's already.
        """

    def save_state(self, execution_id: str, state: ExecutionState) -> Execution:
        """Stores what the engine said, unless something later is stored already.

        Returns:
            the execution as it is stored now.
        """

    def reopen(self, execution_id: str) -> None:
        """Takes a failed execution for a running one again: it has been resumed. How the attempt ended is kept."""

    def close(self, execution_id: str, closing: Closing, reason: str, watched_until: datetime) -> Execution:
        """Takes an execution that hasn't ended for CANCELLED, whatever its engine says.

        Args:
            reason: of the state.
            watched_until: until then, `save_state` takes how it really ended.

        Returns:
            the execution as it is stored now; as before, when it has ended meanwhile.
        """

    def watched(self, now: datetime) -> Sequence[Execution]:
        """Executions that were closed and whose engine may still say how they ended."""

    def get(self, execution_id: str, owner: str | None, shared_with: Principal | None = None) -> Execution:
        """One execution: the owner's, or one that is shared with a user.

        Raises:
            NotFound: unknown, or another owner's.
        """

    def page(
        self,
        owner: str | None,
        *,
        limit: int,
        cursor: str | None = None,
        workflow_id: str | None = None,
        statuses: Collection[Status] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        shared_with: Principal | None = None,
    ) -> tuple[Sequence[Execution], str | None]:
        """Executions, newest first, without their inputs, outputs and steps, and the cursor of the next page if any.

        Args:
            shared_with: only those that others share with this user.
        """

    def unfinished(self, owner: str | None = None, shared_with: Principal | None = None) -> Sequence[Execution]:
        """Executions that aren't over as far as is stored, oldest first, without their inputs.

        Args:
            shared_with: only those that are shared with this user.
        """

    def of_suspended(self) -> Sequence[Execution]:
        """Executions of users who are suspended that aren't over as far as is stored, without their inputs."""

    def check_number(self, owner: str, at_most: int) -> None:
        """Finds out whether a user may have one more that isn't over. Raises `TooManyRequests` when they may not."""

    def count_unfinished(self, owner: str) -> int:
        """How many executions of a user aren't over as far as is stored."""

    def without_reference(self, now: datetime) -> Sequence[Execution]:
        """Executions of which only the intent is stored and that nobody is at work on, oldest first."""

    def claim(self, execution_id: str, now: datetime, until: datetime) -> bool:
        """Takes such an execution on until a moment. False when somebody else was faster, or it is none any more."""

    def postpone(self, execution_id: str, until: datetime) -> None:
        """Lets such an execution that one has taken on be taken on by anybody from a moment on, later or sooner."""


class UploadRecords(Protocol):
    """Records of uploads. `owner=None` means whoever's."""

    def add(self, upload: Upload, at_most: int | None = None) -> None:
        """Stores a new upload.

        Args:
            at_most: how many bytes all uploads of its owner may have with this one.

        Raises:
            TooManyRequests: they would have more.
        """

    def check_room(self, owner: str, size: int, at_most: int) -> None:
        """Finds out whether an upload of a size would fit now. Raises `TooManyRequests` when it wouldn't."""

    def stored(self, owner: str) -> int:
        """Bytes that a user's uploads have together, and what is kept of their executions."""

    def get(self, upload_id: str, owner: str | None) -> Upload:
        """One upload.

        Raises:
            NotFound: unknown, or another owner's.
        """

    def delete(self, upload_id: str, owner: str, *, held: bool = False) -> None:
        """Forgets an upload.

        Args:
            held: something still holds its content: nobody finds it any more, but it counts until its `release`.

        Raises:
            NotFound: unknown, or another owner's.
        """

    def held(self) -> Collection[str]:
        """Ids of uploads that were deleted while something held their content."""

    def release(self, upload_id: str) -> None:
        """Forgets one of these."""

    def ids(self) -> Collection[str]:
        """Ids of all uploads, whoever's."""

    def page(self, owner: str | None, *, limit: int, cursor: str | None = None) -> tuple[Sequence[Upload], str | None]:
        """Uploads, newest first, and the cursor of the next page when there is one."""


class SSHKeyRecords(Protocol):
    """Records of key pairs: everything but the private half. `owner=None` means whoever's."""

    def add(self, key: SSHKey) -> None:
        """Stores a new key.

        Raises:
            Conflict: its owner has a key of this name.
        """

    def has_name(self, owner: str, name: str) -> bool:
        """Whether the user has a key of this name."""

    def of(self, owner: str | None) -> Sequence[SSHKey]:
        """All keys of a user, oldest first."""

    def get(self, key_id: str, owner: str | None) -> SSHKey:
        """One key.

        Raises:
            NotFound: unknown, or another owner's.
        """

    def begin(
        self, change: str, key_id: str, owner: str, now: datetime, stale: datetime, *, even_in_use: bool = True
    ) -> SSHKey:
        """Takes a key for a change, so that nobody else changes it meanwhile and a crash is noticed.

        Args:
            change: `rotate` or `delete`.
            stale: a change that was begun before this moment counts as left behind.
            even_in_use: also while executions that use it haven't ended.

        Raises:
            NotFound: unknown, or another owner's.
            Conflict: it is being changed.
            KeyInUse: by executions that haven't ended.
        """

    def leave(self, key_id: str, since: datetime | None) -> None:
        """Ends a change that came to nothing.

        Args:
            since: None when nothing was changed for certain; else a moment long ago, so that it is taken up again.
        """

    def rotated(self, key_id: str, key: SSHKey) -> None:
        """Stores the new public half and ends the change."""

    def confirm(self, key_id: str, owner: str) -> SSHKey:
        """Forgets the replaced public halves.

        Raises:
            NotFound: unknown, or another owner's.
        """

    def left(self, before: datetime) -> Sequence[tuple[str, SSHKey]]:
        """Changes that were begun before this moment and have not ended."""

    def delete(self, key_id: str, owner: str) -> None:
        """Forgets a key.

        Raises:
            NotFound: unknown, or another owner's.
        """


class UserRecords(Protocol):
    """Records of users; see `store.users`."""

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

    def change(self, subject: str, **columns: Any) -> None:
        """Changes `name`, `groups`, `password_hash`, `disabled`, `signed_out_at`, `entitled_by`. Raises `NotFound`."""

    def rehash(self, subject: str, old: str, new: str) -> None:
        """Replaces the hash of a password by another of the same one, unless it has been changed meanwhile."""

    def find(self, subject: str) -> User | None:
        """One user."""

    def all(self) -> Sequence[User]:
        """All users, by subject."""


class SessionRecords(Protocol):
    """Records of sign-ins that go on; see `store.sessions`."""

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
    """Records of personal access tokens; see `store.tokens`. An `owner` of None means whoever's."""

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
    """Who accepted which terms of use; see `store.terms`."""

    def accept(self, subject: str, version: str, now: datetime) -> None:
        """Records that a user accepted a version; the first time counts."""

    def accepted_at(self, subject: str, version: str) -> datetime | None:
        """When a user accepted a version; None when they haven't."""


class Tickets(Protocol):
    """What counts once and for minutes; see `store.tickets`."""

    def put(self, kind: str, key: str, content: Mapping[str, JSON], expires_at: datetime) -> None:
        """Stores a new ticket. Raises `Conflict` when there is one under this key."""

    def get(self, kind: str, key: str, now: datetime) -> Mapping[str, JSON] | None:
        """What a ticket says that counts."""

    def take(self, kind: str, key: str, now: datetime) -> Mapping[str, JSON] | None:
        """As `get`, for one of all who ask."""

    def change(self, kind: str, key: str, content: Mapping[str, JSON], now: datetime) -> bool:
        """Lets a ticket say something else. False when it doesn't count any more."""


class Counters(Protocol):
    """Counts in windows of time; see `store.counters`."""

    def add(self, key: str, window: timedelta, now: datetime, amount: int = 1) -> int:
        """Counts, and tells how much that makes in the present window."""

    def get(self, key: str, now: datetime) -> tuple[int, datetime]:
        """The count in the present window and the window's end."""

    def clear(self, key: str) -> None:
        """Forgets a count."""

    def clear_all(self, beginning: str) -> None:
        """Forgets all counts whose keys begin so."""


class ShareRecords(Protocol):
    """With whom executions are shared; see `store.shares`."""

    def get(self, execution_id: str) -> Shares:
        """With whom an execution is shared."""

    def put(self, execution_id: str, shares: Shares) -> None:
        """Shares an execution with these and nobody else. Raises `NotFound` when there is no such execution."""


class ListingRecords(Protocol):
    """What an engine last listed; see `store.listings`."""

    def get(self, name: str) -> tuple[JSON, datetime] | None:
        """A list, and when it was read."""

    def put(self, name: str, content: JSON, read_at: datetime) -> None:
        """Keeps a list in place of an older one."""


class StartRecords(Protocol):
    """What was asked of an engine that keeps no id of ours; see `store.starts`."""

    def begin(self, execution_id: str, place: str, now: datetime) -> tuple[datetime, str | None] | None:
        """Notes that a start is about to be asked for. When it was before: since when, and what came of it."""

    def end(self, execution_id: str, reference: str) -> bool:
        """Notes what came of a start. False when it is what came of another one."""

    def drop(self, execution_id: str) -> None:
        """Notes that nothing was started."""

    def known(self, references: Collection[str]) -> Collection[str]:
        """Which of these came of a start."""

    def open(self, place: str, since: datetime, until: datetime) -> int:
        """How many starts at a place were asked for in a time and have no known outcome."""
