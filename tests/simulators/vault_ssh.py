"""The vault look-alike's authority for SSH certificates. What it refuses is as Vault's documentation has it."""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_public_key,
)


@dataclass
class Authority:
    """An authority with its roles."""

    roles: dict[str, Any] = field(default_factory=dict)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    issuer: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def public_key(self) -> str:
        """As `TrustedUserCAKeys` has it."""
        return self.key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + "\n"

    def respond(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Answers a request: status, and an error or the member `data`."""
        match (method, path.split("/")):
            case ("POST", ["config", "ca"]):
                return 200, {"issuer_id": self.issuer, "issuer_name": "", "public_key": self.public_key}
            case ("POST", ["roles", name]):
                self.roles[name] = body
                return 204, None
            case ("POST", ["sign", name]):
                return self._sign(name, body)
        return 404, []

    def _sign(self, name: str, body: Any) -> tuple[int, Any]:
        role = self.roles.get(name)
        if role is None:
            return 400, [f'Unknown role: "{name}"']
        principals = [each for each in body.get("valid_principals", "").split(",") if each]
        users = role.get("allowed_users", "").split(",")
        if "*" not in users and (wrong := [each for each in principals if each not in users]):
            return 400, [f"{wrong[0]} is not a valid value for valid_principals"]
        if body.get("key_id") and not role.get("allow_user_key_ids"):
            return 400, ["setting key_id is not allowed by role"]
        serial, now = secrets.randbits(63), int(time.time())
        builder = (
            SSHCertificateBuilder()
            .public_key(load_ssh_public_key(body["public_key"].encode()))  # type: ignore[arg-type] # of ours
            .serial(serial)
            .type(SSHCertificateType.USER)
            .key_id((body.get("key_id") or "vault-root-of-nobody").encode())
            .valid_principals([each.encode() for each in principals])
            .valid_after(now - 30)
            .valid_before(now + int(body["ttl"].removesuffix("s")))
        )
        for extension in role.get("default_extensions", {}):
            builder = builder.add_extension(extension.encode(), b"")
        signed = builder.sign(self.key).public_bytes().decode() + "\n"
        return 200, {"issuer_id": self.issuer, "serial_number": f"{serial:016x}", "signed_key": signed}
