"""Overwrites what secrets leave in memory that is free again."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

_SMALL = 512
"""Bytes up to which Python gives out memory by itself, in steps of 16."""
_SIZES = range(16, 12288, 16)
"""Bytes that secrets, and what they come wrapped in, may take. The C library looks for the least that does."""
_EACH_SMALL, _EACH = 512, 16
_HEAD = 33
"""Bytes of a `bytes` besides its content."""

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]


@contextlib.contextmanager
def forgetting() -> Iterator[None]:
    """Around work with a secret, to which nothing refers any more when it is done. Also a decorator.

    Neither Python nor the libraries that read keys wipe what they free: it stays until something else is put there.
    What a thread frees last it is given first, so that zeros are put there, in some milliseconds. It may miss a place.
    """
    try:
        yield
    finally:
        for size in range(_HEAD + 2, _SMALL + 1, 16):
            _ = [b"\0" * (size - _HEAD) for _ in range(_EACH_SMALL)]
        for size in _SIZES:
            blocks = [block for _ in range(_EACH) if (block := _libc.malloc(size))]
            for block in blocks:
                ctypes.memset(block, 0, size)
            for block in blocks:
                _libc.free(block)
