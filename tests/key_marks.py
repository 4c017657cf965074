"""What tells of a private key, wherever it may have got to."""

from __future__ import annotations

import base64
import json

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_ssh_private_key


def marks(pem: str) -> set[bytes]:
    """What tells of a private key: its text, its bytes and its secret number, in the forms in which they travel."""
    lines = [line for line in pem.splitlines() if "--" not in line]
    # The first lines of OpenSSH's format are the same for all keys, and hold the public half.
    secret = lines[3:] if "OPENSSH" in pem else lines
    found = {line.encode() for line in secret if len(line) > 20}
    if "OPENSSH" in pem:
        loaded = load_ssh_private_key(pem.encode(), None)
        key = loaded.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        found |= {key, key.hex().encode(), base64.b64encode(key).rstrip(b"=")}
    der = base64.b64decode("".join(lines))
    return found | {der[-48:], base64.b64encode(pem.encode())[60:120], json.dumps(pem)[60:120].encode()}
