"""The types of SSH keys that there are, and how a key pair of each is made.

The contract names them as well, and so does the option `--type` of the command.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hpcwaas.errors import BadRequest


@dataclass(frozen=True, slots=True)
class KeyType:
    """A type of keys.

    Attributes:
        sizes: the accepted `bits`, the default first; empty when there is one size only.
        make: makes a private key of a size, as PEM; without sizes it is given 0.
        load: reads it.
    """

    sizes: tuple[int, ...]
    make: Callable[[int], str]
    load: type[paramiko.PKey]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new SSH key pair.

    Attributes:
        private_key: PEM; on its way to the vault and nowhere else, so it isn't shown by `repr`.
        public_key: the OpenSSH line, ending with a newline.
        bits: None when keys of the type have one size only.
        fingerprint: `SHA256:…` as `ssh-keygen -l` prints it.
    """

    private_key: str = field(repr=False)
    public_key: str
    type: str
    bits: int | None
    fingerprint: str


def generate(type: str, bits: int | None, comment: str) -> KeyPair:  # noqa: A002 # the contract's word
    """Makes a key pair.

    Args:
        type: one of `KEY_TYPES`.
        bits: one of the type's sizes; None for its default.
        comment: stands at the end of the public line. One line of text.

    Raises:
        BadRequest: such a key isn't made, or the comment is more than a line.
    """
    kind = KEY_TYPES.get(type)
    if kind is None:
        raise BadRequest(f"`type` is one of {', '.join(KEY_TYPES)}.")
    if bits is not None and bits not in kind.sizes:
        if not kind.sizes:
            raise BadRequest(f"`bits` doesn't apply: {type} keys have one size only.")
        raise BadRequest(f"`bits` of an {type} key is one of {', '.join(map(str, kind.sizes))}.")
    if not comment.isprintable():  # a line break would smuggle a second key into somebody's authorized_keys
        raise BadRequest("The comment of a key is one line of printable text.")
    size = bits or next(iter(kind.sizes), None)
    private_key = kind.make(size or 0)
    # Loaded back as whoever uses it will do: what comes out is known to work, and the public half is that of the PEM.
    loaded = kind.load.from_private_key(io.StringIO(private_key))
    line = f"{loaded.get_name()} {loaded.get_base64()} {comment}".rstrip()
    return KeyPair(private_key, line + "\n", type, size, loaded.fingerprint)


def _ed25519(_: int) -> str:
    # Paramiko reads such keys and can't make them.
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def _pem(key: paramiko.PKey) -> str:
    text = io.StringIO()
    key.write_private_key(text)
    return text.getvalue()


KEY_TYPES: Mapping[str, KeyType] = {
    "ed25519": KeyType((), _ed25519, paramiko.Ed25519Key),
    "rsa": KeyType((3072, 4096), lambda bits: _pem(paramiko.RSAKey.generate(bits)), paramiko.RSAKey),
    "ecdsa": KeyType((256, 384, 521), lambda bits: _pem(paramiko.ECDSAKey.generate(bits=bits)), paramiko.ECDSAKey),
}
"""By their names, the default first."""

DEFAULT_TYPE = next(iter(KEY_TYPES))
