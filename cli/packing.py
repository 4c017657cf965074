"""Local directories as archives."""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import UsageError
from .ignored import NAME, Ignore

_CHOICE = "Choose with --links follow to send what links lead to, or with --links skip to leave them out."


@contextmanager
def packed(directory: Path, links: str, note: Callable[[str], None]) -> Iterator[BinaryIO]:
    """The content of a directory as a tar file, open at its start. Symbolic links become what they lead to.

    Args:
        links: as for `Uploader`.
        note: tells the user what was left out.

    Raises:
        UsageError: something can't be read or packed.
    """
    content = _Content(directory, links)
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w:gz", dereference=True, compresslevel=6) as tar:
            for found, way in content.members():
                try:
                    tar.add(found, arcname=way, recursive=False, filter=_anonymous)
                except OSError as error:
                    raise UsageError(f"Can't read {found}: {error.strerror}.") from None
        for number, words in ((content.ignored, f"by {NAME}"), (content.skipped, "since they are symbolic links")):
            if number:
                note(f"Left out of {directory} {words}: {number} of its members")
        archive.seek(0)
        yield archive


class _Content:
    """What of a directory is sent.

    Attributes:
        ignored, skipped: how many members were left out by rules, and how many links.
    """

    def __init__(self, directory: Path, links: str) -> None:
        self._top = directory
        self._links = links
        self._ignore = Ignore.of(directory)
        self.ignored = 0
        self.skipped = 0

    def members(self) -> Iterator[tuple[Path, str]]:
        """All files and directories, each with its way from the top; directories before what is in them."""
        return self._below(self._top, "", (os.path.realpath(self._top),))

    def _below(self, directory: Path, way: str, above: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
        try:
            names = sorted(os.listdir(directory))  # noqa: PTH208 - names, not paths
        except OSError as error:
            raise UsageError(f"Can't read {directory}: {error.strerror}.") from None
        for name in names:
            found, here = directory / name, f"{way}{name}"
            is_link = found.is_symlink()
            if self._ignore.matches(here, is_directory=found.is_dir() and not is_link):
                self.ignored += here != NAME
            elif is_link and self._links == "skip":
                self.skipped += 1
            else:
                mode = self._mode(found, is_link=is_link)
                yield found, here
                if stat.S_ISDIR(mode):
                    real = os.path.realpath(found)
                    if real in above:
                        raise UsageError(f"{found} is a symbolic link to a directory that it is in.", hint=_CHOICE)
                    yield from self._below(found, f"{here}/", (*above, real))

    def _mode(self, found: Path, *, is_link: bool) -> int:
        """What a member is, as far as an archive can hold it."""
        try:
            mode = found.stat().st_mode
        except OSError as error:
            hint = _CHOICE if is_link else None
            raise UsageError(f"Can't read {found}: {error.strerror}.", hint=hint) from None
        if is_link and stat.S_ISDIR(mode) and self._links == "files":
            raise UsageError(f"{found} is a symbolic link to a directory.", hint=_CHOICE)
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise UsageError(f"{found} is neither a file nor a directory.")
        return mode


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leaves out who owns the file here; hard links become files of their own."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
