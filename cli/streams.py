"""Event streams of the service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import requests

from .client import Client
from .errors import Unreachable, WaasError

_MEDIA_TYPE = "text/event-stream"
_SILENCE_SECONDS = 60.0
"""After so long without a sign of life, which comes every ten seconds, a stream is dead."""
_SETTLING_SECONDS = 0.2
"""What changes together is told one after another."""


class Event(NamedTuple):
    """What a stream tells.

    Attributes:
        kind: empty for a sign of life.
        id: by which the stream can be gone on with; None when it brings none.
    """

    kind: str
    data: Mapping[str, Any]
    id: str | None


def headers(last_id: str | None = None) -> dict[str, str]:
    """Headers of a request for a stream, or for JSON where there is none.

    Args:
        last_id: of the event that came last.
    """
    # A proxy that compresses it would keep it until there is enough.
    wanted = {"Accept": f"{_MEDIA_TYPE}, application/json", "Accept-Encoding": "identity"}
    return wanted if last_id is None else {**wanted, "Last-Event-ID": last_id}


def is_stream(answer: requests.Response) -> bool:
    """Whether an answer is a stream that comes piece by piece: some proxies know only whole answers."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind == _MEDIA_TYPE and bool(getattr(answer.raw, "chunked", False))


def events(answer: requests.Response) -> Iterator[Event]:
    """The events of a stream, as they come.

    Raises:
        requests.RequestException: it was cut.
    """
    rest = b""
    for piece in answer.iter_content(None):
        *blocks, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
        for block in blocks:
            yield _event(block.decode(errors="replace"))


def _event(block: str) -> Event:
    kind, event_id, data = "", None, list[str]()
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            event_id = value
        elif name == "data":
            data.append(value)
    try:
        content = json.loads("\n".join(data)) if data else {}
    except ValueError:
        content = {}
    return Event(kind, content if isinstance(content, dict) else {}, event_id)


class News:
    """Waits until an execution changes, where the service has streams that tell of it; else for some time.

    Args:
        where: path of the stream.
        tells: whether it tells of all that matters.
    """

    def __init__(
        self,
        client: Client,
        where: str,
        params: Mapping[str, Any] | None = None,
        *,
        tells: Callable[[], bool] = lambda: True,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._where = where
        self._params = params
        self._tells = tells
        self._sleep = sleep
        self._clock = clock
        self._there = True
        self._last: str | None = None
        self._answer: requests.Response | None = None
        self._events: Iterator[Event] = iter(())

    def wait(self, seconds: float, longest: float) -> None:
        """Waits.

        Args:
            seconds: when nobody tells.
            longest: when somebody does.
        """
        until = self._clock() + longest
        try:
            if not (self._tells() and self._open()):
                self._sleep(seconds)
                return
            for event in self._events:
                self._last = event.id or self._last
                if event.kind in ("execution", "removed", "missed", "end"):
                    self._sleep(_SETTLING_SECONDS)
                    return
                if self._clock() >= until:
                    return
        except (requests.RequestException, WaasError):
            pass
        self.close()  # it has ended, or was cut
        self._sleep(seconds)

    def close(self) -> None:
        """Waits no more."""
        if self._answer is not None:
            self._answer.close()
        self._answer, self._events = None, iter(())

    def _open(self) -> bool:
        if self._answer is not None or not self._there:
            return self._there
        try:
            answer = self._client.request(
                "GET",
                self._where,
                params=self._params,
                headers=headers(self._last),
                stream=True,
                timeout=_SILENCE_SECONDS,
                retry=False,
                quiet=True,
            )
        except WaasError as failure:
            self._there = isinstance(failure, Unreachable)
            return False
        if not is_stream(answer):
            answer.close()
            self._there = False
            return False
        self._answer, self._events = answer, events(answer)
        return True
