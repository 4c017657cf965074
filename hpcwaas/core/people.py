"""Users, and what they sign in with, as plain, frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hpcwaas.core.models import NO_PROOF, Proof


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
