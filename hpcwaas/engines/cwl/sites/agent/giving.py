"""Gives the outputs of an execution."""

import io
import os
import shutil
import stat
import sys
import tarfile
import time
import zipfile
from typing import Any, Dict

from hpcwaas.engines.cwl.sites.agent.answers import JSON, Trouble, mark
from hpcwaas.engines.cwl.sites.agent.execution import Execution
from hpcwaas.engines.cwl.sites.agent.files import CHUNK, open_file
from hpcwaas.engines.cwl.sites.agent.outputs import contents, inside


def status(order: Dict[str, JSON]) -> Dict[str, JSON]:
    """What something among the outputs of an execution is."""
    root = os.path.realpath(Execution(order["work_dir"], order["id"]).path("outputs"))
    target = inside(root, os.path.join(root, order["path"]))
    if target is None:
        return {"kind": "outside"}
    try:
        found = os.stat(target)
    except OSError:
        return {"kind": "missing"}
    kind = "file" if stat.S_ISREG(found.st_mode) else "directory" if stat.S_ISDIR(found.st_mode) else "missing"
    return {"kind": kind, "size": found.st_size, "mtime": found.st_mtime}


def give(order: Dict[str, JSON]) -> None:
    """Writes files among the outputs of an execution one behind the other, each behind a line with its number of bytes;
    -1 for one that isn't there."""
    root = os.path.realpath(Execution(order["work_dir"], order["id"]).path("outputs"))
    mark(order, b" DATA")
    stream = sys.stdout.buffer
    for path in order["paths"]:
        target = inside(root, os.path.join(root, path))
        try:
            file = open_file(target or "")
        except OSError:
            stream.write(b"-1\n")
            continue
        with file:
            left = os.fstat(file.fileno()).st_size
            stream.write(b"%d\n" % left)
            while left:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    sys.exit("a file among the outputs has become shorter")
                left -= stream.write(chunk)
    stream.flush()


class _Out(io.RawIOBase):
    """Standard output as a file that can't be sought in, whatever it is."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        sys.stdout.buffer.write(data)
        return len(data)


def pack(order: Dict[str, JSON]) -> None:
    """Writes an archive of a directory among the outputs of an execution."""
    root = os.path.realpath(Execution(order["work_dir"], order["id"]).path("outputs"))
    directory = inside(root, os.path.join(root, order["path"]))
    if directory is None or not os.path.isdir(directory):
        raise Trouble("missing", order["path"], "there is no such directory among the outputs")
    mark(order, b" DATA")
    found = contents(directory, lambda name, reason: None)
    if order["kind"] == "zip":
        with zipfile.ZipFile(_Out(), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path, info in found:
                _zip(archive, name, path, info)
    else:
        with tarfile.open(fileobj=_Out(), mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for name, path, info in found:
                member = tarfile.TarInfo(_encodable(name))
                member.mode, member.mtime = stat.S_IMODE(info.st_mode), int(info.st_mtime)
                if stat.S_ISDIR(info.st_mode):
                    member.type = tarfile.DIRTYPE
                    tar.addfile(member)
                else:
                    with open(path, "rb") as file:
                        member.size = os.fstat(file.fileno()).st_size
                        tar.addfile(member, file)
    sys.stdout.buffer.flush()


def _zip(archive: zipfile.ZipFile, name: str, path: str, info: os.stat_result) -> None:
    moment = time.localtime(min(max(info.st_mtime, 0), 1 << 33))[:6]
    moment = min(max((1980, 1, 1, 0, 0, 0), moment), (2107, 12, 31, 23, 59, 58))
    directory = stat.S_ISDIR(info.st_mode)
    member = zipfile.ZipInfo(_encodable(name) + ("/" if directory else ""), moment)
    member.external_attr = (info.st_mode & 0xFFFF) << 16 | (0x10 if directory else 0)
    if directory:
        archive.writestr(member, b"")
        return
    member.compress_type = zipfile.ZIP_DEFLATED
    with open(path, "rb") as file, archive.open(member, "w", force_zip64=True) as entry:
        shutil.copyfileobj(file, entry, CHUNK)


def _encodable(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")
