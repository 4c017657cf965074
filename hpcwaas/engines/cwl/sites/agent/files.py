"""Files that are on the disk whole or not at all, and trees of them."""

import contextlib
import errno
import json
import os
import shutil
import stat
from datetime import datetime, timezone
from typing import IO, Any, Callable, Dict, Optional

from hpcwaas.engines.cwl.sites.agent.answers import JSON


def write(path: str, content: bytes) -> None:
    """Replaces a file at once, and has it on the disk."""
    draft = f"{path}.{os.getpid()}.new"
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.rename(draft, path)
        except IsADirectoryError:  # which a job has put there
            remove_tree(path)
            os.rename(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        error.filename = path  # errors of writing name no file
        raise


def dump(value: JSON) -> bytes:
    """JSON in ASCII: halves of surrogates, which names of files may hold, stay what they are."""
    return json.dumps(value).encode("ascii")


def load(path: str) -> JSON:
    """A JSON object or array; None when there is none: the disk did not keep it whole, or something else has written
    there."""
    try:
        with open_file(path) as file:
            content = file.read(_MOST_JSON + 1)
        value = json.loads(content.decode()) if len(content) <= _MOST_JSON else None
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def load_object(path: str) -> Dict[str, JSON]:
    """A JSON object; an empty one when there is none."""
    value = load(path)
    return value if isinstance(value, dict) else {}


def open_file(path: str) -> IO[bytes]:
    """Opens a regular file for reading; see `descriptor_of`."""
    return open(descriptor_of(path, os.O_RDONLY), "rb")


def descriptor_of(path: str, flags: int) -> int:
    """Opens a regular file. Jobs may put anything else in its place, such as a FIFO, which would block.

    Raises:
        OSError: there is something else, or nothing.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file", path)
    return descriptor


def link(source: str, target: str) -> None:
    """Gives a file another name."""
    try:
        os.link(source, target)
    except OSError:  # not every file system knows links from one directory to another
        shutil.copy2(source, target)


def touch(path: str) -> None:
    """Makes a file, or sets its time by the clock of the file system."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o600))
    os.utime(path)


def seen(path: str) -> Optional[os.stat_result]:
    """The present status of a file. A network file system asks its server only for what is opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)
    return None


def remove_tree(path: str) -> None:
    """Removes what can be removed of a directory, whatever rights a tool took away."""

    def again(function: Callable[..., Any], name: str, _: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), stat.S_IRWXU)
            os.chmod(name, stat.S_IRWXU)
            if function in (os.unlink, os.remove, os.rmdir):
                function(name)
            else:
                shutil.rmtree(name, ignore_errors=True)

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, onerror=again)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)


def disk_use(path: str) -> int:
    """Bytes that a directory occupies."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += max(4096, os.lstat(os.path.join(folder, name)).st_blocks * 512)
    return total


def now() -> str:
    """The present time."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def size_text(size: int) -> str:
    """A number of bytes as people write it."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} bytes"


def time_text(seconds: int) -> str:
    """A time as Slurm writes it."""
    days, rest = divmod(seconds, 86400)
    text = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text


_MOST_JSON = 32 << 20
RESERVE = 64 << 10
CHUNK = 1 << 18
