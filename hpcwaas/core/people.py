"""Users, and what they sign in with, as plain, frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class User:
    """A user as the service keeps them.

    Attributes:
        source: who vouches for them: `basic` (a password of the store), `sso` (the identity provider).
        password_hash: in argon2's own format; None for those of the identity provider.
        disabled: may not sign in any more, and none of their tokens counts.
        seen_at: when the identity provider told the name and the groups, where that is known.
        signed_out_at: when they signed out everywhere: no older token of the identity provider counts.
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


@dataclass(frozen=True, slots=True)
class UserSession:
    """A sign-in that goes on.

    Attributes:
        client: what it was made for: `browser` (the token that the page shows), `waas`.
        expires_at: until when its access token counts; it can be renewed after that.
        ends_at: until when it can be renewed.
    """

    id: str
    subject: str
    client: str
    created_at: datetime
    expires_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A personal access token without its secret."""

    id: str
    owner: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
