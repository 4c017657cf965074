"""Makes what a tool left deliverable, before the runner collects its outputs: runners follow links in circles, wait for
pipes, and give the whole execution up for one name that they can't say."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpcwaas.engines.cwl.storage.packing import shown
from hpcwaas.engines.cwl.storage.trees import DEPTH_LIMIT, copy_file, remove_tree

PATH_LIMIT = 3500
"""Bytes of the longest path: 4096 are the system's, and outputs are moved."""

NAMED = 20
"""Most things that are named in warnings; the others are counted."""

_COPY_LIMIT = 100_000
"""Files and directories that links to directories may become."""


@dataclass(slots=True)
class Tidier:
    """Tidies the directory in which a tool ran.

    Attributes:
        directory: the tool's.
        inside: the tool's own name for it, which a container may have changed.
        known: directories whose files an output may come from besides.
        warn: takes a warning.
    """

    directory: Path
    inside: str
    known: Sequence[Path]
    warn: Callable[[str], object]
    _pending: list[Path] = field(default_factory=list)
    _dropped: int = 0
    _copies: int = 0
    _origins: dict[Path, Path] = field(default_factory=dict)

    def tidy(self) -> None:
        """Removes what can't be delivered, each with a warning that names it, puts files in place of links, and makes
        readable what the tool closed."""
        self._pending.append(self.directory)
        while self._pending:
            folder = self._pending.pop()
            self._open(folder, stat.S_IRWXU)
            try:
                with os.scandir(folder) as entries:
                    found = list(entries)
            except OSError as error:
                self._drop(folder, f"it can't be read ({error.strerror})")
                continue
            for entry in found:
                try:
                    self._look(Path(entry.path), entry.stat(follow_symlinks=False).st_mode)
                except OSError as error:
                    if os.path.lexists(entry.path):
                        self._drop(Path(entry.path), f"it can't be read ({error.strerror})")
        if self._dropped > NAMED:
            self.warn(f"The same applies to {self._dropped - NAMED} more of its files.")

    def _look(self, path: Path, mode: int) -> None:
        try:
            path.name.encode()
        except UnicodeEncodeError:
            self._drop(path, "its name isn't UTF-8")
            return
        if stat.S_ISLNK(mode):
            self._resolve(path)
        elif stat.S_ISDIR(mode):
            if len(path.relative_to(self.directory).parts) > DEPTH_LIMIT or len(os.fsencode(path)) > PATH_LIMIT:
                self._drop(path, f"it lies deeper than {DEPTH_LIMIT} directories, or its path is too long")
            else:
                self._pending.append(path)
        elif stat.S_ISREG(mode):
            self._open(path, stat.S_IRUSR)
            if not os.access(path, os.R_OK):
                self._drop(path, "it can't be read")
        else:
            self._drop(path, "it is a pipe, a socket or a device")

    def _open(self, path: Path, right: int) -> None:
        """Gives the owner a right that the tool has taken away."""
        mode = path.stat().st_mode
        if mode & right != right:
            with contextlib.suppress(OSError):
                path.chmod(stat.S_IMODE(mode) | right)

    def _resolve(self, link: Path) -> None:
        """Puts what a link leads to into its place; at the top, where the runner makes links itself, a plain
        link of what comes from elsewhere."""
        target = self._target(link)
        if target is None:
            self._drop(link, "it is a link that leads nowhere, or in a circle")
            return
        top = Path(os.path.realpath(self.directory))
        own = target.is_relative_to(top)
        if not own and not any(target.is_relative_to(os.path.realpath(known)) for known in self.known):
            self._drop(link, "it is a link that leads out of the execution's files")
        elif own and any(place.is_relative_to(target) for place in self._identities(link.parent)):
            self._drop(link, "it is a link to a directory that it lies in itself")
        elif not own and link.parent == self.directory and link.exists():
            link.unlink()
            link.symlink_to(target)
        elif target.is_file():
            link.unlink()
            _place(target, link, own)
            self._look(link, link.lstat().st_mode)
        elif target.is_dir():
            link.unlink()
            self._origins[Path(os.path.realpath(link))] = target
            if self._copy(target, link, own):
                self._pending.append(link)
        else:
            self._drop(link, "it is a link to a pipe, a socket or a device")

    def _target(self, link: Path) -> Path | None:
        """Where a link leads; None when it leads nowhere."""
        with contextlib.suppress(OSError):
            return Path(os.path.realpath(link, strict=True))
        text = str(link.readlink())
        if text.startswith(f"{self.inside}/"):  # as it was called in a container
            with contextlib.suppress(OSError):
                return Path(os.path.realpath(self.directory / text[len(self.inside) + 1 :], strict=True))
        return None

    def _identities(self, folder: Path) -> Iterator[Path]:
        """Where a directory is, and where those are of which it or what it lies in is a copy."""
        waiting = [Path(os.path.realpath(folder))]
        while waiting:
            place = waiting.pop()
            yield place
            waiting += [
                self._origins[above] / place.relative_to(above)
                for above in (place, *place.parents)
                if above in self._origins
            ]

    def _copy(self, source: Path, target: Path, own: bool) -> bool:
        """Copies a directory, with its links, which are looked at later."""
        waiting = [(source, target)]
        while waiting:
            source, place = waiting.pop()
            self._copies += 1
            place.mkdir()
            with os.scandir(source) as entries:
                found = list(entries)
            for entry in found:
                self._copies += 1
                inner = place / entry.name
                if self._copies > _COPY_LIMIT or len(os.fsencode(inner)) > PATH_LIMIT:
                    self._drop(target, "it is a link to a directory, and links lead to too much")
                    return False
                if entry.is_symlink():
                    inner.symlink_to(os.path.realpath(entry.path))
                elif entry.is_dir():
                    waiting.append((Path(entry.path), inner))
                elif entry.is_file():
                    _place(Path(entry.path), inner, own)
        return True

    def _drop(self, path: Path, reason: str) -> None:
        self._dropped += 1
        if self._dropped <= NAMED:
            self.warn(f"The tool's {shown(str(path.relative_to(self.directory)))} is dropped: {reason}.")
        if path == self.directory:
            return
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)


def _place(source: Path, target: Path, own: bool) -> None:
    """Puts a file to another place as well; one of the tool's own without a copy, where that is possible."""
    if own:
        with contextlib.suppress(OSError):
            target.hardlink_to(source)
            return
    copy_file(source, target)
    shutil.copymode(source, target)
