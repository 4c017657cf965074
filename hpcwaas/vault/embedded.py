"""The vault that needs no server: private keys encrypted at rest in the service's own store."""

from __future__ import annotations

import base64
import binascii
import json
import os
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hpcwaas.core.models import Check, SSHKey
from hpcwaas.durable import read_or_create_secret
from hpcwaas.errors import ConfigurationError, Conflict, Unavailable

_KEY_BYTES = 32
_NONCE_BYTES = 12
_PROBE = "*probe*"
"""Id of a record that shows at the start whether the key is the one that sealed the others. No key has such an id."""
_SETTING = "vault.key"


class Secrets(Protocol):
    """Where the ciphertexts rest. Every method may raise `Unavailable`."""

    def add(self, key_id: str, ciphertext: bytes) -> None:
        """Stores a new one; `Conflict` when the id is taken."""

    def get(self, key_id: str) -> bytes | None:
        """The one stored under this id, if any."""

    def replace(self, key_id: str, ciphertext: bytes) -> None:
        """Stores another in place of one; `NotFound` when there is none."""

    def delete(self, key_id: str) -> None:
        """Removes one; harmless when there is none."""

    def unowned(self, before: datetime) -> Sequence[str]:
        """Ids of those from before this moment that belong to no key."""


def load_key(setting: str | None, path: Path) -> bytes:
    """The encryption key: from the setting, else from the file, which is made on first use.

    Args:
        setting: 32 bytes in base64.
        path: of a file that only this account can read.

    Raises:
        ConfigurationError: neither gives a usable key.
    """
    text = setting if setting is not None else read_or_create_secret(path, _new_key, _SETTING)
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):  # never chained or quoted: it holds the key
        key = b""
    if len(key) != _KEY_BYTES:
        where = "" if setting is not None else f" in {path}"
        raise ConfigurationError(
            _SETTING,
            f"expected {_KEY_BYTES} bytes in base64{where}, as `openssl rand -base64 {_KEY_BYTES}` prints them",
        )
    return key


def _new_key() -> str:
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


class EmbeddedVault:
    """Seals key pairs with AES-256-GCM, each bound to its id so that records can't be exchanged.

    Args:
        secrets: where the ciphertexts rest.
        key: 32 bytes.

    Raises:
        ConfigurationError: what is stored was sealed with another key.
        Unavailable: the store can't be used.
    """

    name = "embedded"

    def __init__(self, secrets: Secrets, key: bytes) -> None:
        self._secrets = secrets
        self._cipher = AESGCM(key)
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
            problems = (str(error),)
        return Check("vault", "failed" if problems else "ok", time.perf_counter() - started, problems)

    def close(self) -> None:
        """Nothing to release."""

    def _probe(self) -> None:
        sealed = self._secrets.get(_PROBE)
        if sealed is None:
            try:
                self._secrets.add(_PROBE, self._seal(_PROBE, b""))
            except Conflict:  # another process was faster, maybe with another key
                self._probe()
            return
        try:
            self._open(_PROBE, sealed)
        except (InvalidTag, ValueError) as error:  # ValueError: cut short
            raise ConfigurationError(
                _SETTING, "this isn't the key that the stored private keys were encrypted with: bring that one back"
            ) from error

    def _record(self, key: SSHKey, private_key: str) -> bytes:
        record = {**key.metadata, "privateKey": private_key, "publicKey": key.public_key}
        return self._seal(key.id, json.dumps(record).encode())

    def _seal(self, key_id: str, content: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, key_id.encode())

    def _open(self, key_id: str, sealed: bytes) -> bytes:
        return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], key_id.encode())
