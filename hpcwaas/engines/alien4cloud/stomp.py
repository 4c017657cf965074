"""STOMP 1.2 over a WebSocket, as much of it as a subscriber needs.

The WebSocket is `websockets`', which notices dead peers by its own pings. STOMP itself is a few lines here: the client
libraries for it can neither send Alien4Cloud's cookie anew after a login nor notice that a server without STOMP
heart-beats, as this one is, has gone.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

_LARGEST_FRAME = 2**20
_EMPTY_LINE = re.compile(r"\r?\n\r?\n")
_ESCAPE = re.compile(r"\\[rnc\\]")
_ESCAPES = {r"\r": "\r", r"\n": "\n", r"\c": ":", r"\\": "\\"}

Headers: TypeAlias = Mapping[str, str]


class StompError(Exception):
    """The connection can't be made, or has broken.

    Attributes:
        refused: the server asks for a login.
    """

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame.

    Attributes:
        headers: the first of each name, as STOMP wants it.
    """

    command: str
    headers: Headers
    body: str = ""

    def encode(self) -> str:
        """The frame as it is sent. For commands whose headers need no escapes."""
        return (
            "\n".join([self.command, *(f"{name}:{value}" for name, value in self.headers.items()), "", self.body])
            + "\0"
        )


def decode(text: str) -> Frame | None:
    """A frame as it is received; None for a heart-beat.

    Raises:
        ValueError: it isn't one.
    """
    text = text.lstrip("\r\n")
    if not text:
        return None
    head, *rest = _EMPTY_LINE.split(text, maxsplit=1)
    if not rest:
        raise ValueError("a STOMP frame without an empty line")
    command, *lines = (line.removesuffix("\r") for line in head.split("\n"))
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError("a STOMP header without a colon")
        headers.setdefault(_unescaped(name), _unescaped(value))
    return Frame(command, headers, rest[0].partition("\0")[0])


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], text)


class Subscription:
    """One subscription to one topic, over a connection of its own.

    Args:
        cookie: header that says who we are.
        timeout: seconds for connecting.

    Raises:
        StompError: the connection can't be made.
    """

    def __init__(self, url: str, topic: str, *, cookie: str, tls: ssl.SSLContext | None, timeout: float) -> None:
        try:
            self._socket: ClientConnection = connect(
                url,
                ssl=tls,
                additional_headers={"Cookie": cookie},
                subprotocols=[Subprotocol("v12.stomp")],
                compression=None,
                proxy=None,
                open_timeout=timeout,
                close_timeout=1,
                max_size=_LARGEST_FRAME,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            raise StompError(f"the server answers {status}", refused=status in (401, 403)) from error
        except (OSError, InvalidHandshake, InvalidURI, ConnectionClosed) as error:
            raise StompError(str(error) or type(error).__name__) from error
        try:
            self._subscribe(topic, timeout)
        except StompError:
            self.close()
            raise

    def bodies(self) -> Iterator[str]:
        """What is published, from now on.

        Raises:
            StompError: the connection has broken, or was closed.
        """
        while True:
            frame = self._receive(None)
            if frame.command == "MESSAGE":
                yield frame.body
            elif frame.command == "ERROR":
                raise StompError("the server ends the subscription")

    def close(self) -> None:
        """Ends the connection; whoever reads from it gets a `StompError`."""
        self._socket.close()

    def _subscribe(self, topic: str, timeout: float) -> None:
        self._send(Frame("CONNECT", {"accept-version": "1.2", "host": "alien4cloud", "heart-beat": "0,0"}))
        answer = self._receive(timeout)
        if answer.command != "CONNECTED":
            raise StompError(f"the server answers {answer.command[:20]}")
        self._send(Frame("SUBSCRIBE", {"id": "0", "destination": topic}))

    def _send(self, frame: Frame) -> None:
        try:
            self._socket.send(frame.encode())
        except (ConnectionClosed, OSError) as error:
            raise StompError(str(error)) from error

    def _receive(self, timeout: float | None) -> Frame:
        try:
            while True:
                message = self._socket.recv(timeout=timeout)
                frame = decode(message if isinstance(message, str) else message.decode())
                if frame is not None:
                    return frame
        except (ConnectionClosed, OSError, ValueError) as error:  # TimeoutError is an OSError
            raise StompError(str(error) or type(error).__name__) from error
