"""Checks archives in a process of its own, which can do nothing but compute: no more than so much, and of files it has
only those that are handed to it. Whatever an archive does to its reader, the service goes on.

`archive_checks.py` starts it. To start quickly, it imports nothing beyond Python's own library, `archives` and what
confines it.
"""

from __future__ import annotations

import array
import os
import resource
import socket
import struct
from pathlib import Path

from hpcwaas.common import kernel
from hpcwaas.engines.cwl.confinement import landlock
from hpcwaas.engines.cwl.inputs.archives import ArchiveError, look

MEMORY_LIMIT = 512 * 2**20
"""Bytes of address space."""

CPU_LIMIT = 5
"""Seconds for one archive, in whole ones; the largest honest archive takes about one."""

MESSAGE_LIMIT = 4096
"""Bytes of a question and of an answer."""

QUESTION = struct.Struct("<Q")

OK, REFUSED = b"+", b"-"


def main() -> None:
    """Answers questions on standard input, a socket: a descriptor with the most bytes that it may hold."""
    os.nice(10)
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_LIMIT),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (most, most))
    confine()
    with socket.socket(fileno=0) as parent:
        while question := _receive(parent):
            descriptor, max_bytes = question
            used = resource.getrusage(resource.RUSAGE_SELF)
            limit = int(used.ru_utime + used.ru_stime) + CPU_LIMIT
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            with os.fdopen(descriptor, "rb") as source:
                try:
                    answer = OK + look(source, max_bytes).encode()
                except MemoryError:
                    answer = REFUSED + b"unpacking it takes more memory than is allowed"
                except ArchiveError as error:
                    answer = REFUSED + str(error).encode(errors="replace")[: MESSAGE_LIMIT - 1]
            parent.send(answer)


def confine() -> None:
    """Leaves this process no file to open but those of Python's own library, where names of character sets lead to
    modules. Without Landlock the limits alone hold."""
    kernel.gain_no_privileges()
    if landlock.version():
        landlock.restrict([(Path(os.__file__).parent, landlock.READ)])


def _receive(parent: socket.socket) -> tuple[int, int] | None:
    room = array.array("i").itemsize
    data, ancillary, _, _ = parent.recvmsg(QUESTION.size, socket.CMSG_SPACE(room))
    if not data:
        return None
    (descriptor,) = array.array("i", ancillary[0][2][:room])
    return descriptor, QUESTION.unpack(data)[0]
