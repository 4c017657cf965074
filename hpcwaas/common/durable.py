"""Files that are on the disk completely, or not at all, whenever the machine stops."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from hpcwaas.errors import ConfigurationError

_TICK = 0.02
"""Seconds between two tries to lock: the system call waits for ever or not at all."""


def sync_directory(directory: Path) -> None:
    """Brings what was last made, renamed or removed in a directory to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Makes a file that only this account can read. Its content is on the disk when the block ends; when that fails,
    there is no file."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise


def write(path: Path, content: bytes) -> None:
    """Writes a file and waits until its content is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes) -> None:
    """Replaces a file at once: readers, and whoever comes after a loss of power, see the old content or the new one.
    One process at a time may do so: what a crash of one before left is written over."""
    draft = path.with_name(path.name + ".new")
    write(draft, content)
    draft.rename(path)
    sync_directory(path.parent)


def lock(path: Path, patience: float = 0) -> int | None:
    """Takes the exclusive lock of a file, made when missing.

    Args:
        patience: seconds to wait for somebody else to let it go.

    Returns:
        a descriptor that holds it until all its copies are closed; None when somebody else holds the lock.
    """
    deadline = time.monotonic() + patience
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(_TICK)


def replace_among_others(path: Path, content: bytes) -> None:
    """As `replace`, for a file that several processes may replace at once and only this account can read."""
    draft = _draft(path, content)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink()
        raise
    sync_directory(path.parent)


def read_or_create_secret(path: Path, make: Callable[[], str], setting: str) -> str:
    """Reads a secret; when there is none yet, makes one that only this account can read.

    Of several processes that find none at the same time, one makes it and the others read that one. The file appears
    under its name complete and on the disk, or not at all.

    Args:
        make: gives a new secret, in ASCII.
        setting: name of the setting to blame.

    Raises:
        ConfigurationError: others may read the file, or it can't be read or made.
    """
    try:
        try:
            return _read(path, setting)
        except FileNotFoundError:
            _create(path, make())
            return _read(path, setting)
    except OSError as error:
        raise ConfigurationError(setting, f"can't use the file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            setting, f"the file {path} wasn't written by this service: restore the original file"
        ) from error


def _read(path: Path, setting: str) -> str:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ConfigurationError(setting, f"others may read {path} (mode {mode:04o}): `chmod 600 {path}`")
        return file.read().decode("ascii").strip()


def replace_secret(path: Path, secret: str, setting: str) -> None:
    """Puts another secret into a file, which is the old one or the new one whenever the machine stops.

    Args:
        setting: name of the setting to blame.

    Raises:
        ConfigurationError: it can't be written.
    """
    try:
        replace_among_others(path, f"{secret}\n".encode("ascii"))
    except OSError as error:
        raise ConfigurationError(setting, f"can't write the file {path}: {error.strerror}") from error


def _create(path: Path, secret: str) -> None:
    draft = _draft(path, f"{secret}\n".encode("ascii"))
    try:
        os.link(draft, path)  # unlike a rename it doesn't replace what another process made meanwhile
        sync_directory(path.parent)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _draft(path: Path, content: bytes) -> Path:
    """A file beside another, on the disk."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with new_file(draft) as file:
        file.write(content)
    return draft
