"""Key pairs of users."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from hpcwaas.core.models import Principal, SSHKey
from hpcwaas.store.base import SSHKeyRecords
from hpcwaas.vault.base import Vault

RESERVED = ("privateKey", "publicKey")
"""Words that the vault's records use themselves; as metadata they are ignored."""


class KeyPair(Protocol):
    """A new key pair, as key generation hands it over."""

    @property
    def private_key(self) -> str: ...  # noqa: D102
    @property
    def public_key(self) -> str: ...  # noqa: D102
    @property
    def type(self) -> str: ...  # noqa: D102
    @property
    def bits(self) -> int | None: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102


class Keys:
    """Makes, lists and destroys key pairs.

    Args:
        generate: makes a key pair of a type, size (None: the usual one) and comment.
    """

    def __init__(
        self, records: SSHKeyRecords, vault: Vault, generate: Callable[[str, int | None, str], KeyPair]
    ) -> None:
        self._records = records
        self._vault = vault
        self._generate = generate

    def create(
        self, principal: Principal, key_type: str, bits: int | None, name: str | None, metadata: Mapping[str, str]
    ) -> SSHKey:
        """Makes a key pair; the private half goes into the vault and nowhere else.

        Raises:
            BadRequest: no such type or size.
            Conflict: the user has a key of this name.
        """
        pair = self._generate(key_type, bits, name or principal.subject)
        key = SSHKey(
            id=str(uuid.uuid4()),
            owner=principal.subject,
            name=name,
            type=pair.type,
            bits=pair.bits,
            public_key=pair.public_key,
            fingerprint=pair.fingerprint,
            metadata={word: text for word, text in metadata.items() if word not in RESERVED},
            created_at=datetime.now(UTC),
        )
        self._vault.write(key.id, pair.private_key, key.public_key, key.metadata)
        try:
            self._records.add(key)
        except Exception:  # whatever it was, the private half must not stay behind without an owner
            self._vault.delete(key.id)
            raise
        return key

    def list(self, principal: Principal) -> Sequence[SSHKey]:
        """The user's keys, newest first."""
        return list(reversed(self._records.of(principal.subject)))

    def get(self, principal: Principal, key_id: str) -> SSHKey:
        """One key.

        Raises:
            NotFound: unknown, or somebody else's.
        """
        return self._records.get(key_id, principal.subject)

    def delete(self, principal: Principal, key_id: str) -> None:
        """Destroys both halves of a key. If the vault fails, the key stays listed and can be deleted again.

        Raises:
            NotFound: unknown, or somebody else's.
        """
        self._records.get(key_id, principal.subject)
        self._vault.delete(key_id)
        self._records.delete(key_id, principal.subject)
