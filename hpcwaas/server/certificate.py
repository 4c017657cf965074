"""The certificate by which the service shows who it is, when it speaks TLS itself."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from hpcwaas.common import tls_files

_LOGGER = logging.getLogger(__name__)


class Identity:
    """A certificate and its key, which are exchanged for others from time to time.

    Args:
        certificate: PEM file, read already.
        key: likewise.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self._seen = self._state()

    def renew(self, context: ssl.SSLContext) -> None:
        """Lets new connections have what the files hold, if that has changed and belongs together."""
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        problem = next((it for path in self._files if (it := tls_files.unreadable(path))), None)
        problem = problem or next((text for _, text in tls_files.wrong_identity(*self._files)), None)
        if problem:  # one of the two may have been written first: the other one follows
            _LOGGER.warning("The service goes on with its certificate from before: %s", problem)
            return
        context.load_cert_chain(*self._files)
        _LOGGER.info("The service has taken its new certificate from %s", self._files[0])

    def _state(self) -> tuple[object, ...]:
        found: list[tuple[int, ...] | None] = []
        for path in self._files:
            try:
                status = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)
