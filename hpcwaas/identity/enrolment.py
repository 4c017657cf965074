"""Who of those that the identity provider vouches for may be a user here, and which account is theirs.

An account belongs to one user of one provider, by the provider's own id (`iss` and `sub`), from their first sign-in
on. So whoever takes a name over there doesn't take the account over here, and whoever changes their name keeps it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hpcwaas.core.people import Principal, User
from hpcwaas.core.ports.identity import Directory, Vouched
from hpcwaas.core.ports.sign_in_records import SessionRecords, TokenRecords, UserRecords
from hpcwaas.errors import Conflict, Forbidden
from hpcwaas.identity.settings import AuthSettings

_LOGGER = logging.getLogger(__name__)

OLDEST = timedelta(days=30)
"""How old the provider's tokens get at most."""


def requirements(auth: AuthSettings) -> str | None:
    """A digest of what the provider has to say of users; None when it is nothing."""
    required: Sequence[tuple[str, list[str]]] = [(one.claim, sorted(one.values)) for one in auth.required_claims]
    return hashlib.sha256(json.dumps(sorted(required)).encode()).hexdigest() if required else None


class Enrolment:
    """Decides, and keeps what is known of users.

    Args:
        required: see `requirements`.
    """

    def __init__(
        self,
        users: UserRecords,
        sessions: SessionRecords,
        tokens: TokenRecords,
        directory: Directory,
        required: str | None,
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._tokens = tokens
        self._directory = directory
        self._required = required

    def admit(self, vouched: Vouched) -> Principal:
        """The user with the rights that the provider told last, which a token may be older than.

        Raises:
            Forbidden: the account is suspended, belongs to somebody else, or has a password; the user has signed out
                everywhere since; or the provider doesn't say of them what it has to.
        """
        stored = self._account(vouched)
        subject = stored.subject if stored else vouched.subject
        if vouched.lacks is not None:
            self._keep_out(vouched, stored)
            raise Forbidden(
                f"The identity provider's statements about you lack what this service requires (`{vouched.lacks}`). "
                "Ask an operator."
            )
        now = datetime.now(UTC)
        made_at = vouched.made_at or now - OLDEST  # one of an unknown age may be as old as such tokens get
        if stored is not None and stored.signed_out_at is not None and made_at <= stored.signed_out_at:
            raise Forbidden(
                f"The account `{subject}` has signed out everywhere since this token was made. Sign in again."
            )
        if stored is None or _is_news(vouched, stored):
            self._learn(vouched, subject, stored, now)
        if self._required is not None and (stored is None or stored.entitled_by != self._required):
            self._users.change(subject, entitled_by=self._required)
        user = self._directory.find(subject)
        if user is None:
            raise Forbidden(f"The account `{subject}` is suspended. Ask an operator.")
        return replace(user, proof=vouched.proof)

    def _account(self, vouched: Vouched) -> User | None:
        """The account that is theirs; None when they are to get a new one."""
        stored = self._users.of_identity(vouched.issuer, vouched.sub)
        subject = stored.subject if stored else vouched.subject
        if self._directory.has_password(subject):
            raise Forbidden(f"An account with a password has the name `{subject}` here. Ask an operator.")
        if stored is None:
            stored = self._users.find(subject)
        if stored is not None and stored.issuer is None:
            self._users.pin(subject, vouched.issuer, vouched.sub)
            stored = self._users.find(subject)
        if stored is not None and (stored.issuer, stored.sub) != (vouched.issuer, vouched.sub):
            raise self._anothers(vouched)
        return stored

    def _learn(self, vouched: Vouched, subject: str, stored: User | None, now: datetime) -> None:
        name = vouched.name or (stored.name if stored else subject)
        # Who tells no groups is contradicted by nobody who does, were that ever so old.
        seen_at = None if vouched.groups is None else vouched.told_at
        user = User(subject, name, vouched.groups or frozenset(), "sso", now, seen_at=seen_at)
        try:
            self._users.put(replace(user, issuer=vouched.issuer, sub=vouched.sub))
        except Conflict as error:
            raise Forbidden(f"{error.detail} Sign in again.") from error
        kept = self._users.find(subject)
        if kept is None or (kept.issuer, kept.sub) != (vouched.issuer, vouched.sub):
            raise self._anothers(vouched)  # they came at the same moment
        found = self._directory.find(subject)
        if found is not None and "operator" not in found.roles and self._tokens.drop_scope(subject, "admin"):
            _LOGGER.info("%s is no operator any more: access tokens have lost the scope `admin`", subject)

    def _keep_out(self, vouched: Vouched, stored: User | None) -> None:
        """Lets nothing count any more that a user signs in with whom the provider has told the lack of."""
        if stored is None or stored.entitled_by is None or vouched.groups is None:
            return
        if stored.seen_at is not None and stored.seen_at > vouched.told_at:
            return  # an old token, from before the provider told better
        self._users.change(stored.subject, entitled_by=None)
        self._sessions.end_all(stored.subject)

    def _anothers(self, vouched: Vouched) -> Forbidden:
        words = ("user", "move", vouched.subject, "--sub", vouched.sub, "--issuer", vouched.issuer)
        _LOGGER.warning(
            "The account %s belongs to another user of the identity provider than the one who signs in with its name: "
            "refused. If it is the same person, run: hpcwaas-api %s",
            shlex.quote(vouched.subject),
            shlex.join(words),
        )
        return Forbidden(f"The account `{vouched.subject}` belongs to somebody else of the same name. Ask an operator.")


def _is_news(vouched: Vouched, stored: User) -> bool:
    """Whether there is something to store: a token may be presented many times a minute."""
    if vouched.groups is None:
        return False
    if stored.seen_at is None or stored.seen_at < vouched.told_at:
        return True
    told = (vouched.name or stored.name, vouched.groups)
    return stored.seen_at == vouched.told_at and told != (stored.name, stored.groups)
