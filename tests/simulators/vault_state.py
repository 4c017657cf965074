"""What the vault look-alike knows: tokens, roles, wrapped answers, mounts and secrets. Time can be moved on."""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.simulators.vault_policy import DEFAULT
from tests.simulators.vault_ssh import Authority

POLICIES = {"default": DEFAULT, "root": "root"}


@dataclass
class Token:
    policies: tuple[str, ...]
    ttl: float
    expires: float
    last: float
    meta: dict[str, str] = field(default_factory=dict)
    renewable: bool = True
    path: str = "auth/approle/login"
    accessor: str = field(default_factory=lambda: secrets.token_urlsafe(16))


@dataclass
class Role:
    policies: tuple[str, ...]
    ttl: float = 3600
    longest: float = 86400
    uses: int = 0
    renewable: bool = True
    role_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret_ids: dict[str, int] = field(default_factory=dict)
    jwts: set[str] = field(default_factory=set)


@dataclass
class Secret:
    """A KV v2 secret; version numbers count from 1."""

    versions: list[dict[str, Any]] = field(default_factory=list)
    custom: dict[str, str] | None = None


@dataclass
class State:
    """Everything in one vault."""

    initialised: bool = True
    sealed: bool = False
    namespace: str = ""
    shift: float = 0.0
    root: str = field(default_factory=lambda: f"s.root{secrets.token_hex(8)}")
    unseal_key: str = field(default_factory=lambda: secrets.token_hex(16))
    policies: dict[str, str] = field(default_factory=lambda: dict(POLICIES))
    auths: dict[str, str] = field(default_factory=dict)
    roles: dict[str, dict[str, Role]] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    wrapped: dict[str, dict[str, Any]] = field(default_factory=dict)
    mounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    kv2: dict[str, dict[str, Secret]] = field(default_factory=dict)
    kv1: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    ssh: dict[str, Authority] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tokens[self.root] = Token(("root",), 0, 0, 0, renewable=False, path="auth/token/root")

    def now(self) -> float:
        return time.monotonic() + self.shift

    def alive(self, token: str) -> Token | None:
        found = self.tokens.get(token)
        return None if found is None or (found.expires and found.expires <= self.now()) else found

    def issue(self, role: Role, name: str, path: str) -> tuple[str, Token]:
        now = self.now()
        made = Token(
            ("default", *role.policies),
            role.ttl,
            now + role.ttl,
            now + role.longest,
            {"role_name": name},
            role.renewable,
            path,
        )
        token = f"s.{secrets.token_urlsafe(18)}"
        self.tokens[token] = made
        return token, made

    def texts(self, token: Token) -> list[str]:
        return [self.policies[name] for name in token.policies if name in self.policies]

    def mount(self, name: str, kind: str = "kv", version: str | None = "2") -> None:
        self.mounts[name] = {"type": kind, "version": version, "accessor": f"{kind}_{secrets.token_hex(4)}"}
        if kind == "ssh":
            self.ssh[name] = Authority()
        if kind == "kv":
            (self.kv2 if version == "2" else self.kv1)[name] = {}
