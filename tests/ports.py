"""Ports that are listened on later, or again."""

from __future__ import annotations

import contextlib
import secrets
import socket

_FIRST, _COUNT = 20_000, 12_000
"""Outside of those that the system gives to whoever asks for any: nobody gets one of these by chance meanwhile."""


def free_port() -> int:
    """A port that nobody listens on."""
    while True:
        port = _FIRST + secrets.randbelow(_COUNT)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
