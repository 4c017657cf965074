"""Queries on uploads."""

from __future__ import annotations

from sqlalchemy import delete, select

from hpcwaas.core.models import Upload
from hpcwaas.errors import NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.models import UploadRow
from hpcwaas.store.paging import newest_first

_UNKNOWN = "There is no file with this id."


class UploadStore:
    """Keeps what is known of uploaded files. Every method may raise `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, upload: Upload) -> None:
        """Stores a new upload.

        Raises:
            Conflict: the id is taken.
        """
        with self._database.write(taken="There is a file with this id already.") as session:
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

    def get(self, upload_id: str, owner: str) -> Upload:
        """One upload.

        Raises:
            NotFound: unknown, or somebody else's.
        """
        with self._database.read() as session:
            row = session.scalar(select(UploadRow).where(UploadRow.id == upload_id, UploadRow.owner == owner))
            if row is None:
                raise NotFound(_UNKNOWN)
            return _upload(row)

    def page(self, owner: str, *, limit: int, cursor: str | None = None) -> tuple[list[Upload], str | None]:
        """A part of a user's uploads, newest first, and the cursor of the next part when there is one.

        Raises:
            BadRequest: a cursor that isn't one of ours.
        """
        query = select(UploadRow).where(UploadRow.owner == owner)
        with self._database.read() as session:
            rows, following = newest_first(session, query, UploadRow, limit, cursor)
            return [_upload(row) for row in rows], following

    def delete(self, upload_id: str, owner: str) -> None:
        """Forgets an upload.

        Raises:
            NotFound: unknown, or somebody else's.
        """
        with self._database.write() as session:
            query = delete(UploadRow).where(UploadRow.id == upload_id, UploadRow.owner == owner)
            if session.connection().execute(query).rowcount == 0:
                raise NotFound(_UNKNOWN)

    def ids(self) -> frozenset[str]:
        """The ids of all uploads of all owners."""
        with self._database.read() as session:
            return frozenset(session.scalars(select(UploadRow.id)))


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
