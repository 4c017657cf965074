"""Policies of the vault look-alike: the part of Vault's language that ours use."""

from __future__ import annotations

import re
from collections.abc import Iterator

_RULE = re.compile(r'path\s+"(?P<path>[^"]+)"\s*\{\s*capabilities\s*=\s*\[(?P<capabilities>[^\]]*)\]\s*\}')
DEFAULT = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "sys/internal/ui/mounts/*" { capabilities = ["read"] }
path "sys/capabilities-self" { capabilities = ["update"] }
"""
"""What every token may do by the policy `default`."""


def rules(policy: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Paths and capabilities."""
    text = re.sub(r"#.*", "", policy)
    left = _RULE.sub("", text).strip()
    assert not left, f"not understood in a policy: {left[:80]}"
    for rule in _RULE.finditer(text):
        capabilities = {word.strip().strip('"') for word in rule["capabilities"].split(",") if word.strip()}
        yield rule["path"].lstrip("/"), frozenset(capabilities)


def allowed(policies: list[str], path: str, capability: str) -> bool:
    """Whether one of the policies allows it; `root` allows everything."""
    return bool({capability, "root"} & capabilities(policies, path))


def capabilities(policies: list[str], path: str) -> frozenset[str]:
    """What the policies allow at a path."""
    if "root" in policies:
        return frozenset({"root"})
    found = [
        (len(pattern), allowed_there)
        for policy in policies
        for pattern, allowed_there in rules(policy)
        if (path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern)
    ]
    longest = max((length for length, _ in found), default=0)
    return frozenset().union(*(allowed_there for length, allowed_there in found if length == longest)) or frozenset(
        {"deny"}
    )


def touches(policies: list[str], mount: str) -> bool:
    """Whether the policies allow anything below a mount: only then is a token told of it."""
    return "root" in policies or any(path.startswith(mount) for policy in policies for path, _ in rules(policy))
