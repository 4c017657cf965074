"""Makes SSH key pairs."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hpcwaas.errors import BadRequest

SIZES: Mapping[str, tuple[int, ...]] = {"ed25519": (), "rsa": (3072, 4096), "ecdsa": (256, 384, 521)}
"""The accepted `bits` of each type, the default first; ed25519 has one size only."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new SSH key pair.

    Attributes:
        private_key: PEM; on its way to the vault and nowhere else, so it isn't shown by `repr`.
        public_key: the OpenSSH line, ending with a newline.
        bits: None for ed25519.
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
        type: one of `SIZES`.
        bits: one of the type's sizes; None for its default.
        comment: stands at the end of the public line. One line of text.

    Raises:
        BadRequest: such a key isn't made, or the comment is more than a line.
    """
    sizes = SIZES.get(type)
    if sizes is None:
        raise BadRequest(f"`type` is one of {', '.join(SIZES)}.")
    if bits is not None and bits not in sizes:
        accepted = f"`bits` of an {type} key is one of {', '.join(map(str, sizes))}"
        raise BadRequest(f"{accepted}." if sizes else f"`bits` doesn't apply: {type} keys have one size only.")
    if not comment.isprintable():  # a line break would smuggle a second key into somebody's authorized_keys
        raise BadRequest("The comment of a key is one line of printable text.")
    size = bits or (sizes[0] if sizes else None)
    private_key = _ed25519() if size is None else _pem(_GENERATORS[type](size))
    # Loaded back as whoever uses it will do: what comes out is known to work, and the public half is that of the PEM.
    loaded = _CLASSES[type].from_private_key(io.StringIO(private_key))
    line = f"{loaded.get_name()} {loaded.get_base64()} {comment}".rstrip()
    return KeyPair(private_key, line + "\n", type, size, loaded.fingerprint)


def _ed25519() -> str:
    # Paramiko reads such keys and can't make them.
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def _pem(key: paramiko.PKey) -> str:
    text = io.StringIO()
    key.write_private_key(text)
    return text.getvalue()


_CLASSES: Mapping[str, type[paramiko.PKey]] = {
    "ed25519": paramiko.Ed25519Key,
    "rsa": paramiko.RSAKey,
    "ecdsa": paramiko.ECDSAKey,
}
_GENERATORS: Mapping[str, Callable[[int], paramiko.PKey]] = {
    "rsa": paramiko.RSAKey.generate,
    "ecdsa": lambda bits: paramiko.ECDSAKey.generate(bits=bits),
}
