"""Downloading the outputs of an execution into a directory."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import requests
from urllib3.exceptions import HTTPError

from .client import Client
from .errors import UsageError, WaasError
from .outputs import files_in
from .progress import Progress
from .text import is_file, to_json

_CHUNK = 1 << 16
_LONGEST_NAME = 200
_LONGEST_START = 40
_TRIES = 4
_HINT = "Move it away, or download into another directory."
_ALGORITHMS = frozenset({"md5", "sha1", "sha256", "sha512"})


@dataclass(frozen=True, slots=True)
class Item:
    """An output, or a part of one, to download.

    Attributes:
        target: where it goes, under the directory.
        value: the output: a File or Directory object, or any other value, which is written as JSON.
    """

    target: Path
    value: Any

    @property
    def kind(self) -> str | None:
        """`File`, `Directory`, or None for another value."""
        found = self.value.get("class") if isinstance(self.value, dict) else None
        return found if found in ("File", "Directory") else None


def plan(outputs: Mapping[str, Any], directory: Path) -> list[Item]:
    """What to download and where to put it. Files go into the directory by their own names, those of lists and records
    into a subdirectory with the output's name; no two meet, and none leaves the directory. Where a name is taken, a
    file and what belongs to it get the same number: `o-2.bam` with `o-2.bam.bai`."""
    taken = _Names()
    items: list[Item] = []
    for name, value in outputs.items():
        if value is None:
            continue
        own = safe_name(name, "output")
        if next(files_in(value), None) is None:
            (target,) = taken.claim(directory, [f"{own}.json"])
            items.append(Item(target, value))
            continue
        # Its subdirectory is a name like any other: an output may be a directory that is called so.
        place = directory if is_file(value) else taken.claim(directory, [own])[0]
        for group in _groups(value):
            names = [safe_name(file.get("basename"), own) for file in group]
            items += map(Item, taken.claim(place, names), group)
    return items


def _groups(value: Any) -> Iterator[list[dict[str, Any]]]:
    """The files in an output, each with those that belong to it."""
    if isinstance(value, list):
        for member in value:
            yield from _groups(member)
    elif is_file(value):
        yield list(files_in(value))
    elif isinstance(value, dict):
        yield from _groups(list(value.values()))


class _Names:
    """Names that are taken, whatever a file system makes of upper and lower case and of accents."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[tuple[Path, str], int] = {}

    def claim(self, directory: Path, names: list[str]) -> list[Path]:
        """Paths that nothing else has for files that belong together, the first being the one to which the others
        belong."""
        if len({_key(directory / name) for name in names}) < len(names):
            # They meet each other, whatever their number is.
            return [path for name in names for path in self.claim(directory, [name])]
        first = Path(names[0])
        known = directory, names[0].casefold()
        while True:
            number = self._numbers[known] = self._numbers.get(known, 0) + 1
            fresh = names if number == 1 else [_numbered(name, first.stem, number) for name in names]
            keys = {_key(directory / name) for name in fresh}
            if not keys & self._taken:
                self._taken |= keys
                return [directory / name for name in fresh]


def _numbered(name: str, stem: str, number: int) -> str:
    """`o.bam.bai` as `o-2.bam.bai`, `o.bai` as `o-2.bai`, and `index` as `index-2`."""
    own = Path(name)
    if name.startswith(stem) and not name[len(stem) :][:1].isalnum():
        return f"{stem}-{number}{name[len(stem) :]}"
    return f"{own.stem}-{number}{own.suffix}"


def _key(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path).casefold())


def safe_name(name: object, otherwise: str) -> str:
    """`name` as the name of a file in the directory where it is put, whatever it holds. Never a hidden one: programs
    take what they find under such names, `waas` its own configuration."""
    base = re.sub(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\:*?"<>|]', "_", str(name or ""))
    base = base.encode()[-_LONGEST_NAME:].decode(errors="ignore")
    if not base.strip(". "):
        return otherwise
    return f"_{base}" if base.startswith(".") else base


class Downloader:
    """Downloads outputs.

    Args:
        force: whether files that exist are replaced.
    """

    def __init__(self, client: Client, *, force: bool) -> None:
        self._client = client
        self._force = force

    def fetch(self, items: list[Item]) -> Iterator[tuple[Item, bool]]:
        """Downloads one item after another. An item appears under its name when it is complete, and not before.

        Yields:
            each item, and whether it had to be fetched: files that are there already, with the right content, stay.

        Raises:
            UsageError: files would be replaced without `force`, or something of another kind stands in the way; nothing
                has been fetched then.
            WaasError: one can't be fetched or written.
        """
        for item in items:
            _check_place(item)
        there = {item.target for item in items if item.target.exists() and _same(item)}
        blocked = [item.target for item in items if item.target not in there and os.path.lexists(item.target)]
        if blocked and not self._force:
            names = ", ".join(map(str, blocked))
            raise UsageError(
                f"These exist already: {names}. Nothing was downloaded.", hint="Add --force to replace them."
            )
        for item in items:
            if item.target not in there:
                _check_place(item)
                try:
                    item.target.parent.mkdir(parents=True, exist_ok=True)
                    self._fetch(item)
                except OSError as error:
                    raise WaasError(f"Can't write {item.target}: {error.strerror or error}.") from None
            yield item, item.target not in there

    def _fetch(self, item: Item) -> None:
        if item.kind == "Directory":
            self._directory(item)
        elif item.kind == "File":
            self._file(item)
        else:
            part = _part(item)
            with _opened(part, os.O_TRUNC) as sink:
                sink.write(_as_json(item).encode())
            part.replace(item.target)

    def _file(self, item: Item) -> None:
        """Downloads a file, from where an earlier try of this run or another one was cut off."""
        part = _part(item)
        for attempt in range(1, _TRIES + 1):
            try:
                self._rest(item, part)
                break
            except requests.RequestException:
                lost = f"The connection was lost while downloading {item.target.name}."
                if attempt == _TRIES:
                    hint = "Run the command again: it continues where it stopped."
                    raise WaasError(lost, hint=hint) from None
                self._client.note(f"{lost} Continuing (try {attempt + 1} of {_TRIES}).")
        wrong = _wrong(part, item.value)
        if wrong:
            part.unlink()
            raise WaasError(f"{item.target.name} arrived damaged: {wrong}. Try again.")
        part.replace(item.target)

    def _rest(self, item: Item, part: Path) -> None:
        size = _announced(item.value)
        # Without a size it isn't known whether the beginning belongs to it.
        have = part.stat().st_size if size is not None and part.exists() else 0
        if size is not None and have and have >= size:
            if not _wrong(part, item.value):
                return
            have = 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with (
            self._client.request(
                "GET", _location(item.value, self._client.root_path), headers=headers, stream=True
            ) as response,
            _opened(
                part, os.O_APPEND if response.status_code == requests.codes.partial_content else os.O_TRUNC
            ) as sink,
            Progress(f"Downloading {item.target.name}", size) as progress,
        ):
            progress.advance(sink.tell())
            for chunk in response.iter_content(_CHUNK):
                sink.write(chunk)
                progress.advance(len(chunk))
                if size is not None and sink.tell() > size:
                    return  # whatever else comes, it is wrong by now

    def _directory(self, item: Item) -> None:
        """Downloads a directory, and unpacks it beside its place as it arrives."""
        beside = Path(
            tempfile.mkdtemp(prefix=f".{item.target.name[:_LONGEST_START]}.", suffix=".part", dir=item.target.parent)
        )
        fresh = beside / "fresh"
        fresh.mkdir()
        try:
            with (
                self._client.request(
                    "GET",
                    _location(item.value, self._client.root_path),
                    params={"archive": "tar"},
                    headers={"Accept-Encoding": "identity"},
                    stream=True,
                ) as response,
                Progress(f"Downloading {item.target.name}", None) as progress,
                # Not compressed: so what is unpacked is never larger than what came in.
                tarfile.open(fileobj=_Stream(response, progress), mode="r|") as archive,
            ):
                archive.extractall(fresh, filter=_plain)  # noqa: S202 - stricter than `data`
            _merge(fresh, item.target)
        except tarfile.TarError as error:
            raise WaasError(f"{item.target.name} arrived damaged: {error}.") from None
        except HTTPError:
            raise WaasError(f"The connection was lost while downloading {item.target.name}. Try again.") from None
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _check_place(item: Item) -> None:
    """Looks at what is there already, under the item's name and on the way to it.

    Raises:
        UsageError: it is of another kind, so that the item can't take its place.
    """
    target, parent = item.target, item.target.parent
    if os.path.lexists(parent) and not parent.is_dir():
        raise UsageError(f"Can't put {target.name} into {parent}, which isn't a directory. Nothing was downloaded.")
    if problem := _in_the_way(target, folder=item.kind == "Directory"):
        raise UsageError(f"{problem}. Nothing was downloaded.", hint=_HINT)


def _in_the_way(place: Path, *, folder: bool) -> str | None:
    """Why a directory or a file can't be put in a place; None when it can: files take the place of files."""
    if not os.path.lexists(place):
        return None
    if folder:
        if place.is_symlink():
            # What it leads to isn't what the user has named.
            return f"{place} is a link, but the output of that name is a directory"
        return None if place.is_dir() else f"{place} is a file, but the output of that name is a directory"
    if place.is_dir() and not place.is_symlink():
        return f"{place} is a directory, but the output of that name is a file"
    return None


def _merge(fresh: Path, target: Path) -> None:
    """Moves a directory into its place. Files take the place of those with the same name; nothing else is touched.

    Raises:
        UsageError: something of another kind has one of the names. Nothing was moved then.
    """
    for top, directories, files in os.walk(fresh):
        here = target / Path(top).relative_to(fresh)
        for name, folder in [*((name, True) for name in directories), *((name, False) for name in files)]:
            if problem := _in_the_way(here / name, folder=folder):
                raise UsageError(f"{problem}. Nothing in {target} was changed.", hint=_HINT)
    if not os.path.lexists(target):
        fresh.rename(target)
        return
    for top, directories, files in os.walk(fresh):
        here = target / Path(top).relative_to(fresh)
        for name in tuple(directories):
            if not os.path.lexists(here / name):
                Path(top, name).rename(here / name)
                directories.remove(name)
        for name in files:
            Path(top, name).replace(here / name)


def _plain(member: tarfile.TarInfo, top: str) -> tarfile.TarInfo | None:
    """A filter for members of an archive: files and directories below `top`, as the service packs them.

    Raises:
        tarfile.TarError: it is something else: a link, a device, a file with holes, or it would be put elsewhere.
    """
    if member.issparse() or not (member.isreg() or member.isdir()):
        raise tarfile.ReadError(f"{member.name!r} is neither a plain file nor a directory")
    if Path(member.name).is_absolute():
        raise tarfile.AbsolutePathError(member)
    if member.isreg() and os.path.lexists(Path(top, member.name)):
        raise tarfile.ReadError(f"{member.name!r} has the same name as another file in it on this file system")
    return tarfile.data_filter(member, top)


class _Stream(io.RawIOBase):
    """The body of an answer as a file to read from."""

    def __init__(self, response: requests.Response, progress: Progress) -> None:
        self._raw = response.raw
        self._progress = progress

    def read(self, amount: int = -1, /) -> bytes:
        chunk: bytes = self._raw.read(amount)
        self._progress.advance(len(chunk))
        return chunk


def _location(value: Mapping[str, Any], root_path: str) -> str:
    """The path to fetch from: one of the service itself, never of another host."""
    location = str(value.get("location") or "")
    if root_path and location.startswith(f"{root_path}/"):
        location = location.removeprefix(root_path)
    if not location.startswith("/") or location.startswith("//"):
        raise WaasError(f"The service doesn't say where to download {value.get('basename')!r} from.")
    return location


def _announced(value: Mapping[str, Any]) -> int | None:
    """How many bytes a file has according to the service; None when it doesn't say."""
    size = value.get("size")
    return None if size is None else int(size)


def _part(item: Item) -> Path:
    """Where a download grows. The name depends on what is fetched, so that no other file is taken for its beginning."""
    identity = json.dumps(item.value, sort_keys=True, default=str)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return item.target.with_name(f".{item.target.name}.{digest}.part")


def _opened(part: Path, how: int) -> BinaryIO:
    """Opens a file to write a download to; never through a link that somebody has put there."""
    return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | how, 0o666), "wb")


def _same(item: Item) -> bool:
    """Whether the target holds exactly what would be downloaded, which can't be told of directories."""
    if item.kind is None:
        return item.target.is_file() and item.target.read_text(encoding="utf-8", errors="replace") == _as_json(item)
    return item.kind == "File" and bool(item.value.get("checksum")) and not _wrong(item.target, item.value)


def _as_json(item: Item) -> str:
    return to_json(item.value, indent=2) + "\n"


def _wrong(file: Path, value: Mapping[str, Any]) -> str | None:
    """In which way a file differs from what the service says of it; None when it doesn't."""
    if not file.is_file():
        return "it isn't a file"
    length, size = file.stat().st_size, _announced(value)
    if size is not None and length != size:
        return f"it has {length} bytes instead of {size}"
    algorithm, _, expected = str(value.get("checksum") or "").partition("$")
    if algorithm in _ALGORITHMS and expected:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, algorithm).hexdigest()
        if found != expected.lower():
            return f"its {algorithm} checksum is {found} instead of {expected}"
    return None
