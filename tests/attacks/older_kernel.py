"""Starts a program as an older kernel would: without some system calls, whose numbers the first argument names.

The last one may be a number with flags, `56&268435456`: that call with one of them in its first argument.
"""

import ctypes
import os
import struct
import sys

_NO_SUCH_CALL = 38


def main() -> None:
    """Runs the rest of the arguments."""
    *calls, last = sys.argv[1].split(",")
    numbers, (with_flags, _, flags) = [int(number) for number in calls], last.partition("&")
    program = [(0x20, 0, 0, 0)]  # the number of the call
    program += [(0x15, len(numbers) + 3 - place, 0, number) for place, number in enumerate(numbers)]
    program += [(0x15, 0, 2, int(with_flags)), (0x20, 0, 0, 16), (0x45, 1, 0, int(flags)) if flags else (0x05, 0, 0, 1)]
    program += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050000 | _NO_SUCH_CALL)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, header, 0, 0) == 0
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606


main()
