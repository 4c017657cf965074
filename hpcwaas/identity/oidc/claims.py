"""What the identity provider says of a user, and who that is here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hpcwaas.core.people import Proof
from hpcwaas.core.ports.identity import Vouched
from hpcwaas.identity.names import LONGEST, usable
from hpcwaas.identity.oidc.entitlements import canonical, implied
from hpcwaas.identity.settings import AuthSettings, RequiredClaim

_LOGGER = logging.getLogger(__name__)

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

VERIFIED: Mapping[str, str] = {"email": "email_verified", "phone_number": "phone_number_verified"}
"""Claims that users may choose by themselves, and those that say whether the provider has checked them (OpenID Connect
Core, 5.1)."""


class Untrusted(Exception):
    """The provider doesn't vouch for this, or for somebody who can't be a user here.

    Args:
        reason: what is wrong, in our own words: nothing that the provider or the caller wrote.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ClaimsReader:
    """Reads claims as the settings say. What isn't as they say is told in the log, once."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._verified = None if settings.assume_verified else VERIFIED.get(settings.subject_claim)
        self._told: set[str] = set()
        self._lock = threading.Lock()

    @property
    def needed(self) -> Sequence[str]:
        """Claims without which nobody is known. User info is asked for those that aren't there."""
        pinned = ("sub",) if self._settings.issuer is not None else ()
        verified = (self._verified,) if self._verified else ()
        return (self._settings.subject_claim, *pinned, *verified)

    @property
    def useful(self) -> Sequence[str]:
        """Claims that tell what a user may do."""
        return (*self._settings.groups_claim, *(one.claim for one in self._settings.required_claims))

    def tells_groups(self, claims: Mapping[str, Any]) -> bool:
        """Whether claims have all that groups are taken from."""
        return all(present(claims, name) for name in self._settings.groups_claim)

    def vouched(
        self,
        claims: Mapping[str, Any],
        issuer: str | None,
        access_token: str,
        told: float,
        made_at: float | None,
        *,
        whole: bool,
    ) -> Vouched:
        """The user that claims are about.

        Args:
            issuer: of the claims; None where the provider is known by its endpoints only.
            told: when the provider told the groups, in seconds since 1970.
            made_at: when it made the access token; None if that isn't known.
            whole: whether there are no others: a user whose groups aren't among them has none.

        Raises:
            Untrusted: they don't give a user's id that can be used.
        """
        subject = self._subject(claims)
        sub = claims.get("sub", subject if issuer is None else None)
        if isinstance(sub, bool) or not isinstance(sub, str | int) or not 0 < len(str(sub)) <= LONGEST:
            raise Untrusted("the claim `sub` is missing or has the wrong form")
        tells = whole or self.tells_groups(claims)
        return Vouched(
            issuer=issuer or str(self._settings.user_info_url),
            sub=str(sub),
            subject=subject,
            name=next((name for parts in _NAMES if (name := _name(claims, parts))), None),
            groups=self._groups(claims) if tells else None,
            lacks=next((one.claim for one in self._settings.required_claims if not _has(claims, one)), None),
            access_token=access_token,
            told_at=datetime.fromtimestamp(told, UTC),
            made_at=None if made_at is None else datetime.fromtimestamp(made_at, UTC),
            proof=proof(claims),
        )

    def _subject(self, claims: Mapping[str, Any]) -> str:
        claim = self._settings.subject_claim
        value = find(claims, claim)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # some providers count their users
        if not isinstance(value, str):
            raise Untrusted(f"the claim `{claim}` is missing: auth.subject_claim has to name one that is there")
        if not usable(value):
            raise Untrusted(f"the claim `{claim}` (auth.subject_claim) can't be a user's id")
        self._check_verified(claims, claim)
        return value

    def _check_verified(self, claims: Mapping[str, Any], claim: str) -> None:
        says = VERIFIED.get(claim)
        if says is None or claims.get(says) is True or claims.get(says) == "true":
            return
        if claims.get(says) is None:
            if self._settings.assume_verified:
                return
            raise Untrusted(
                f"the provider doesn't say whether the user's `{claim}` is verified (`{says}`), and auth.subject_claim "
                "makes it the user's id; auth.assume_verified is for a provider that verifies all and never says so"
            )
        raise Untrusted(f"the user's `{claim}` isn't verified, and auth.subject_claim makes it the user's id")

    def _groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """The groups of all claims together. A slash at the beginning, as Keycloak has it, belongs to a name."""
        found: dict[str, None] = {}
        for claim in self._settings.groups_claim:
            for name in self._names(claims, claim):
                found |= dict.fromkeys(sorted(_meant(claim, name)))
        if len(found) > _MOST_GROUPS:
            self._tell(
                "many",
                f"The identity provider lists over {_MOST_GROUPS} groups of a user: the service leaves out the rest.",
            )
        return frozenset([*found][:_MOST_GROUPS])

    def _names(self, claims: Mapping[str, Any], claim: str) -> Iterator[str]:
        value = find(claims, claim)
        if value is None:
            self._tell(
                claim,
                f"The identity provider sends no claim `{claim}` (auth.groups_claim) of a user, who is therefore in no "
                "group by it. If it should, look at the scopes and mappers of this client there.",
            )
            return
        # One text is one group, whatever stands in it: names may have blanks and commas.
        names = [value] if isinstance(value, str) else value if isinstance(value, list) else None
        if names is None:
            self._tell(
                claim,
                f"The identity provider's claim `{claim}` (auth.groups_claim) is "
                f"{_KINDS.get(type(value), 'unusable')}, and not a list of texts or a text: no group is taken from it.",
            )
            return
        for name in names:
            if isinstance(name, str) and 0 < len(name) <= LONGEST and name.isprintable():
                yield name
            else:
                self._tell(
                    f"{claim} name",
                    f"In the identity provider's claim `{claim}` (auth.groups_claim) something isn't a group's name "
                    f"(text of 1 to {LONGEST} printable characters): it is left out.",
                )

    def _tell(self, what: str, message: str) -> None:
        with self._lock:
            if what in self._told:
                return
            self._told.add(what)
        _LOGGER.warning("%s This is logged only once.", message)


_KINDS = {dict: "an object", bool: "true or false", int: "a number", float: "a number"}


def find(claims: Mapping[str, Any], name: str) -> Any:
    """The value of a claim: of this very name, or with dots in it (`realm_access.roles`) of one inside another."""
    if claims.get(name) is not None:
        return claims[name]
    for index, letter in enumerate(name):
        inner = claims.get(name[:index]) if letter == "." else None
        if isinstance(inner, Mapping) and (found := find(inner, name[index + 1 :])) is not None:
            return found
    return None


def present(claims: Mapping[str, Any], name: str) -> bool:
    """Whether there is such a claim, if only with nothing in it."""
    return name in claims or find(claims, name) is not None


def merged(claims: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Claims from two places; the first ones count more."""
    both = {**more, **claims}
    for claim, says in VERIFIED.items():
        # That an address is verified is said of the one that stands beside it, and of no other.
        if claim in claims and says not in claims and more.get(claim) != claims[claim]:
            both.pop(says, None)
        if claim not in claims and says in claims and claim in more:
            both[says] = more.get(says)
    return both


def made(claims: Mapping[str, Any]) -> float | None:
    """When a token was made, in seconds since 1970, by claims that were found valid; None when they don't tell."""
    return max(0.0, claims["iat"]) if "iat" in claims else None


def proof(claims: Mapping[str, Any]) -> Proof:
    """How and when the provider says that the user proved who they are."""
    acr, at = claims.get("acr"), claims.get("auth_time")
    if not isinstance(at, int | float) or isinstance(at, bool) or not 0 <= at < 2**37:  # year 6000
        at = None
    return Proof(
        acr if isinstance(acr, str) and acr.isprintable() and len(acr) <= LONGEST else None,
        None if at is None else datetime.fromtimestamp(at, UTC),
    )


def _has(claims: Mapping[str, Any], required: RequiredClaim) -> bool:
    value = find(claims, required.claim)
    values = [_text(one) for one in (value if isinstance(value, list) else [value])]
    held = {meant for one in values if one is not None for meant in _meant(required.claim, one)}
    return not held.isdisjoint(canonical(one) if _is_entitlement(required.claim) else one for one in required.values)


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None


def _meant(claim: str, value: str) -> frozenset[str]:
    # Of entitlements only: names of groups may have been chosen by users, who could make this form up.
    return implied(value) if _is_entitlement(claim) else frozenset({value})


def _is_entitlement(claim: str) -> bool:
    return claim.rpartition(".")[2].lower().endswith(("entitlement", "entitlements"))


def _name(claims: Mapping[str, Any], parts: tuple[str, ...]) -> str:
    values = [claims.get(part) for part in parts]
    words = [value.strip() for value in values if isinstance(value, str) and value.isprintable()]
    return " ".join(word for word in words if word)[:LONGEST]
