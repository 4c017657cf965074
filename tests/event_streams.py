"""Reads event streams as the HTML standard says (9.2.6), for tests."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import requests
from urllib3.exceptions import HTTPError

from tests.service import Client
from tests.waiting import until


@dataclass(frozen=True)
class Event:
    """An event; `last_id` is what its client would go on with."""

    kind: str
    data: str
    last_id: str

    @property
    def value(self) -> Any:
        """What its data says."""
        return json.loads(self.data)


class Parser:
    """Makes events of what comes, however it is cut."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.comments = 0
        self.retry: int | None = None
        self._rest = ""
        self._id = ""
        self._kind, self._data = "", list[str]()

    def feed(self, text: str) -> None:
        """Takes what has come."""
        *lines, self._rest = (self._rest + text).replace("\r\n", "\n").split("\n")
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        if not line:
            if self._data:
                self.events.append(Event(self._kind or "message", "\n".join(self._data), self._id))
            self._kind, self._data = "", []
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self.comments += 1
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case "id":
                self._id = value
            case "retry":
                self.retry = int(value)


class Stream:
    """A stream that is read beside the test, inside a `with` block.

    Attributes:
        over: whether the service has ended it.
    """

    def __init__(self, user: Client, path: str, last_id: str | None = None, **params: Any) -> None:
        headers = {**user.headers, "Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        self.answer = requests.get(user.url + path, headers=headers, params=params, stream=True, timeout=60)
        self.parser = Parser()
        self.over = self.cut = False
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        assert self.answer.status_code == 200, self.answer.text
        assert self.answer.headers["Content-Type"] == "text/event-stream"
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leaves it."""
        with contextlib.suppress(AttributeError, OSError):
            self.answer.raw._fp.fp.raw._sock.shutdown(2)  # type: ignore[union-attr]
        self._thread.join(60)
        self.answer.close()

    def _read(self) -> None:
        try:
            while content := self.answer.raw.read1(65536):
                self.parser.feed(content.decode())
            self.over = True
        except (OSError, AttributeError, ValueError, HTTPError):  # it was left, or cut
            self.cut = True

    @property
    def events(self) -> list[Event]:
        """What has come so far."""
        return self.parser.events

    def of(self, kind: str) -> list[Any]:
        """What has come so far of a kind."""
        return [event.value for event in self.events if event.kind == kind]

    def end(self) -> Any:
        """Waits until the stream has ended, and gives what its end says."""
        until(lambda: self.over or self.cut)
        assert self.events[-1].kind == "end", self.events[-3:]
        return self.events[-1].value


def whole(user: Client, path: str, last_id: str | None = None, **params: Any) -> list[Event]:
    """All events of a stream that ends."""
    with Stream(user, path, last_id, **params) as stream:
        until(lambda: stream.over)
        return stream.events
