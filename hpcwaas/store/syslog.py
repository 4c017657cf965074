"""Sends lines to a syslog server, journald included. Never waits: what it doesn't take at once is lost, and counted."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

_LOGGER = logging.getLogger(__name__)
_INFO_OF_AUTHPRIV = 10 << 3 | 6
_COMPLAIN_EVERY = 60.0
"""Seconds between two entries of the log that tell of lost lines."""


class Syslog:
    """Sends each line as a message of the facility `authpriv`.

    Args:
        address: path of a socket, `/dev/log` for instance, or `HOST:PORT` for UDP.

    Raises:
        OSError: there is nothing.
    """

    def __init__(self, address: str, name: str) -> None:
        self._address, self._name = address, name
        self._lock = threading.Lock()
        self._lost, self._complained = 0, -_COMPLAIN_EVERY
        self._socket: socket.socket | None = self._connect()

    def send(self, line: str) -> None:
        """Sends a line, which holds ASCII only."""
        message = f"<{_INFO_OF_AUTHPRIV}>{self._name}[{os.getpid()}]: {line}".encode()
        with self._lock:
            if self._sent(message) or self._sent(message):  # the second time to one that was started anew
                return
            self._lost += 1
            if time.monotonic() - self._complained >= _COMPLAIN_EVERY:
                self._complained = time.monotonic()
                _LOGGER.error(
                    "The syslog at %s accepts no records. Records that it lacks so far: %d", self._address, self._lost
                )

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            self._drop()

    def _sent(self, message: bytes) -> bool:
        try:
            if self._socket is None:
                self._socket = self._connect()
            self._socket.send(message)
            return True
        except OSError:
            self._drop()
            return False

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        if self._address.startswith("/"):
            family, target = socket.AF_UNIX, self._address
        else:
            host, _, port = self._address.rpartition(":")
            family, _, _, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]  # type: ignore[assignment]
        connection = socket.socket(family, socket.SOCK_DGRAM)
        try:
            connection.setblocking(False)
            connection.connect(target)
        except OSError:
            connection.close()
            raise
        return connection
