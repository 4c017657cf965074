"""Queries on uploads."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Select, delete, select, update

from hpcwaas.core.models import Upload
from hpcwaas.errors import NotFound
from hpcwaas.store import quota
from hpcwaas.store.columns import columns, value_of
from hpcwaas.store.database import Database
from hpcwaas.store.models import UploadRow
from hpcwaas.store.paging import after, cut, position
from hpcwaas.store.turns import Turn, take

_NO_ROOM = "this file doesn't fit"

_UNKNOWN = "There is no file with this id."


class UploadStore:
    """Obeys `UploadRecords`. Keeps what is known of uploaded files.

    An `owner` of None stands for every owner.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, upload: Upload, at_most: int | None = None) -> None:
        with self._database.write(taken="There is a file with this id already.") as session:
            if at_most is not None:
                take(session, Turn.UPLOADS, upload.owner)
                quota.check_room(session, upload.owner, upload.size, at_most, _NO_ROOM)
            session.add(UploadRow(**columns(upload)))

    def find_upload(self, upload_id: str, owner: str | None) -> Upload:
        with self._database.read() as session:
            row = session.scalar(_select(owner).where(UploadRow.id == upload_id))
            if row is None:
                raise NotFound(_UNKNOWN)
            return value_of(Upload, row, {})

    def companions(self, upload_id: str, owner: str) -> list[Upload]:
        query = _select(owner).where(UploadRow.companion_of == upload_id)
        with self._database.read() as session:
            rows = session.scalars(query.order_by(UploadRow.created_at, UploadRow.id))
            return [value_of(Upload, row, {}) for row in rows]

    def page(self, owner: str | None, *, limit: int, cursor: str | None = None) -> tuple[list[Upload], str | None]:
        query = _select(owner).order_by(UploadRow.created_at.desc(), UploadRow.id.desc()).limit(limit + 1)
        before = position(cursor)
        if before is not None:
            query = query.where(after(UploadRow.created_at, UploadRow.id))
        with self._database.read() as session:
            rows, following = cut(session.scalars(query, before._asdict() if before else {}).all(), limit)
            return [value_of(Upload, row, {}) for row in rows], following

    def delete(self, upload_id: str, owner: str, *, held: bool = False) -> None:
        own = (UploadRow.id == upload_id, UploadRow.owner == owner, UploadRow.deleted.is_(False))
        query = update(UploadRow).where(*own).values(deleted=True) if held else delete(UploadRow).where(*own)
        with self._database.write() as session:
            if session.connection().execute(query).rowcount == 0:
                raise NotFound(_UNKNOWN)

    def held(self) -> frozenset[str]:
        with self._database.read() as session:
            return frozenset(session.scalars(select(UploadRow.id).where(UploadRow.deleted.is_(True))))

    def release(self, upload_id: str) -> None:
        with self._database.write() as session:
            session.execute(delete(UploadRow).where(UploadRow.id == upload_id, UploadRow.deleted.is_(True)))

    def check_room(self, owner: str, size: int, at_most: int) -> None:
        with self._database.read() as session:
            quota.check_room(session, owner, size, at_most, _NO_ROOM)

    def stored(self, owner: str) -> int:
        with self._database.read() as session:
            return quota.stored(session, owner)

    def older(self, before: datetime, limit: int) -> list[Upload]:
        query = _select(None).where(UploadRow.created_at < before, UploadRow.companion_of.is_(None))
        with self._database.read() as session:
            rows = session.scalars(query.order_by(UploadRow.created_at).limit(limit))
            return [value_of(Upload, row, {}) for row in rows]

    def ids(self) -> frozenset[str]:
        with self._database.read() as session:
            return frozenset(session.scalars(select(UploadRow.id)))


def _select(owner: str | None) -> Select[UploadRow]:
    query = select(UploadRow).where(UploadRow.deleted.is_(False))
    return query if owner is None else query.where(UploadRow.owner == owner)
