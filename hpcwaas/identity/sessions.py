"""Sign-ins that go on: their tokens, their renewal, their end.

A session of `waas` has an access token for an hour and a refresh token that renews it until the user has to sign in by
the provider again. Each renewal gives a new pair. A refresh token that comes again ends the whole session: one of the
two who have it stole it, and which one nobody can tell. Only within half a minute of its use it is merely refused, for
then it is most likely one client whose processes renew at once. The answer that one of them lost isn't given again.

The token that a page shows is the provider's own, as it always was; its session can't be renewed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hpcwaas.core.people import Principal, Proof, UserSession
from hpcwaas.core.ports.identity import Directory, Issued, Refused
from hpcwaas.core.ports.sign_in_records import SessionRecords, Tickets, UserRecords
from hpcwaas.errors import Conflict, NotFound, Unauthorized
from hpcwaas.identity.enrolment import OLDEST
from hpcwaas.identity.front import REFUSED
from hpcwaas.identity.oidc.token_forms import is_jwt

_OURS = "hpcwaas_"
_ACCESS = "hpcwaas_ses_"
_REFRESH = "hpcwaas_ref_"
_SECRET_BYTES = 32
_FAMILY_BYTES = 16
_FAMILY = slice(len(_REFRESH), len(_REFRESH) + 22)  # 16 bytes in base64
"""Where a refresh token says which session it belongs to, so that any earlier one is recognised, however old."""

_ACCESS_LIFE = timedelta(hours=1)
_AT_ONCE = timedelta(seconds=30)

_ENDED = "ended token"
_ENDED_LIFE = OLDEST
"""For how long a provider's token that was signed out is remembered: longer than such tokens live."""


def digest(secret: str) -> str:
    """What the store keeps of a secret that is random and long."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


class Sessions:
    """Begins, renews and ends sessions.

    Args:
        duration: seconds after which a user has to sign in by the provider again.
    """

    def __init__(
        self, records: SessionRecords, users: UserRecords, tickets: Tickets, directory: Directory, duration: int
    ) -> None:
        self._records = records
        self._users = users
        self._tickets = tickets
        self._directory = directory
        self._duration = timedelta(seconds=duration)

    def show(self, subject: str, access_token: str, proof: Proof) -> datetime:
        """Begins a session whose token is the provider's.

        Returns:
            when it ends.
        """
        now = datetime.now(UTC)
        ends = now + self._duration
        self._records.add(
            UserSession(uuid.uuid4().hex, subject, "browser", now, ends, ends, proof), digest(access_token), None
        )
        return ends

    def begin(self, subject: str, proof: Proof) -> Issued:
        """Begins a session of `waas`.

        Raises:
            Refused: there is no such user any more.
        """
        self._find(subject)
        now = datetime.now(UTC)
        family = secrets.token_urlsafe(_FAMILY_BYTES)
        session = UserSession(_id(family), subject, "waas", now, now + _ACCESS_LIFE, now + self._duration, proof)
        access, refresh = _access_token(), _refresh_token(family)
        self._records.add(session, digest(access), digest(refresh))
        return _issued(session, access, refresh, now)

    def renew(self, refresh_token: str) -> Issued:
        """Gives a session new tokens; the earlier ones count no more.

        Raises:
            Refused: the token renews nothing.
        """
        now = datetime.now(UTC)
        given = digest(refresh_token)
        session = self._records.of_refresh(given, now)
        if session is None:
            raise self._reused(refresh_token, given, now)
        self._find(session.subject)
        # Not cut off at the end of the session: it tells when the session was last renewed.
        session = replace(session, expires_at=now + _ACCESS_LIFE)
        access, refresh = _access_token(), _refresh_token(refresh_token[_FAMILY])
        if not self._records.renew(session.id, given, digest(access), digest(refresh), session.expires_at):
            raise _repeated()
        return _issued(session, access, refresh, now)

    def end(self, session_id: str | None, token: str) -> None:
        """Ends a session.

        Args:
            session_id: None for a token that the provider issued and no page showed.
            token: as it was presented. Where it is the provider's, the provider would go on vouching for it.
        """
        if session_id is not None:
            self._records.end(session_id)
        for form in forms(token):
            if not form.startswith(_OURS):
                with contextlib.suppress(Conflict):  # signed out already
                    self._tickets.put(_ENDED, _lasting(form), {}, datetime.now(UTC) + _ENDED_LIFE)

    def end_all(self, subject: str) -> None:
        """Ends all sessions of a user; see `SignIn.end_all`."""
        with contextlib.suppress(NotFound):  # an account of the settings, which the provider can't vouch for
            self._users.change(subject, signed_out_at=datetime.now(UTC))
        self._records.end_all(subject)

    def _find(self, subject: str) -> None:
        if self._directory.find(subject) is None or self._directory.has_password(subject):
            raise Refused("invalid_grant", "This user may not sign in any more.")

    def _reused(self, refresh_token: str, given: str, now: datetime) -> Refused:
        replaced = self._records.of_replaced(given)
        if replaced is not None and now - (replaced.expires_at - _ACCESS_LIFE) < _AT_ONCE:
            return _repeated()
        self._records.end(_id(refresh_token[_FAMILY]))
        return Refused("invalid_grant", "The sign-in has ended, or this token was used before. Sign in again.")


class SessionMethod:
    """Knows the access tokens of sessions; see `Method`. A bearer may come as it is or in base64."""

    def __init__(self, records: SessionRecords, tickets: Tickets, directory: Directory) -> None:
        self._records = records
        self._tickets = tickets
        self._directory = directory

    def basic(self, username: str, password: str, address: str) -> Principal | None:
        """Nobody: sessions have no passwords."""
        return None

    def bearer(self, token: str, address: str) -> Principal | None:
        """See `Method`.

        Raises:
            Unauthorized: the token is one of the provider, and was signed out here.
        """
        now = datetime.now(UTC)
        for form in forms(token):
            if form.startswith(_OURS) and not form.startswith(_ACCESS):
                continue
            session = self._records.of_token(digest(form), now)
            if session is not None and session.ends_at > now:
                return self._user(session)
            if not form.startswith(_OURS) and self._tickets.find_ticket(_ENDED, _lasting(form), now) is not None:
                raise Unauthorized(REFUSED)
        return None

    def _user(self, session: UserSession) -> Principal | None:
        user = self._directory.find(session.subject)
        if user is None or self._directory.has_password(session.subject):
            return None
        return replace(user, session=session.id, proof=session.proof)


def _lasting(token: str) -> str:
    """A digest of the provider's token, in whatever form it comes: a signature by ECDSA has a second one that is as
    good, which whoever has the token can reckon."""
    return digest(token.rpartition(".")[0] if is_jwt(token) else token)


def forms(token: str) -> Iterator[str]:
    """What a bearer may mean: itself, or what it is the base64 of, as the old service showed it."""
    yield token
    try:
        decoded = base64.b64decode(token + "=" * (-len(token) % 4), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return
    if decoded.isprintable() and decoded:
        yield decoded


def _repeated() -> Refused:
    return Refused("invalid_grant", "This token has just been used. Go on with the new one.")


def _id(family: str) -> str:
    return digest(family)[:32]


def _access_token() -> str:
    return _ACCESS + secrets.token_urlsafe(_SECRET_BYTES)


def _refresh_token(family: str) -> str:
    return _REFRESH + family + secrets.token_urlsafe(_SECRET_BYTES)


def _issued(session: UserSession, access: str, refresh: str, now: datetime) -> Issued:
    life = int((min(session.expires_at, session.ends_at) - now).total_seconds())
    return Issued(access, refresh, life, session.subject, session.id)
