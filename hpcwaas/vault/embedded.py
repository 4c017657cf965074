"""The vault that needs no server: private keys encrypted at rest in the service's own store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hpcwaas.core.models import Check, SSHKey
from hpcwaas.errors import ConfigurationError, Conflict, NotFound, Unavailable
from hpcwaas.vault.keyring import Keyring, WrongKey

_PROBE = "*probe*"
"""Id of a record that shows at the start whether the key is one that sealed the others. No key has such an id."""
_AT_ONCE = 100


class Secrets(Protocol):
    """Where the ciphertexts rest. Every method may raise `Unavailable`."""

    def add(self, key_id: str, ciphertext: bytes) -> None:
        """Stores a new one; `Conflict` when the id is taken."""

    def get(self, key_id: str) -> bytes | None:
        """The one stored under this id, if any."""

    def replace(self, key_id: str, ciphertext: bytes) -> None:
        """Stores another in place of one; `NotFound` when there is none."""

    def exchange(self, key_id: str, old: bytes, new: bytes) -> bool:
        """Stores another in place of just this one; False when it isn't there any more."""

    def after(self, key_id: str, most: int) -> Sequence[tuple[str, bytes]]:
        """The next ids behind this one in their order, with the ciphertexts."""

    def delete(self, key_id: str) -> None:
        """Removes one; harmless when there is none."""

    def unowned(self, before: datetime) -> Sequence[str]:
        """Ids of those from before this moment that belong to no key."""


@dataclass(slots=True)
class Resealed:
    """What became of the records.

    Attributes:
        anew: how many were sealed by the first key now.
        already: how many were before.
        unreadable: ids of those that none of the keys opens.
    """

    anew: int = 0
    already: int = 0
    unreadable: tuple[str, ...] = ()


class EmbeddedVault:
    """Seals key pairs, each bound to its id so that records can't be exchanged.

    Args:
        secrets: where the ciphertexts rest.
        keys: gives the keys as they are now.

    Raises:
        ConfigurationError: what is stored was sealed with another key.
        Unavailable: the store can't be used.
    """

    name = "embedded"

    def __init__(self, secrets: Secrets, keys: Callable[[], Keyring]) -> None:
        self._secrets = secrets
        self._keys = keys
        self._probe()

    def start(self) -> None:
        """Nothing to begin."""

    def write(self, key: SSHKey, private_key: str) -> None:
        """Stores a new key pair; see `Vault`."""
        self._secrets.add(key.id, self._record(key, private_key))

    def replace(self, key: SSHKey, private_key: str) -> None:
        """Stores another key pair; see `Vault`. No history is kept."""
        self._secrets.replace(key.id, self._record(key, private_key))

    def delete(self, key_id: str) -> None:
        """Destroys a key pair; see `Vault`."""
        self._secrets.delete(key_id)

    def private_key(self, key_id: str) -> str:
        """Opens a private key. For what signs in to sites, and for nothing else: no part of `Vault`, so that the
        service's API can't reach it.

        Raises:
            NotFound: there is none.
            Unavailable: it can't be opened.
        """
        sealed = self._secrets.get(key_id)
        if sealed is None or key_id == _PROBE:
            raise NotFound("The vault has no such key any more.")
        try:
            record = json.loads(self._keys().open(key_id, sealed))
        except WrongKey:
            raise Unavailable(
                "The vault can't open the SSH key: its own key isn't the one. Tell an operator."
            ) from None
        return str(record["privateKey"])

    def unowned(self, before: datetime) -> Sequence[str]:
        """What a crash left behind; see `Vault`."""
        return [key_id for key_id in self._secrets.unowned(before) if key_id != _PROBE]

    def check(self) -> Check:
        """State of the vault: its store answers and the key still opens what is there."""
        started = time.perf_counter()
        problems: tuple[str, ...] = ()
        try:
            self._probe()
        except Unavailable as error:
            problems = (error.detail,)
        except ConfigurationError as error:
            problems = (f"{error}; or restart this process, if the key was changed meanwhile",)
        return Check("vault", "failed" if problems else "ok", time.perf_counter() - started, problems)

    def reseal(self) -> Resealed:
        """Has everything sealed by the first key. May be stopped and done again, while services use the vault.

        One that is made meanwhile may be left out.
        """
        done, last = Resealed(), ""
        while found := self._secrets.after(last, _AT_ONCE):
            for key_id, sealed in found:
                if key_id != _PROBE:
                    self._reseal(key_id, sealed, done)
            last = found[-1][0]
        if not done.unreadable:
            # The last one: until all is done, a start without the older keys is refused.
            self._reseal(_PROBE, self._secrets.get(_PROBE), Resealed())
        return done

    def _reseal(self, key_id: str, sealed: bytes | None, done: Resealed) -> None:
        while sealed is not None and not self._keys().is_newest(sealed):
            try:
                content = self._keys().open(key_id, sealed)
            except WrongKey:
                done.unreadable = (*done.unreadable, key_id)
                return
            if self._secrets.exchange(key_id, sealed, self._keys().seal(key_id, content)):
                done.anew += 1
                return
            sealed = self._secrets.get(key_id)  # rotated or deleted meanwhile
        done.already += sealed is not None

    def close(self) -> None:
        """Nothing to release."""

    def _probe(self) -> None:
        sealed = self._secrets.get(_PROBE)
        if sealed is None:
            try:
                self._secrets.add(_PROBE, self._keys().seal(_PROBE, b""))
            except Conflict:  # another process was faster, maybe with another key
                self._probe()
            return
        try:
            self._keys().open(_PROBE, sealed)
        except WrongKey:
            keys = self._keys()
            name, present = keys.sealed_by(sealed), ", ".join(keys.ids)
            raise ConfigurationError(
                "vault.key",
                "this isn't the key that the stored private keys were encrypted with: bring that one back"
                + (f" (that is key {name}; here is {present})" if name else ""),
            ) from None

    def _record(self, key: SSHKey, private_key: str) -> bytes:
        record = {**key.metadata, "privateKey": private_key, "publicKey": key.public_key}
        return self._keys().seal(key.id, json.dumps(record).encode())
