"""The Protocol that every vault obeys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from hpcwaas.core.models import Check, SSHKey
from hpcwaas.errors import Unavailable


class NotDone(Unavailable):
    """The vault can't be used, and has certainly changed nothing. After any other failure it may have."""


class Vault(Protocol):
    """Keeps private keys. Nothing in it gives one back to the service's API.

    Besides what is named below, every method may raise `NotDone`, `Unavailable`, `UpstreamFailed` or `UpstreamTimeout`.
    """

    name: str

    def start(self) -> None:
        """Begins what it does in the background, in the process that will use it."""

    def write(self, key: SSHKey, private_key: str) -> None:
        """Stores a new key pair under its fresh id. Until the key is recorded, `unowned` tells of it.

        Raises:
            Conflict: the id is taken already; nothing was changed.
        """

    def replace(self, key: SSHKey, private_key: str) -> None:
        """Stores another key pair under an id that is there.

        Raises:
            NotFound: it isn't there.
        """

    def delete(self, key_id: str) -> None:
        """Destroys a key pair with all its versions. Harmless when there is none."""

    def unowned(self, before: datetime) -> Sequence[str]:
        """Ids that were written, or were about to be, before this moment and belong to no recorded key."""

    def check(self) -> Check:
        """State of the vault."""

    def close(self) -> None:
        """Releases what this process holds."""
