"""Queries on terms of use that were accepted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from hpcwaas.store.database import Database
from hpcwaas.store.models import AcceptedTermsRow
from hpcwaas.store.upsert import upsert


class TermsStore:
    """Obeys `TermsRecords`. Keeps who accepted which terms of use, and when."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, subject: str, version: str, now: datetime) -> None:
        values = {"subject": subject, "version": version, "accepted_at": now}
        with self._database.write() as session:
            session.execute(upsert(AcceptedTermsRow, session, values).on_conflict_do_nothing())

    def accepted_at(self, subject: str, version: str) -> datetime | None:
        query = select(AcceptedTermsRow.accepted_at).where(
            AcceptedTermsRow.subject == subject, AcceptedTermsRow.version == version
        )
        with self._database.read() as session:
            moment: datetime | None = session.scalar(query)
            return moment
