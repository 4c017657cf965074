"""Sends requests to an orchestrator's server, and knows whether it answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import requests

from hpcwaas.common.http import HTTPClient, NoAnswer
from hpcwaas.engines.orchestrated.reach import Reach
from hpcwaas.errors import Unavailable, UpstreamTimeout

T = TypeVar("T")

LARGEST_ANSWER = 64 * 2**20
"""Bytes. The largest one seen, a topology, has 50 kB; a page of 1000 applications about 1 MB."""

CONNECTIONS = 96
"""Kept open: one for each thread that may call at the same time."""

_PROBE = 3.0
"""Seconds for which an answer to a probe is waited for."""

_TRIES = 3


class ServerTransport:
    """The way to a server, for any number of threads.

    Args:
        server: its name.
        http: calls it.
        address: where it is.
        timeouts: seconds to wait for a connection and for an answer: those of `http`.
        probe: path of what it answers without more ado.
    """

    def __init__(self, server: str, http: HTTPClient, address: str, timeouts: tuple[float, float], probe: str) -> None:
        self._http = http
        self._address = address.rstrip("/")
        self._timeouts = timeouts
        self._probe_path = probe
        self._clock_ahead = 0.0
        self._reach = Reach(server, self._probe)

    @property
    def silent_since(self) -> datetime | None:
        """Since when the server hasn't answered; None when it does."""
        return self._reach.silent_since

    @property
    def clock_ahead(self) -> float:
        """Seconds by which the server's clock is ahead of ours, to a second, by its last answer."""
        return self._clock_ahead

    def time_left(self) -> float:
        """Seconds that what the present call of a user has to do may still take."""
        return self._http.time_left()

    def retried(self, attempt: Callable[[], T], *, unless_sent: bool = False) -> T:
        """As `HTTPClient.retried`."""
        return self._http.retried(attempt, _TRIES, unless_sent=unless_sent)

    def close(self) -> None:
        """Closes the connections."""
        self._reach.close()
        self._http.close()

    def _send(
        self,
        method: str,
        path: str,
        data: Mapping[str, str] | bytes | None,
        headers: Mapping[str, str],
        *,
        params: Mapping[str, str | int] | None = None,
        timeout: float | None = None,
        wait: float = 0.0,
    ) -> requests.Response:
        """Sends a request, once.

        Args:
            timeout: seconds, instead of the usual ones for an answer and for a connection.
            wait: seconds for which the server may wait for something to answer with.
        """
        self._reach.require()
        began = time.monotonic()
        connect, read = self._timeouts if timeout is None else (timeout, timeout)
        try:
            response = self._http.request(
                method, self._address + path, data=data, params=params, headers=headers, timeouts=(connect, read + wait)
            )
        except NoAnswer as failure:
            if failure.sent or isinstance(failure.error, Unavailable):  # else there was no time left to ask
                # A call that had little time left says little about the server.
                patient = timeout is None and time.monotonic() - began >= read / 2 + wait
                slow = patient and isinstance(failure.error, UpstreamTimeout)
                self._reach.failed(failure, began, slow=slow, why=f"{method} {path}: {failure.why}")
            raise
        self._note_clock(response.headers.get("Date"))
        return response

    def _unusable(self, failure: NoAnswer, began: float, method: str, path: str, response: requests.Response) -> None:
        """Notes that an answer is none."""
        kind = response.headers.get("Content-Type", "")[:80]
        why = f"{method} {path}: {response.status_code} with {len(response.content)} bytes of {kind}"
        self._reach.failed(failure, began, slow=False, why=why)

    def _probe(self) -> None:
        """Asks for any answer, past what keeps other calls from it."""
        self._http.request("GET", self._address + self._probe_path, timeouts=(_PROBE, _PROBE))

    def _note_clock(self, date: str | None) -> None:
        if date:
            try:
                self._clock_ahead = parsedate_to_datetime(date).timestamp() - time.time()
            except ValueError:
                return
