"""The Protocol that every vault obeys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hpcwaas.core.models import Check


class Vault(Protocol):
    """Keeps private keys. Nothing in it gives one back to the service's API.

    Besides what is named below, every method may raise `Unavailable`, `UpstreamFailed` or `UpstreamTimeout`.
    """

    name: str

    def write(self, key_id: str, private_key: str, public_key: str, metadata: Mapping[str, str]) -> None:
        """Stores a new key pair under a fresh id.

        Raises:
            Conflict: the id is taken already; nothing was changed.
        """

    def delete(self, key_id: str) -> None:
        """Destroys a key pair with all its versions. Harmless when there is none."""

    def check(self) -> Check:
        """State of the vault."""

    def close(self) -> None:
        """Releases what this process holds."""
