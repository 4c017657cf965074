"""What the identity provider says of a user, and who that is here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hpcwaas.configuration.settings import AuthSettings
from hpcwaas.identity.base import Vouched

_LONGEST = 255
_MOST_GROUPS = 1000
_NAMES: tuple[tuple[str, ...], ...] = (
    ("name",),
    ("preferred_username",),
    ("displayName",),
    ("given_name", "family_name"),
    ("firstname", "surname"),  # of the providers that the service before this one greeted users from
    ("email",),
)
"""Claims that may name a user, the best first; those of one entry belong together."""


class Untrusted(Exception):
    """The provider doesn't vouch for this, or for somebody who can't be a user here.

    Args:
        reason: what is wrong, in our own words: nothing that the provider or the caller wrote.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def vouched(
    claims: Mapping[str, Any],
    settings: AuthSettings,
    access_token: str,
    told: float,
    made: float | None,
    *,
    whole: bool,
) -> Vouched:
    """The user that claims are about.

    Args:
        told: when the provider told the groups, in seconds since 1970.
        made: when it made the access token; None if that isn't known.
        whole: whether there are no others: a user whose groups aren't among them has none.

    Raises:
        Untrusted: they don't give a user's id that can be used.
    """
    tells = whole or settings.groups_claim in claims
    return Vouched(
        subject=_subject(claims, settings.subject_claim),
        name=next((name for parts in _NAMES if (name := _name(claims, parts))), None),
        groups=_groups(claims.get(settings.groups_claim)) if tells else None,
        access_token=access_token,
        told_at=datetime.fromtimestamp(told, UTC),
        made_at=None if made is None else datetime.fromtimestamp(made, UTC),
    )


def made(claims: Mapping[str, Any]) -> float | None:
    """When a token was made, in seconds since 1970, by claims that were found valid; None when they don't tell."""
    return max(0.0, claims["iat"]) if "iat" in claims else None


def _subject(claims: Mapping[str, Any], claim: str) -> str:
    value = claims.get(claim)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # some providers count their users
    if not isinstance(value, str):
        raise Untrusted(f"the claim `{claim}` is missing: auth.subject_claim has to name one that is there")
    # A colon can't stand in a username of HTTP Basic, and subjects of both kinds share one name space.
    if not (0 < len(value) <= _LONGEST and value.isprintable() and value == value.strip() and ":" not in value):
        raise Untrusted(f"the claim `{claim}` (auth.subject_claim) can't be a user's id")
    if claim == "email" and claims.get("email_verified") in (False, "false"):
        raise Untrusted("the user's address isn't verified, and auth.subject_claim makes it the user's id")
    return value


def _name(claims: Mapping[str, Any], parts: tuple[str, ...]) -> str:
    values = [claims.get(part) for part in parts]
    words = [value.strip() for value in values if isinstance(value, str) and value.isprintable()]
    return " ".join(word for word in words if word)[:_LONGEST]


def _groups(value: object) -> frozenset[str]:
    """A list of names, or names with blanks between. A slash at the beginning, as Keycloak has it, belongs to them."""
    names = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    usable = [name for name in names if isinstance(name, str) and 0 < len(name) <= _LONGEST and name.isprintable()]
    return frozenset(usable[:_MOST_GROUPS])
