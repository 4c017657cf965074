"""Queries on uploads."""

from __future__ import annotations

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from hpcwaas.core.models import Upload
from hpcwaas.errors import NotFound, TooManyRequests
from hpcwaas.store.database import Database
from hpcwaas.store.models import UploadRow
from hpcwaas.store.paging import newest_first
from hpcwaas.store.turns import Turn, take

_RETRY_AFTER = 3600
"""Seconds after which a user may have deleted something: nothing goes by itself."""

_UNKNOWN = "There is no file with this id."


class UploadStore:
    """Keeps what is known of uploaded files. Every method may raise `Unavailable`.

    An `owner` of None stands for every owner.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, upload: Upload, at_most: int | None = None) -> None:
        """See `UploadRecords`.

        Raises:
            Conflict: the id is taken.
            TooManyRequests: the owner would have more than they may.
        """
        with self._database.write(taken="There is a file with this id already.") as session:
            if at_most is not None:
                take(session, Turn.UPLOADS, upload.owner)
                _check_room(_stored(session, upload.owner), upload.size, at_most)
            session.add(
                UploadRow(
                    id=upload.id,
                    owner=upload.owner,
                    name=upload.name,
                    media_type=upload.media_type,
                    size=upload.size,
                    sha256=upload.sha256,
                    created_at=upload.created_at,
                )
            )

    def get(self, upload_id: str, owner: str | None) -> Upload:
        """See `UploadRecords`."""
        with self._database.read() as session:
            row = session.scalar(_select(owner).where(UploadRow.id == upload_id))
            if row is None:
                raise NotFound(_UNKNOWN)
            return _upload(row)

    def page(self, owner: str | None, *, limit: int, cursor: str | None = None) -> tuple[list[Upload], str | None]:
        """See `UploadRecords`.

        Raises:
            BadRequest: a cursor that isn't one of ours.
        """
        with self._database.read() as session:
            rows, following = newest_first(session, _select(owner), UploadRow, limit, cursor)
            return [_upload(row) for row in rows], following

    def delete(self, upload_id: str, owner: str) -> None:
        """See `UploadRecords`."""
        with self._database.write() as session:
            query = delete(UploadRow).where(UploadRow.id == upload_id, UploadRow.owner == owner)
            if session.connection().execute(query).rowcount == 0:
                raise NotFound(_UNKNOWN)

    def check_room(self, owner: str, size: int, at_most: int) -> None:
        """See `UploadRecords`."""
        with self._database.read() as session:
            _check_room(_stored(session, owner), size, at_most)

    def stored(self, owner: str) -> int:
        """See `UploadRecords`."""
        with self._database.read() as session:
            return _stored(session, owner)

    def ids(self) -> frozenset[str]:
        """See `UploadRecords`."""
        with self._database.read() as session:
            return frozenset(session.scalars(select(UploadRow.id)))


def _stored(session: Session, owner: str) -> int:
    query = select(func.coalesce(func.sum(UploadRow.size), 0)).where(UploadRow.owner == owner)
    return int(session.scalar(query) or 0)


def _check_room(stored: int, size: int, at_most: int) -> None:
    if stored + size > at_most:
        enough = "Delete some first." if size <= at_most else "It never will: it is larger than that."
        raise TooManyRequests(
            f"You have {stored} bytes stored, of {at_most} that you may: this file doesn't fit. {enough}", _RETRY_AFTER
        )


def _select(owner: str | None) -> Select[UploadRow]:
    query = select(UploadRow)
    return query if owner is None else query.where(UploadRow.owner == owner)


def _upload(row: UploadRow) -> Upload:
    return Upload(
        id=row.id,
        owner=row.owner,
        name=row.name,
        media_type=row.media_type,
        size=row.size,
        sha256=row.sha256,
        created_at=row.created_at,
    )
