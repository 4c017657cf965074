"""Terms of use that users accept once."""

from __future__ import annotations

from datetime import UTC, datetime

from hpcwaas.core.people import Terms
from hpcwaas.core.ports.sign_in_records import TermsRecords
from hpcwaas.errors import Conflict
from hpcwaas.identity.settings import AuthSettings


def terms_of(auth: AuthSettings | None) -> Terms | None:
    """The terms in the settings, if any."""
    if auth is None or auth.terms.version is None:
        return None
    return Terms(auth.terms.version, auth.terms.text, auth.terms.url)


class TermsOfUse:
    """Knows the terms, and who has accepted them. Every method that asks for a subject may raise `Unavailable`.

    Attributes:
        terms: the present ones; None when there are none.
    """

    def __init__(self, records: TermsRecords, terms: Terms | None) -> None:
        self._records = records
        self.terms = terms

    def accepted_at(self, subject: str) -> datetime | None:
        """When a user accepted the present terms; None when they haven't, or there are none."""
        return None if self.terms is None else self._records.accepted_at(subject, self.terms.version)

    def is_accepted(self, subject: str) -> bool:
        """Whether a user has nothing to accept."""
        return self.open(subject) is None

    def open(self, subject: str) -> Terms | None:
        """What a user has to accept yet."""
        return None if self.accepted_at(subject) is not None else self.terms

    def accept(self, subject: str, version: str) -> None:
        """Records that a user accepts terms.

        Raises:
            Conflict: they aren't the present ones.
        """
        if self.terms is None:
            raise Conflict("This service has no terms of use to accept.")
        if version != self.terms.version:
            raise Conflict(
                f"The terms of use are of version {self.terms.version} now: read them, and accept that version."
            )
        self._records.accept(subject, version, datetime.now(UTC))
