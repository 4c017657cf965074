"""Unpacks archives. The service has looked at them before, at what that tells without unpacking."""

import contextlib
import errno
import os
import shutil
import stat
import tarfile
import zipfile
from functools import partial
from typing import Any, Callable, Iterator, Tuple

from hpcwaas.engines.cwl.sites.agent.files import CHUNK, remove_tree

_MEMBER_LIMIT = 100_000
DEPTH_LIMIT = 100


def _members(path: str, kind: str) -> Iterator[Tuple[str, bool, bool, Callable[[], Any]]]:
    """(name, whether a directory, whether a program, opener) of what is in an archive.

    Raises:
        ValueError: it holds what it must not.
    """
    if kind == "zip":
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                mode = info.external_attr >> 16
                if stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise ValueError(f"{info.filename!r} is a link or a device")
                name = info.filename
                if not info.flag_bits & 0x800:  # UTF-8 all the same, when it was written on Linux or macOS
                    with contextlib.suppress(UnicodeError):
                        name = name.encode("cp437").decode()
                yield name, name.endswith("/"), bool(mode & 0o100), partial(archive.open, info)
        return
    with tarfile.open(path, "r:*") as tar:
        for member in tar:
            if not (member.isfile() or member.isdir()):
                raise ValueError(f"{member.name!r} is a link or a device")
            yield member.name, member.isdir(), bool(member.mode & 0o100), partial(tar.extractfile, member)


def unpack(source: str, target: str, kind: str) -> None:
    """Unpacks an archive into a new directory, completely or not at all: plain files and directories, nothing outside.

    Raises:
        ValueError: it is damaged, or holds what it must not; says what.
    """
    draft = f"{target}.{os.getpid()}.new"
    remove_tree(draft)
    os.makedirs(draft)
    try:
        for number, (name, directory, program, opener) in enumerate(_members(source, kind)):
            if number >= _MEMBER_LIMIT:
                raise ValueError(f"it has more than {_MEMBER_LIMIT} members")
            parts = [part for part in name.rstrip("/").split("/") if part != "."]
            if name.startswith("/") or ".." in parts or "" in parts or "\0" in name or len(parts) > DEPTH_LIMIT:
                raise ValueError(f"{name!r} is no path inside it")
            place = os.path.join(draft, *parts)
            os.makedirs(place if directory else os.path.dirname(place), exist_ok=True)
            if directory:
                continue
            mode = 0o777 if program else 0o666
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
            with os.fdopen(descriptor, "wb") as file, opener() as stream:
                shutil.copyfileobj(stream, file, CHUNK)
        os.rename(draft, target)
    # RuntimeError: it is encrypted. NotImplementedError: it is compressed in a way that zipfile doesn't know.
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"it is damaged: {error}") from error
    except OSError as error:
        if error.errno in (None, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
            raise ValueError(f"it is damaged, or a name in it can't be used: {error.strerror or error}") from error
        raise
    except Exception as error:  # those of compressions have no common base, and not every Python has all of them
        if type(error).__module__ in ("zlib", "lzma", "_lzma", "struct"):
            raise ValueError(f"it is damaged: {error}") from error
        raise
    finally:
        if os.path.isdir(draft):
            remove_tree(draft)
