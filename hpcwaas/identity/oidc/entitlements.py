"""Groups that stand in entitlements, in the form of AARC-G069 (and G002 before it)."""

from __future__ import annotations

import re

_GROUP = re.compile(
    r"(?P<above>urn:[a-z0-9][a-z0-9-]{0,31}:[^#]+?:group:)(?P<path>[^:#]+(?::[^:#]+)*?)(?P<role>:role=[^:#]+)?(?:#.*)?",
    re.IGNORECASE,
)
_ESCAPED = re.compile("%[0-9a-f]{2}", re.IGNORECASE)


def canonical(value: str) -> str:
    """The form in which entitlements are compared: without who says it, what goes without case in lower case."""
    found = _GROUP.fullmatch(value)
    return _joined(found, found["path"] + (found["role"] or "")) if found else value


def implied(value: str) -> frozenset[str]:
    """What somebody with an entitlement is entitled to: that, and, where it names a group, the group whatever the role
    in it and whoever says so, and the groups that this one is a part of.

    Args:
        value: such as `urn:mace:example.org:group:climate:ocean:role=member#aai.example.org`.
    """
    found = _GROUP.fullmatch(value)
    if found is None:
        return frozenset({value})
    parts = found["path"].split(":")
    groups = {_joined(found, ":".join(parts[:length])) for length in range(1, len(parts) + 1)}
    return frozenset({value, canonical(value), *groups})


def _joined(found: re.Match[str], group: str) -> str:
    # An escape means the same in upper and in lower case (RFC 3986).
    return _ESCAPED.sub(lambda it: it[0].upper(), found["above"].lower() + group)
