"""Fetching the outputs of an execution into a directory."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from .client import Client
from .errors import UsageError, WaasError
from .outputs import files_in
from .progress import Progress
from .text import to_json

_CHUNK = 1 << 16
_LONGEST_NAME = 200
_TRIES = 4
_ALGORITHMS = frozenset({"md5", "sha1", "sha256", "sha512"})


@dataclass(frozen=True, slots=True)
class Item:
    """Something to fetch.

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
    """What to fetch and where to put it. Files go into the directory by their own names, those of lists and records
    into a subdirectory with the output's name; no two meet, and none leaves the directory."""
    items: list[Item] = []
    taken: set[str] = set()
    numbers: dict[Path, int] = {}

    def add(value: Any, target: Path) -> None:
        unique = target
        while str(unique).casefold() in taken:
            numbers[target] = numbers.get(target, 1) + 1
            unique = target.with_name(f"{target.stem}-{numbers[target]}{target.suffix}")
        taken.add(str(unique).casefold())
        items.append(Item(unique, value))

    for name, value in outputs.items():
        if value is None:
            continue
        own = safe_name(name, "output")
        files = list(files_in(value))
        if not files:
            add(value, directory / f"{own}.json")
        single = isinstance(value, dict) and "class" in value
        for file in files:
            add(file, (directory if single else directory / own) / safe_name(file.get("basename"), own))
    return items


def safe_name(name: object, otherwise: str) -> str:
    """`name` as the name of a file in the directory where it is put, whatever it holds. Never a hidden one: programs
    take what they find under such names, `waas` its own configuration."""
    base = re.sub(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\:*?"<>|]', "_", str(name or ""))
    base = base.encode()[-_LONGEST_NAME:].decode(errors="ignore")
    if not base.strip(". "):
        return otherwise
    return f"_{base}" if base.startswith(".") else base


class Downloader:
    """Fetches outputs.

    Args:
        force: whether files that exist are replaced.
    """

    def __init__(self, client: Client, *, force: bool) -> None:
        self._client = client
        self._force = force

    def fetch(self, items: list[Item]) -> Iterator[tuple[Item, bool]]:
        """Fetches one after the other; each stands under its name when it is complete, and not before.

        Yields:
            each item, and whether it had to be fetched: files that are there already, with the right content, stay.

        Raises:
            UsageError: files would be replaced without `force`; nothing has been fetched then.
            WaasError: one can't be fetched or written.
        """
        there = {item.target for item in items if item.target.exists() and _same(item)}
        blocked = [item.target for item in items if item.target not in there and os.path.lexists(item.target)]
        if blocked and not self._force:
            names = ", ".join(map(str, blocked))
            raise UsageError(f"Already there: {names}. Nothing was downloaded.", hint="Add --force to replace them.")
        for item in items:
            if item.target not in there:
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
            part.write_text(_as_json(item), encoding="utf-8")
            part.replace(item.target)

    def _file(self, item: Item) -> None:
        """Fetches a file; goes on where an earlier try, of this run or one before, was cut off."""
        part = _part(item)
        for attempt in range(1, _TRIES + 1):
            try:
                self._rest(item, part)
                break
            except requests.RequestException:
                if attempt == _TRIES:
                    raise WaasError(
                        f"The connection was lost while {item.target.name} came in.",
                        hint="Give the same command again: it goes on where it stopped.",
                    ) from None
        wrong = _wrong(part, item.value)
        if wrong:
            part.unlink()
            raise WaasError(f"{item.target.name} arrived damaged: {wrong}. Try again.")
        part.replace(item.target)

    def _rest(self, item: Item, part: Path) -> None:
        size = _announced(item.value)
        # Without a size nobody could tell whether the beginning belongs to it.
        have = part.stat().st_size if size is not None and part.exists() else 0
        if size is not None and have and have >= size:
            if not _wrong(part, item.value):
                return
            have = 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with (
            self._client.request("GET", _location(item.value), headers=headers, stream=True) as response,
            part.open("ab" if response.status_code == requests.codes.partial_content else "wb") as sink,
            Progress(f"Downloading {item.target.name}", size) as progress,
        ):
            progress.advance(sink.tell())
            for chunk in response.iter_content(_CHUNK):
                sink.write(chunk)
                progress.advance(len(chunk))
                if size is not None and sink.tell() > size:
                    return  # whatever else comes, it is wrong by now

    def _directory(self, item: Item) -> None:
        """Fetches a directory and unpacks it beside its place while it comes in."""
        fresh = Path(tempfile.mkdtemp(prefix=f".{item.target.name}.", suffix=".part", dir=item.target.parent))
        try:
            with (
                self._client.request(
                    "GET",
                    _location(item.value),
                    params={"archive": "tar"},
                    headers={"Accept-Encoding": "identity"},
                    stream=True,
                ) as response,
                Progress(f"Downloading {item.target.name}", None) as progress,
                # Not compressed: so what is unpacked is never larger than what came in.
                tarfile.open(fileobj=_Stream(response, progress), mode="r|") as archive,
            ):
                archive.extractall(fresh, filter=_plain)  # noqa: S202 - stricter than `data`
            fresh.chmod(0o755)
            if item.target.is_dir() and not item.target.is_symlink():
                shutil.rmtree(item.target)
            else:
                item.target.unlink(missing_ok=True)
            fresh.rename(item.target)
        except tarfile.TarError as error:
            raise WaasError(f"{item.target.name} arrived damaged: {error}.") from None
        except HTTPError:
            raise WaasError(f"The connection was lost while {item.target.name} came in. Try again.") from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _plain(member: tarfile.TarInfo, top: str) -> tarfile.TarInfo | None:
    """A filter for members of an archive: files and directories below `top`, as the service packs them.

    Raises:
        tarfile.TarError: it is something else: a link, a device, a file with holes, or it would be put elsewhere.
    """
    if member.issparse() or not (member.isreg() or member.isdir()):
        raise tarfile.ReadError(f"{member.name!r} is neither a plain file nor a directory")
    if Path(member.name).is_absolute():
        raise tarfile.AbsolutePathError(member)
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


def _location(value: Mapping[str, Any]) -> str:
    """The path to fetch from: one of the service itself, never of another host."""
    location = str(value.get("location") or "")
    if not location.startswith("/") or location.startswith("//"):
        raise WaasError(f"The service doesn't say where {value.get('basename')!r} is to be fetched.")
    return location


def _announced(value: Mapping[str, Any]) -> int | None:
    """How many bytes a file has, says the service; None when it doesn't."""
    size = value.get("size")
    return None if size is None else int(size)


def _part(item: Item) -> Path:
    """Where a download grows. The name depends on what is fetched, so that no other file is taken for its beginning."""
    identity = json.dumps(item.value, sort_keys=True, default=str)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return item.target.with_name(f".{item.target.name}.{digest}.part")


def _same(item: Item) -> bool:
    """Whether the target holds just what would be fetched; nobody can tell of directories."""
    if item.kind is None:
        return item.target.is_file() and item.target.read_text(encoding="utf-8", errors="replace") == _as_json(item)
    return item.kind == "File" and bool(item.value.get("checksum")) and not _wrong(item.target, item.value)


def _as_json(item: Item) -> str:
    return to_json(item.value, indent=2) + "\n"


def _wrong(file: Path, value: Mapping[str, Any]) -> str | None:
    """In which way a file differs from what the service says of it; None when it doesn't."""
    if not file.is_file():
        return "it is no file"
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
