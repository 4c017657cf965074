"""Keys of the embedded vault, and how they seal: which one did stands in front of each ciphertext."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hpcwaas.common.durable import read_or_create_secret, replace_secret
from hpcwaas.errors import ConfigurationError
from hpcwaas.vault.settings import VaultSettings

_LOGGER = logging.getLogger(__name__)
_KEY_BYTES = 32
_NONCE_BYTES = 12
_MARK = b"hwv1"
"""Begins a ciphertext that names its key. Earlier ones begin with their nonce."""
_ID_BYTES = 8
_HEAD = len(_MARK) + _ID_BYTES
_SETTING = "vault.key"


class WrongKey(Exception):
    """None of the keys opens a ciphertext, or it is damaged."""


class Keyring:
    """AES-256-GCM with several keys. Each record is bound to its id, so that none can be put in another's place.

    Args:
        keys: 32 bytes each. The first seals, all of them open.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_id_of(key): AESGCM(key) for key in keys}
        self._first = _id_of(keys[0])

    @property
    def ids(self) -> Sequence[str]:
        """What the keys are called; nothing of a key can be told from it. The first is of the one that seals."""
        return [each.hex() for each in self._ciphers]

    def seal(self, record_id: str, content: bytes) -> bytes:
        """The ciphertext of a record."""
        head, nonce = _MARK + self._first, os.urandom(_NONCE_BYTES)
        return head + nonce + self._ciphers[self._first].encrypt(nonce, content, head + record_id.encode())

    def open(self, record_id: str, sealed: bytes) -> bytes:
        """What was sealed.

        Raises:
            WrongKey: by none of the keys, or not under this id.
        """
        head, rest = sealed[:_HEAD], sealed[_HEAD:]
        cipher = self._ciphers.get(head[len(_MARK) :]) if head.startswith(_MARK) else None
        if cipher is not None and (content := _opened(cipher, rest, head + record_id.encode())) is not None:
            return content
        for each in self._ciphers.values():
            if (content := _opened(each, sealed, record_id.encode())) is not None:
                return content
        raise WrongKey

    @staticmethod
    def sealed_by(sealed: bytes) -> str | None:
        """What the key is called that has sealed it; None for a record of an early version, which doesn't say."""
        return sealed[len(_MARK) : _HEAD].hex() if sealed.startswith(_MARK) and len(sealed) > _HEAD else None

    def is_newest(self, sealed: bytes) -> bool:
        """Whether the first key has sealed it."""
        return sealed.startswith(_MARK + self._first)


def load_keys(settings: VaultSettings, path: Path) -> Keyring:
    """The keys: from the settings, else from the file, which is made on first use.

    Args:
        path: of a file that only this account can read, a key a line.

    Raises:
        ConfigurationError: none of them gives a usable key.
    """
    previous = [secret.get_secret_value() for secret in settings.previous_keys]
    if settings.key is not None:
        keys = [_decoded(settings.key.get_secret_value(), _SETTING)]
    else:
        lines = read_or_create_secret(path, _new_key, _SETTING).splitlines() or [""]
        keys = [_decoded(line, _SETTING, f" in {path}") for line in lines]
    return Keyring([*keys, *(_decoded(text, "vault.previous_keys") for text in previous)])


class KeySource:
    """The keys as they are now: a new one in the file counts at once, in all processes, without a restart.

    Args:
        path: see `load_keys`, which is called now.
    """

    def __init__(self, settings: VaultSettings, path: Path) -> None:
        self._settings, self._path = settings, path
        self._keys, self._stamp = load_keys(settings, path), self._now()

    def __call__(self) -> Keyring:
        """The keys. When the file is gone or broken, the log tells, and the last good ones stay."""
        stamp = self._now()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                # Loading makes a file where there is none; this one has to come back.
                problem = None if stamp is not None else f"{self._path} is gone: bring it back before the next start"
                self._keys = load_keys(self._settings, self._path) if stamp is not None else self._keys
            except ConfigurationError as error:
                problem = str(error)
            if problem:
                _LOGGER.warning("the embedded vault goes on with the keys that it has loaded: %s", problem)
        return self._keys

    def _now(self) -> tuple[int, int] | None:
        if self._settings.key is not None:
            return 0, 0
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns


def add_key(path: Path) -> Keyring:
    """Puts a new key before those in the file.

    Raises:
        ConfigurationError: the file can't be used.
    """
    lines = read_or_create_secret(path, _new_key, _SETTING).splitlines()
    lines.insert(0, _new_key())
    keyring = Keyring([_decoded(line, _SETTING, f" in {path}") for line in lines])
    replace_secret(path, "\n".join(lines), _SETTING)
    return keyring


def _opened(cipher: AESGCM, sealed: bytes, bound: bytes) -> bytes | None:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):  # ValueError: cut short
        return None


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"hpcwaas vault key " + key).digest()[:_ID_BYTES]


def _decoded(text: str, setting: str, where: str = "") -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):  # never chained or quoted: it holds the key
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            setting, f"expected {_KEY_BYTES} bytes in base64{where}, as `openssl rand -base64 {_KEY_BYTES}` prints them"
        )
    return key


def _new_key() -> str:
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()
