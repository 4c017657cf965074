"""The Protocols that the use cases need of the store. Every method may raise `Unavailable`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from hpcwaas.core.models import Execution, ExecutionState, SSHKey, Status, Upload


class ExecutionRecords(Protocol):
    """Records of executions. `owner=None` means whoever's."""

    def add(self, execution: Execution, idempotency: tuple[str, str] | None = None) -> tuple[Execution, bool]:
        """Stores the intent to start an execution, in one transaction with its idempotency key.

        Args:
            execution: without a reference yet.
            idempotency: the user's key and a fingerprint of the request.

        Returns:
            the stored execution and whether it is new; the earlier one when its owner has used the key before.

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
        """Executions, newest first, and the cursor of the next page when there is one."""

    def unfinished(self, owner: str | None = None) -> Sequence[Execution]:
        """Executions that aren't over as far as is stored, oldest first."""

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

    def of(self, owner: str) -> Sequence[SSHKey]:
        """All keys of a user, oldest first."""

    def get(self, key_id: str, owner: str) -> SSHKey:
        """One key.

        Raises:
            NotFound: unknown, or another owner's.
        """

    def delete(self, key_id: str, owner: str) -> None:
        """Forgets a key.

        Raises:
            NotFound: unknown, or another owner's.
        """
