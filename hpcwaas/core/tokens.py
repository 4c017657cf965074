"""Use cases on personal access tokens."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

from hpcwaas.core import acts, policy
from hpcwaas.core.people import AccessToken, Principal
from hpcwaas.core.ports.sign_in_records import TokenRecords
from hpcwaas.errors import BadRequest, Forbidden, NotFound

_PREFIX = "hpcwaas_pat_"
_MOST = 100
_USUAL_DAYS = 90


class Tokens:
    """The personal access tokens of users.

    Args:
        records: where they are recorded, without their secrets.
        max_days: of their lives.
        forget: see `Identity.forget`.
    """

    def __init__(self, records: TokenRecords, max_days: int, forget: Callable[[], None]) -> None:
        self._records = records
        self._max_days = max_days
        self._forget = forget

    def create(
        self, principal: Principal, name: str, scopes: Collection[str], days: int | None
    ) -> tuple[AccessToken, str]:
        """Makes a token of the user.

        Args:
            name: unique among the user's tokens.
            scopes: of `policy.SCOPES`, at least one.
            days: of its life; None for the usual.

        Returns:
            the token and its secret, which is kept nowhere.

        Raises:
            BadRequest: the name, a scope or the life can't be used.
            Forbidden: the scope `admin`, and the user is no operator.
            Conflict: the user has a token of this name, or as many as they may have.
        """
        if not name.isprintable() or name != name.strip():
            raise BadRequest("`name` can't be used: expected printable characters, without blanks at the ends.")
        if unknown := set(scopes) - set(policy.SCOPES):
            raise BadRequest(f"`scopes`: {min(unknown)!r} isn't a scope; expected some of {', '.join(policy.SCOPES)}.")
        if not scopes:
            raise BadRequest(f"`scopes` is empty; expected some of {', '.join(policy.SCOPES)}.")
        if "admin" in scopes and not policy.is_operator(principal):
            raise Forbidden("Only operators can make tokens with the scope `admin`.")
        if days is None:
            days = min(_USUAL_DAYS, self._max_days)
        if not 1 <= days <= self._max_days:
            raise BadRequest(f"`days` is {days}; expected 1 to {self._max_days}, the longest that this service allows.")
        now = datetime.now(UTC)
        secret = _PREFIX + secrets.token_urlsafe(32)
        token = AccessToken(
            id=str(uuid.uuid4()),
            owner=principal.subject,
            name=name,
            scopes=frozenset(scopes),
            created_at=now,
            expires_at=now + timedelta(days=days),
            proof=principal.proof,
        )
        # A digest without salt will do: what is long and random is in no dictionary.
        self._records.add(token, hashlib.sha256(secret.encode()).hexdigest(), _MOST)
        acts.note(scopes=sorted(token.scopes))
        return token, secret

    def list(self, principal: Principal, owner: str | None) -> Sequence[AccessToken]:
        """Tokens, newest first.

        Args:
            owner: whose; see `policy.whose`.

        Raises:
            Forbidden: a plain user asks for somebody else's.
        """
        listed = policy.whose(principal, owner)
        acts.note_owner(principal, owner)
        return self._records.of(listed)

    def revoke(self, principal: Principal, token_id: str) -> None:
        """Revokes a token: the user's, or for an operator any.

        Raises:
            NotFound: unknown, or somebody else's.
        """
        owner = self._records.delete(token_id, policy.reach(principal))
        self._forget()
        acts.note_owner(principal, owner)

    def revoke_own(self, principal: Principal) -> None:
        """Revokes the token by which the user has signed in; nothing when it wasn't by one."""
        if principal.scopes is None or principal.session is None:
            return
        with contextlib.suppress(NotFound):  # somebody else has just done it
            self._records.delete(principal.session, principal.subject)
        self._forget()
