"""The Protocols that the use cases need of the store. Every method may raise `Unavailable`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from hpcwaas.core.endings import Closing, Part
from hpcwaas.core.models import JSON, Execution, ExecutionFilter, ExecutionState, SSHKey, Upload
from hpcwaas.core.people import Principal, Shares
from hpcwaas.core.site_models import Account

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
        *,
        lasting: bool = True,
    ) -> tuple[Execution, bool]:
        """Stores the intent to start an execution, in one transaction with its idempotency key.

        Args:
            execution: without a reference yet.
            idempotency: the user's key and a fingerprint of the request.
            ssh_keys: ids of the owner's SSH keys that it uses.
            at_most: how many executions that haven't ended the owner may have with this one.
            room: how many bytes the owner may have stored with its inputs.
            lasting: whether a loss of power must not undo it; else it may until something else is stored.

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
        """Stores under which reference the engine knows the execution. A loss of power may undo it.

        Raises:
            NotFound: no such execution.
            Conflict: the engine's execution is another one's already.
        """

    def save_state(self, execution_id: str, state: ExecutionState) -> Execution:
        """Stores what the engine said, unless something later is stored already.

        Returns:
            the execution as it is stored now.

        Raises:
            NotFound: no such execution.
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

        Raises:
            NotFound: no such execution.
        """

    def watched(self, now: datetime) -> Sequence[Execution]:
        """Executions that were closed and whose engine may still say how they ended."""

    def find_execution(self, execution_id: str, owner: str | None, shared_with: Principal | None = None) -> Execution:
        """One execution: the owner's, or one that is shared with a user.

        Raises:
            NotFound: unknown, or another owner's.
        """

    def page(
        self, wanted: ExecutionFilter, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[Execution], str | None]:
        """Executions, newest first, without their inputs, outputs and steps, and the cursor of the next page if any.
        New ones that arrive in between shift nothing.

        Args:
            limit: at most so many, at least 1.

        Raises:
            BadRequest: a cursor that isn't one of ours.
        """

    def unfinished(
        self, owner: str | None = None, shared_with: Principal | None = None, at_most: int | None = None
    ) -> Sequence[Execution]:
        """Executions that aren't over as far as is stored, oldest first, without their inputs.

        Args:
            shared_with: only those that are shared with this user.
            at_most: the newest, so many; None for all.
        """

    def those(self, ids: Collection[str]) -> Sequence[Execution]:
        """Those with these ids, whoever's, without their inputs. What there is none of is left out."""

    def commits(self) -> int | None:
        """A number that is another one whenever anything was stored since the last time, by whatever process: nothing
        else changes what a look finds, but for time. None when only a look tells."""

    def of_suspended(self) -> Sequence[Execution]:
        """Executions of users who are suspended that aren't over as far as is stored, without their inputs."""

    def check_number(self, owner: str, at_most: int) -> None:
        """Finds out whether a user may have one more that isn't over. Raises `TooManyRequests` when they may not."""

    def check_room(self, owner: str, inputs: JSON, at_most: int) -> None:
        """Finds out whether an execution with these inputs would fit now. Raises `TooManyRequests` when it wouldn't."""

    def count_unfinished(self, owner: str) -> int:
        """How many executions of a user aren't over as far as is stored."""

    def without_reference(self, now: datetime) -> Sequence[Execution]:
        """Executions of which only the intent is stored and that nobody is at work on, oldest first."""

    def claim(self, execution_id: str, now: datetime, until: datetime) -> bool:
        """Takes such an execution on until a moment. False when somebody else was faster, or it is none any more."""

    def postpone(self, execution_id: str, until: datetime) -> None:
        """Lets such an execution that one has taken on be taken on by anybody from a moment on, later or sooner."""


class RemovalRecords(Protocol):
    """What is removed of executions that have ended."""

    def begin(self, execution_id: str, now: datetime) -> bool:
        """Notes that all of an ended execution is to be removed, and forgets its inputs, outputs, steps and shares at
        once. False when it hasn't ended, or that was noted before."""

    def take(self, now: datetime, until: datetime, limit: int) -> Sequence[Execution]:
        """Takes on some of those that are being removed, until a moment: nobody else does before."""

    def wait(self, execution_id: str, until: datetime, problem: str) -> None:
        """Lets one be taken on again from a moment, and notes what its removal waits for."""

    def finish(self, execution_id: str) -> bool:
        """Forgets one that is being removed. False when somebody else was faster."""

    def takers(self, execution_id: str) -> bool:
        """Whether executions that haven't begun take outputs of this one."""

    def expired(
        self, part: Part, before: datetime, now: datetime, limit: int, workflow_id: str | None = None
    ) -> Sequence[Execution]:
        """Some executions that ended before a moment and of which a part is still there, those that ended first.

        Args:
            workflow_id: those of a workflow only.
        """

    def put_off(self, execution_id: str, until: datetime) -> None:
        """Leaves one out of `expired` until a moment."""

    def parted(self, execution_id: str, part: Part, kept: int) -> bool:
        """Notes that a part is gone: of the outputs nothing stays. False when that was noted before.

        Args:
            kept: bytes that the engine still keeps of the execution.
        """

    def ended(self, owner: str, limit: int) -> Sequence[str]:
        """Ids of some ended executions of a user of which nobody has noted that they are to be removed."""

    def number(self, owner: str) -> int:
        """How many executions of a user there are."""


class LeaverRecords(Protocol):
    """Users of whom everything is to be removed."""

    def leaving(self) -> Sequence[str]:
        """Their subjects."""

    def forget(self, subject: str) -> bool:
        """Forgets one of them, with all that has no content elsewhere. False while executions, uploads or SSH keys of
        theirs are there, or when somebody else was faster."""


class UploadRecords(Protocol):
    """Records of uploads. `owner=None` means whoever's."""

    def add(self, upload: Upload, at_most: int | None = None) -> None:
        """Stores a new upload.

        Args:
            at_most: how many bytes all uploads of its owner may have with this one.

        Raises:
            Conflict: the id is taken.
            TooManyRequests: they would have more.
        """

    def check_room(self, owner: str, size: int, at_most: int) -> None:
        """Finds out whether an upload of a size would fit now. Raises `TooManyRequests` when it wouldn't."""

    def stored(self, owner: str) -> int:
        """Bytes that a user's uploads have together, and what is kept of their executions."""

    def find_upload(self, upload_id: str, owner: str | None) -> Upload:
        """One upload.

        Raises:
            NotFound: unknown, or another owner's.
        """

    def companions(self, upload_id: str, owner: str) -> Sequence[Upload]:
        """The uploads of a user that belong beside another one, oldest first."""

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

    def older(self, before: datetime, limit: int) -> Sequence[Upload]:
        """Some uploads that were made before a moment, without those that belong beside others."""

    def ids(self) -> Collection[str]:
        """Ids of all uploads, whoever's."""

    def page(self, owner: str | None, *, limit: int, cursor: str | None = None) -> tuple[Sequence[Upload], str | None]:
        """Uploads, newest first, and the cursor of the next page. Raises `BadRequest` for a cursor that isn't ours."""


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

    def find_key(self, key_id: str, owner: str | None) -> SSHKey:
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
            even_in_use: also while executions that use it haven't ended, or accounts need it.

        Raises:
            NotFound: unknown, or another owner's.
            Conflict: it is being changed.
            KeyInUse: by executions that haven't ended, or by accounts on sites.
        """

    def leave(self, key_id: str, since: datetime | None) -> None:
        """Ends a change that came to nothing.

        Args:
            since: None when nothing was changed for certain; else a moment long ago, so that it is taken up again.
        """

    def rotated(self, key_id: str, key: SSHKey, begun: datetime) -> bool:
        """Stores the new public half and ends the change that was begun at this moment.

        Returns:
            False when that change isn't the present one any more; nothing is stored then.
        """

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


class AccountRecords(Protocol):
    """Users' accounts on sites; each has one at most on each."""

    def of(self, owner: str) -> Sequence[Account]:
        """All accounts of a user, by site."""

    def put(self, account: Account) -> tuple[Account, bool]:
        """Stores an account in place of the one that its owner has on this site, if any.

        What a check has found counts no more, unless nothing changes.

        Returns:
            the account as it is stored, and whether it is new.

        Raises:
            NotFound: its owner has no such key.
        """

    def delete(self, owner: str, site: str) -> None:
        """Forgets an account. Raises `NotFound` when there is none."""

    def checked(self, account: Account, now: datetime, usable: bool) -> None:
        """Stores what a check has found of an account, unless it has become another one meanwhile."""


class ShareRecords(Protocol):
    """With whom executions are shared."""

    def shares_of(self, execution_id: str) -> Shares:
        """With whom an execution is shared."""

    def put(self, execution_id: str, shares: Shares) -> None:
        """Shares an execution with these and nobody else. Raises `NotFound` when there is no such execution."""


class ListingRecords(Protocol):
    """What an engine last listed."""

    def last_listing(self, name: str) -> tuple[JSON, datetime] | None:
        """A list, and when it was read."""

    def put(self, name: str, content: JSON, read_at: datetime) -> None:
        """Keeps a list in place of an older one."""


class StartRecords(Protocol):
    """What was asked of an engine that keeps no id of ours."""

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
