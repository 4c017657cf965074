"""Use cases on the files that users upload to use as inputs."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from hpcwaas.common import durable
from hpcwaas.common.names import unusable_name
from hpcwaas.core import acts, policy
from hpcwaas.core.models import StoredUpload, Upload
from hpcwaas.core.people import Principal
from hpcwaas.core.ports.engine import UploadLookup
from hpcwaas.core.ports.records import UploadRecords
from hpcwaas.errors import BadRequest, NotFound, TooLarge, TooManyRequests, Unavailable

_LOGGER = logging.getLogger(__name__)
_CHUNK = 256 * 1024
_CHECK_EVERY = 64 * 2**20
"""Bytes after which an upload of unknown length is held against the owner's limit again."""
_MAX_MEDIA_TYPE = 255
_ORPHAN_SECONDS = 3600
"""Age from which a file that no record knows is rubbish of a crash, and not an upload under way."""

_ORPHANS_EVERY = 600.0
"""Seconds between two looks for such files, which take longer the more uploads there are."""


class Uploads:
    """Keeps uploaded files, each as a file named by its id.

    Content comes first and goes last: a crash may leave a file that nobody knows, which `remove_orphans` removes, and
    never a record without its content.

    Args:
        records: where they are recorded.
        directory: for their content; made when missing, used for nothing else.
        max_size: of one file, in bytes.
        at_most: bytes that one user may have stored.
    """

    def __init__(self, records: UploadRecords, directory: Path, max_size: int, at_most: int | None = None) -> None:
        self._records = records
        self._directory = directory
        self._max_size = max_size
        self._at_most = at_most
        self._next_orphans = 0.0
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def save(
        self,
        owner: str,
        name: str,
        media_type: str,
        stream: BinaryIO,
        declared_length: int | None,
        companion_of: str | None = None,
    ) -> Upload:
        """Stores a file while it arrives.

        Args:
            name: base name; it is what a workflow sees.
            stream: read to its end.
            declared_length: how many bytes are to come, when the client said so.
            companion_of: id of another upload of the owner's, beside which it belongs.

        Raises:
            BadRequest: the name or media type can't be used, fewer bytes came than were declared, or there is no upload
                that it could belong beside.
            TooLarge: over the limit; found before reading when the length was declared.
            TooManyRequests: over what the owner may have stored; likewise.
            Unavailable: no space left, or the disk or store fails.
        """
        _check_name(name)
        if (
            not media_type
            or len(media_type) > _MAX_MEDIA_TYPE
            or not (media_type.isascii() and media_type.isprintable())
        ):
            raise BadRequest("The media type can't be used: expected one such as `text/plain`.")
        if declared_length is not None and declared_length > self._max_size:
            raise self._too_large()
        if companion_of is not None:
            self._check_companion(owner, name, companion_of)
        self._check_room(owner, declared_length or 0)
        upload_id = f"file-{secrets.token_hex(16)}"
        draft = self._directory / f".{upload_id}"
        try:
            size, sha256 = self._receive(owner, stream, draft, declared_length)
            draft.rename(self._path(upload_id))
            durable.sync_directory(self._directory)
        except OSError as error:
            _LOGGER.error("An upload can't be stored: %s", error)  # noqa: TRY400 # the reason is all there is to say
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "the service has no space left" if full else "the service's disk fails"
            raise Unavailable(f"The file can't be stored at the moment: {why}.") from error
        finally:
            draft.unlink(missing_ok=True)
        upload = Upload(upload_id, owner, name, media_type, size, sha256, datetime.now(UTC), companion_of)
        # When this fails the content stays for `remove_orphans`: the record may be stored without us learning of it.
        try:
            self._records.add(upload, self._at_most)
        except TooManyRequests:  # something else arrived meanwhile
            self._path(upload_id).unlink()
            raise
        return upload

    def get(self, principal: Principal, upload_id: str) -> Upload:
        """One upload.

        Raises:
            NotFound: unknown, or none that the user may see.
        """
        upload = self._records.find_upload(upload_id, policy.reach(principal))
        acts.note_owner(principal, upload.owner)
        return upload

    def page(
        self, principal: Principal, limit: int, cursor: str | None, owner: str | None = None
    ) -> tuple[Sequence[Upload], str | None]:
        """A part of a user's uploads, newest first, and the cursor of the next part when there is one.

        Args:
            owner: whose; see `policy.whose`.

        Raises:
            BadRequest: a cursor that isn't one of ours.
            Forbidden: a plain user asks for somebody else's.
        """
        listed = policy.whose(principal, owner)
        acts.note_owner(principal, owner)
        return self._records.page(listed, limit=limit, cursor=cursor)

    def lookup(self, owner: str) -> UploadLookup:
        """The function by which an engine finds this user's uploads."""

        def find(upload_id: str) -> StoredUpload | None:
            try:
                upload = self._records.find_upload(upload_id, owner)
            except NotFound:
                return None
            beside = () if upload.companion_of else self._records.companions(upload_id, owner)
            companions = tuple(StoredUpload(each, self._path(each.id)) for each in beside)
            return StoredUpload(upload, self._path(upload_id), companions)

        return find

    def delete(self, principal: Principal, upload_id: str) -> None:
        """Removes an upload, and those that belong beside it. Executions that were started with them keep what they
        took, which counts until they end.

        Raises:
            NotFound: unknown, or none that the user may see.
            Forbidden: an operator sees it, and no more.
        """
        policy.require_owner(principal, self.get(principal, upload_id).owner)
        self._delete_all(upload_id, principal.subject)

    def expire(self, before: datetime, limit: int) -> int:
        """Removes some uploads that were made before a moment, and those that belong beside them, as `delete` does.

        Returns:
            how many were found, not more than `limit`.
        """
        found = self._records.older(before, limit)
        for upload in found:
            with contextlib.suppress(NotFound):  # somebody else was faster
                self._delete_all(upload.id, upload.owner)
        return len(found)

    def erase(self, owner: str, limit: int) -> None:
        """Removes some uploads of a user who leaves."""
        for upload in self._records.page(owner, limit=limit)[0]:
            with contextlib.suppress(NotFound):  # went with another one, or somebody else was faster
                self._delete_all(upload.id, owner)

    def _delete_all(self, upload_id: str, owner: str) -> None:
        for companion in self._records.companions(upload_id, owner):
            with contextlib.suppress(NotFound):  # somebody else was faster
                self._delete(companion.id, owner)
        self._delete(upload_id, owner)

    def _delete(self, upload_id: str, owner: str) -> None:
        held = self._held(upload_id)
        self._records.delete(upload_id, owner, held=held)
        if not held:
            self._path(upload_id).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Removes deleted uploads that no execution holds any more and, now and then, what crashes have left; harmless
        at any time and in several processes at once."""
        for upload_id in self._records.held():
            if not self._held(upload_id):
                self._path(upload_id).unlink(missing_ok=True)
                self._records.release(upload_id)
        if time.monotonic() >= self._next_orphans:
            self._next_orphans = time.monotonic() + _ORPHANS_EVERY
            self.remove_orphans()

    def remove_orphans(self) -> int:
        """Removes files that no record knows. It looks at all there are.

        Returns:
            how many files were removed.
        """
        oldest = time.time() - _ORPHAN_SECONDS
        # Files first, records after: whatever is recorded in between is seen.
        files = list(self._directory.iterdir())
        known = self._records.ids()
        removed = 0
        for file in files:
            with contextlib.suppress(FileNotFoundError):  # somebody else removed it
                if file.name not in known and file.lstat().st_mtime < oldest:
                    file.unlink()
                    removed += 1
        return removed

    def _check_companion(self, owner: str, name: str, companion_of: str) -> None:
        """Refuses what can't be a companion, before its content is read."""
        try:
            primary = self._records.find_upload(companion_of, owner)
        except NotFound:
            raise BadRequest(f"`companion_of`: you have no upload {companion_of!r}.") from None
        if primary.companion_of is not None:
            raise BadRequest(
                f"`companion_of`: {primary.name} is a companion itself, of {primary.companion_of}. Name that."
            )
        taken = {primary.name, *(each.name for each in self._records.companions(companion_of, owner))}
        if name in taken:
            raise BadRequest(f"`name`: {name!r} is the name of another file beside it already.")

    def _held(self, upload_id: str) -> bool:
        """Whether an execution that hasn't ended has a link to the content."""
        try:
            return self._path(upload_id).lstat().st_nlink > 1
        except OSError:
            return False

    def _path(self, upload_id: str) -> Path:
        return self._directory / upload_id

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The file is larger than the {self._max_size} bytes that are accepted.")

    def _check_room(self, owner: str, size: int) -> None:
        if self._at_most is not None:
            self._records.check_room(owner, size, self._at_most)

    def _receive(self, owner: str, stream: BinaryIO, draft: Path, declared_length: int | None) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        checked = declared_length or 0
        with durable.new_file(draft) as file:
            while chunk := _read(stream):
                size += len(chunk)
                if size > self._max_size:
                    raise self._too_large()
                if size > checked:
                    self._check_room(owner, size)
                    checked = size + _CHECK_EVERY
                digest.update(chunk)
                file.write(chunk)
            if declared_length is not None and size != declared_length:
                raise BadRequest(f"The upload broke off: {size} of {declared_length} bytes arrived.")
        return size, digest.hexdigest()


def _read(stream: BinaryIO) -> bytes:
    try:
        return stream.read(_CHUNK)
    except OSError as error:  # the client's side, not the disk's
        raise BadRequest("The upload broke off.") from error


def _check_name(name: str) -> None:
    reason = "it contains a backslash" if "\\" in name else unusable_name(name)
    if reason:
        raise BadRequest(f"`name` can't be used: {reason}. Expected the name of a file, without folders.")
