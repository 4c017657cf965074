"""Users, and what they sign in with, as plain, frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True)
class Proof:
    """How and when a user proved who they are.

    Attributes:
        acr: the identity provider's word for how (authentication context class reference).
        at: when; None when nobody tells.
    """

    acr: str | None = None
    at: datetime | None = None


NO_PROOF = Proof()
PROOF = TypeAdapter(Proof)
"""How it is stored."""


@dataclass(frozen=True, slots=True)
class Demand:
    """How well a user has to have proved who they are.

    Attributes:
        acr_values: ways of which one will do; none means that any will.
        max_age: seconds since the proof; None means that it may be as old as it likes.
    """

    acr_values: tuple[str, ...] = ()
    max_age: int | None = None

    def __bool__(self) -> bool:
        return bool(self.acr_values) or self.max_age is not None

    def met_by(self, proof: Proof, now: datetime) -> bool:
        """Whether a proof is good enough at a moment."""
        if self.acr_values and proof.acr not in self.acr_values:
            return False
        return self.max_age is None or (proof.at is not None and (now - proof.at).total_seconds() <= self.max_age)


NO_DEMAND = Demand()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls.

    Attributes:
        subject: stable id of the user; owner of what they make.
        name: for display.
        roles: `user`, `operator`.
        groups: that the user belongs to.
        scopes: what these credentials are good for; None when they are the user's own and not a token with less.
        session: id of the sign-in or of the personal access token that the credentials belong to, if any.
        proof: how and when they proved who they are.
        accepted: whether they have accepted the present terms of use, where there are any.
        short_of: what their proof falls short of and an operator's acts demand: until then they are a plain user.
    """

    subject: str
    name: str
    roles: frozenset[str] = frozenset({"user"})
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    session: str | None = None
    proof: Proof = NO_PROOF
    accepted: bool = True
    short_of: Demand | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    """With whom an execution is shared, read-only."""

    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class User:
    """A user as the service keeps them.

    Attributes:
        source: who vouches for them: `basic` (a password of the store), `sso` (the identity provider).
        password_hash: in argon2's own format; None for those of the identity provider.
        disabled: suspended: may not sign in, nothing that they sign in with counts, and their executions are ended.
        seen_at: when the identity provider told the name and the groups, where that is known.
        signed_out_at: when they signed out everywhere: no older token of the identity provider counts.
        issuer, sub: which user of which identity provider the account belongs to, since the first sign-in. An `issuer`
            without a `sub`: nobody any more, until an operator moves somebody there.
        entitled_by: digest of the requirements that the provider said they meet.
        leaving_since: since when everything of theirs is being removed.
    """

    subject: str
    name: str
    groups: frozenset[str]
    source: str
    created_at: datetime
    password_hash: str | None = None
    disabled: bool = False
    seen_at: datetime | None = None
    signed_out_at: datetime | None = None
    issuer: str | None = None
    sub: str | None = None
    entitled_by: str | None = None
    leaving_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class UserSession:
    """A sign-in that goes on.

    Attributes:
        client: what it was made for: `browser` (the token that the page shows), `waas`.
        expires_at: until when its access token counts; it can be renewed after that.
        ends_at: until when it can be renewed.
        proof: how and when the user proved who they are, which renewals leave as it is.
    """

    id: str
    subject: str
    client: str
    created_at: datetime
    expires_at: datetime
    ends_at: datetime
    proof: Proof = NO_PROOF


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A personal access token without its secret.

    Attributes:
        proof: of the sign-in that made it.
    """

    id: str
    owner: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
    proof: Proof = NO_PROOF


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of use that users have to accept once.

    Attributes:
        version: another one has to be accepted anew.
        text, url: themselves, and where they stand; at least one of the two.
    """

    version: str
    text: str | None = None
    url: str | None = None
