"""The Protocols that the use cases need of the store. Every method may raise `Unavailable`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from hpcwaas.core.models import Execution, ExecutionState, SSHKey, Status, Upload


class ExecutionRecords(Protocol):
    """Records of executions. `owner=None` means whoever's."""

    def add(
        self, execution: Execution, idempotency: tuple[str, str] | None = None, ssh_keys: Collection[str] = ()
    ) -> tuple[Execution, bool]:
        """Stores the intent to start an execution, in one transaction with its idempotency key.

        Args:
            execution: without a reference yet.
            idempotency: the user's key and a fingerprint of the request.
            ssh_keys: ids of the owner's SSH keys that it uses.

        Returns:
            the stored execution and whether it is new; the earlier one when its owner has used the key before.

        Raises:
            Conflict: the key was used with another fingerprint.
            NotFound: one of the SSH keys has been deleted.
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
        """

    def save_state(self, execution_id: str, state: ExecutionState) -> Execution:
        """Stores what the engine said, unless something later is stored already.

        Returns:
            the execution as it is stored now.
        """

    def reopen(self, execution_id: str) -> None:
        """Takes a failed execution for a running one again: it has been resumed."""

    def get(self, execution_id: str, owner: str | None) -> Execution:
        """One execution.

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
    ) -> tuple[Sequence[Execution], str | None]:
        """Executions, newest first, without their inputs, outputs and steps, and the cursor of the next page if any."""

    def unfinished(self, owner: str | None = None) -> Sequence[Execution]:
        """Executions that aren't over as far as is stored, oldest first, without their inputs."""

    def without_reference(self, older_than: datetime) -> Sequence[Execution]:
        """Executions from before this moment of which only the intent is stored, oldest first."""


class UploadRecords(Protocol):
    """Records of uploads."""

    def add(self, upload: Upload) -> None:
        """Stores a new upload."""

    def get(self, upload_id: str, owner: str) -> Upload:
        """One upload.

        Raises:
            NotFound: unknown, or another owner's.
        """

    def delete(self, upload_id: str, owner: str) -> None:
        """Forgets an upload.

        Raises:
            NotFound: unknown, or another owner's.
        """

    def ids(self) -> Collection[str]:
        """Ids of all uploads, whoever's."""

    def page(self, owner: str, *, limit: int, cursor: str | None = None) -> tuple[Sequence[Upload], str | None]:
        """Uploads, newest first, and the cursor of the next page when there is one."""


class SSHKeyRecords(Protocol):
    """Records of key pairs: everything but the private half."""

    def add(self, key: SSHKey) -> None:
        """Stores a new key.

        Raises:
            Conflict: its owner has a key of this name.
        """

    def has_name(self, owner: str, name: str) -> bool:
        """Whether the user has a key of this name."""

    def of(self, owner: str) -> Sequence[SSHKey]:
        """All keys of a user, oldest first."""

    def get(self, key_id: str, owner: str) -> SSHKey:
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
