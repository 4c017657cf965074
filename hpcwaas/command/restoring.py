"""Brings a backup back, to a data directory and a database that are empty.

Nothing is touched before all of the backup was read and found whole. Then a mark says that a restore is under way, with
which no service starts. Files come first, below a folder of their own, then to their places; the records last, in one
transaction, and the mark goes. Whoever is killed in between leaves the mark: with an empty store the next restore
begins anew, and with records in it nothing was left to do.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import make_url

from hpcwaas import __version__
from hpcwaas.command.backing_up import AUDIT, ENGINES, FILES, FORMAT, PRODUCT, STORE, audit_files, places
from hpcwaas.common import durable
from hpcwaas.common.archive import ArchiveReader, Broken, Readable
from hpcwaas.configuration.checks import RESTORING
from hpcwaas.core.endings import RESTORED
from hpcwaas.engines.cwl.storage.trees import remove_tree
from hpcwaas.engines.registry import registry
from hpcwaas.errors import BadRequest, ConfigurationError
from hpcwaas.store import dump
from hpcwaas.store.database import NOT_EMPTY, Database

if TYPE_CHECKING:
    from hpcwaas.configuration.settings import Settings

_STAGE = "restored.new"
_LOCK = "hpcwaas-api.lock"
_MAY_BE_THERE = frozenset(
    (
        *("directory-id", "hpcwaas-api.lock", "local-token", "lost+found", "vault-reader.lock", "vault.key"),
        *("vault.lock", RESTORING, _STAGE),
    )
)
_FOLDERS = (STORE, FILES, ENGINES, AUDIT)
_CHUNK = 1 << 20
_MOST_PIECE = 256 << 20
_OVER = frozenset(("SUCCEEDED", "FAILED", "CANCELLED"))


@dataclass(slots=True)
class Checked:
    """A backup that is whole.

    Attributes:
        head: what it says of itself.
        told: what was found while it was made.
        bytes: of its contents.
        digest: of all of it.
        started: ids of the executions that may have been started by an engine that keeps no id of ours.
        files: names of its uploads' contents.
    """

    head: Mapping[str, Any]
    told: Mapping[str, Any]
    bytes: int
    digest: str
    files: frozenset[str] = frozenset()
    started: frozenset[str] = frozenset()

    @property
    def gone(self) -> frozenset[str]:
        """Ids of what was deleted while it was made."""
        return frozenset(each for ids in self.told.get("gone", {}).values() for each in ids)


@dataclass(slots=True)
class Restored:
    """What was brought back.

    Attributes:
        rows, files: how many.
        anew: whether an earlier restore had been broken off.
        ended: executions that hadn't begun, or were just beginning.
        without: uploads that weren't brought back, since their content isn't there.
        kept_audit: whether an audit was there, and was left as it is.
    """

    rows: int = 0
    files: int = 0
    anew: bool = False
    ended: int = 0
    without: int = 0
    kept_audit: bool = False


def check_backup(stream: IO[bytes]) -> Checked:
    """Reads all of a backup, and changes nothing.

    Raises:
        BadRequest: it isn't whole, or this version can't restore it.
        OSError: it can't be read.
    """
    try:
        reader = ArchiveReader(stream)
        _check_head(reader.head)
        files: set[str] = set()
        started: set[str] = set()
        for info, content in reader.members():
            top, _, name = info.name.partition("/")
            _check_member(info, top, name)
            if top == FILES:
                files.add(name)
            elif top == STORE and name.endswith("-starts"):
                started.update(map(str, dump.values(content.read(), "execution_id")))
    except (Broken, dump.BadDump) as error:
        raise BadRequest(f"This backup can't be restored: {error}.") from error
    return Checked(reader.head, reader.told, reader.size, reader.digest, frozenset(files), frozenset(started))


def _check_member(info: tarfile.TarInfo, top: str, name: str) -> None:
    if top not in _FOLDERS or not name:
        raise Broken(f"it has a member {info.name!r} that no backup has")
    if top == STORE and (not info.isreg() or info.size > _MOST_PIECE):
        raise Broken(f"its member {info.name!r} isn't a part of a table")
    if top in (FILES, AUDIT) and ("/" in name or not (info.isreg() or info.islnk())):
        raise Broken(f"its member {info.name!r} isn't a file")
    if top == ENGINES and name.partition("/")[0] not in {entry.name for entry in registry().entries}:
        raise Broken(f"it has files of the engine {name.partition('/')[0]!r}, which isn't installed here")


def _check_head(head: Mapping[str, Any]) -> None:
    product, form, schema, version = (head.get(name) for name in ("product", "format", "schema", "version"))
    if product != PRODUCT:
        raise Broken("it isn't a backup of this service")
    if form != FORMAT or not isinstance(schema, str) or not Database.knows(schema):
        raise Broken(
            f"version {version} of the service made it, and this is version {__version__}, which doesn't know its form "
            f"(format {form}, schema {schema}): restore it with version {version} or a later one"
        )


def restore_backup(settings: Settings, stream: IO[bytes], checked: Checked) -> Restored | None:
    """Brings a backup back.

    Returns:
        what was done; None if an earlier restore of this backup had done all, and was killed before it could say so.

    Raises:
        ConfigurationError: a service runs, or the data directory or the database isn't empty.
        BadRequest: the database can't take a row.
        OSError: a file can't be written. Then all is as it was before.
    """
    if settings.shared_dir is not None:
        raise ConfigurationError(
            "shared_dir",
            "a backup is restored to `data_dir` alone: leave `shared_dir` and `machine` out for now, and move what is "
            "shared there afterwards, as when one machine becomes several (docs/how-to/scale.md)",
        )
    with _turn(settings.data_dir), closing(Database(settings.database_url)) as database:
        path = settings.data_dir / RESTORING
        mark = {"digest": checked.digest, "had_audit": bool(audit_files(settings.audit_file))}
        done = Restored(anew=path.exists())
        empty = database.is_empty()
        if done.anew:
            earlier = _read_mark(path)
            if not empty and earlier["digest"] == checked.digest:
                _unmark(path)
                return None
            mark["had_audit"] = earlier["had_audit"]
        elif taken := _present(settings):
            names = ", ".join(path.name for path in taken)
            raise ConfigurationError("data_dir", f"{settings.data_dir} isn't empty, it has {names}: move that away")
        if not empty:
            raise ConfigurationError("store.url", NOT_EMPTY)
        if done.anew:
            _clear(settings, mark)
        durable.replace(path, json.dumps(mark).encode())
        try:
            _bring_back(settings, database, stream, checked, done)
        except BaseException as error:
            if database.is_empty():
                _clear(settings, mark)
                _unmark(path)
            if isinstance(error, Broken | dump.BadDump):
                raise BadRequest(f"This backup can't be restored: {error}.") from error
            raise
        _unmark(path)
        return done


def _read_mark(path: Path) -> dict[str, Any]:
    """What a restore wrote that was broken off."""
    mark: dict[str, Any] = json.loads(path.read_bytes())
    return mark


def _bring_back(settings: Settings, database: Database, stream: IO[bytes], checked: Checked, done: Restored) -> None:
    stage, now = settings.data_dir / _STAGE, datetime.now(UTC)
    stage.mkdir(mode=0o700)
    rows = _Rows(checked, now, done)
    with database.filling(str(checked.head["schema"])) as connection:
        reader = ArchiveReader(stream)
        folders, unwanted = [], []
        for info, content in reader.members():
            top, _, name = info.name.partition("/")
            if top == STORE:
                table = name.partition("-")[2]
                done.rows += dump.load(connection, table, content.read(), partial(rows.wanted, table))
                continue
            _put(stage, info, content)
            folders += [info] if info.isdir() else []
            done.files += not info.isdir()
            if not checked.gone.isdisjoint(info.name.split("/")):
                unwanted.append(stage / info.name)  # not before all is there: others may be links to it
        if reader.digest != checked.digest:
            raise Broken("it was changed while it was read")
        for path in unwanted:
            remove_tree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for info in reversed(folders):
            if (stage / info.name).is_dir():
                (stage / info.name).chmod(info.mode)
                os.utime(stage / info.name, (info.mtime, info.mtime))
        for entry in registry().entries:
            if (stage / ENGINES / entry.name).is_dir():
                registry().restored(entry.name, stage / ENGINES / entry.name, now)
        _settle(settings, stage, done)


def _put(stage: Path, info: tarfile.TarInfo, content: Readable) -> None:
    """Makes what a member is. Its name and what it leads to were checked by the reader."""
    path = stage / info.name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if info.isdir():
        path.mkdir(mode=0o700, exist_ok=True)
    elif info.issym():
        path.symlink_to(info.linkname)
    elif info.islnk():
        os.link(stage / info.linkname, path, follow_symlinks=False)
    else:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            while chunk := content.read(_CHUNK):
                file.write(chunk)
            file.flush()
            os.fchmod(descriptor, info.mode & 0o777)
            os.utime(descriptor, (info.mtime, info.mtime))


def _settle(settings: Settings, stage: Path, done: Restored) -> None:
    """Moves the files to their places."""
    os.sync()
    for name, directory in places(settings).items():
        if (stage / name).is_dir():
            (stage / name).rename(directory)
    done.kept_audit = settings.audit_file.exists() and (stage / AUDIT).is_dir()
    if (stage / AUDIT).is_dir() and not done.kept_audit:
        for path in sorted((stage / AUDIT).iterdir(), reverse=True):
            shutil.move(path, settings.audit_file.with_name(path.name))
    remove_tree(stage)
    durable.sync_directory(settings.data_dir)


class _Rows:
    """Which rows are brought back, and how.

    Args:
        now: when executions end that aren't started any more.
    """

    def __init__(self, checked: Checked, now: datetime, done: Restored) -> None:
        self._checked, self._gone, self._now, self._done = checked, checked.gone, now, done
        self._ended: set[str] = set()

    def wanted(self, table: str, row: dict[str, Any]) -> bool:
        """Whether a row is to be there."""
        if row.get("id" if table in ("executions", "uploads") else "execution_id") in self._gone:
            return table == "starts"
        if table == "uploads" and row["id"] not in self._checked.files:
            self._done.without += 1
            return False
        # Nobody knows whether it began after the backup. What an orchestrator was asked for is looked for.
        unbegun = table == "executions" and row["reference"] is None and row["status"] not in _OVER
        if unbegun and row["id"] not in self._checked.started:
            row |= {"status": "FAILED", "reason": RESTORED, "ended_at": self._now}
            self._ended.add(row["id"])
            self._done.ended += 1
        if table == "shares" and row["execution_id"] in self._ended and "status" in row:
            row["status"] = "FAILED"
        return True


@contextmanager
def _turn(data_dir: Path) -> Iterator[None]:
    """Keeps services and other restores off the data directory."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    data_dir.chmod(0o700)
    lock = durable.lock(data_dir / _LOCK)
    if lock is None:
        holder = (data_dir / _LOCK).read_text(errors="replace").strip()
        raise ConfigurationError("data_dir", f"{data_dir} is used by a running service ({holder}): stop it first")
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()}, a restore\n".encode(), 0)
        yield
    finally:
        os.ftruncate(lock, 0)
        os.close(lock)


def _present(settings: Settings) -> list[Path]:
    """What is in the data directory that mustn't be there before a restore."""
    url = make_url(settings.database_url)
    file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
    of_store = [Path(f"{file}{end}") for end in ("", "-wal", "-shm", "-journal")] if file else []
    untouched = [*of_store, *audit_files(settings.audit_file)]
    return [
        path for path in sorted(settings.data_dir.iterdir()) if path.name not in _MAY_BE_THERE and path not in untouched
    ]


def _clear(settings: Settings, mark: Mapping[str, Any]) -> None:
    """Removes what a restore has brought to a data directory that was empty before."""
    brought = [settings.data_dir / _STAGE, *_present(settings)]
    if not mark["had_audit"]:
        brought += audit_files(settings.audit_file)
    for path in brought:
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)


def _unmark(mark: Path) -> None:
    mark.unlink()
    durable.sync_directory(mark.parent)
