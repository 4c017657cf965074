"""The simulated Alien4Cloud's push: STOMP 1.2 over a raw WebSocket, as Spring's simple broker speaks it.

No heart-beats, no receipts but for DISCONNECT, no replay of what was missed, no authorisation of topics.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

JSON: TypeAlias = Any
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]

SUBPROTOCOLS = ("v12.stomp", "v11.stomp", "v10.stomp")


def _pattern(destination: str) -> re.Pattern[str]:
    """Spring's path patterns: `?` one character, `*` within a segment, `**` across segments."""
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    split = re.split(r"(\*\*|\*|\?)", destination)
    return re.compile("".join(parts.get(part, re.escape(part)) for part in split))


def _frame(command: str, headers: dict[str, str], body: str = "") -> str:
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    return f"{command}\n{lines}\n{body}\0"


def _parse(text: str) -> tuple[str, dict[str, str]]:
    """A client's frame: command and headers; the first of repeated headers counts."""
    head = text.lstrip("\n").split("\n\n", 1)[0].rstrip("\0")
    command, *lines = head.replace("\r", "").split("\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name, value)
    return command, headers


class _Client:
    """A connected client with its subscriptions."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(4)
        self.subscriptions: dict[str, re.Pattern[str]] = {}
        self.outbox: asyncio.Queue[str] = asyncio.Queue()


class Broker:
    """Passes events on to whoever is subscribed at that moment.

    Attributes:
        loss: probability that an event is lost on its way to a client.
        published: events so far, whether anybody listened or not.
    """

    def __init__(self) -> None:
        self.loss = 0.0
        self.published = 0
        self._clients: set[_Client] = set()
        self._numbers = itertools.count()

    @property
    def subscriptions(self) -> int:
        """How many subscriptions there are now."""
        return sum(len(client.subscriptions) for client in self._clients)

    def publish(self, topic: str, event: JSON) -> None:
        """Sends an event to the subscribers of its topic."""
        self.published += 1
        body = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        for client in self._clients:
            for subscription, pattern in client.subscriptions.items():
                if pattern.fullmatch(topic) and random.random() >= self.loss:  # noqa: S311 - no secret
                    headers = {
                        "destination": topic,
                        "content-type": "application/json;charset=UTF-8",
                        "subscription": subscription,
                        "message-id": f"{client.id}-{next(self._numbers)}",
                        "content-length": str(len(body.encode())),
                    }
                    client.outbox.put_nowait(_frame("MESSAGE", headers, body))

    async def serve(self, scope: dict[str, Any], receive: Receive, send: Send, user: str | None) -> None:
        """One connection from handshake to end."""
        await receive()
        offered = [name for name in SUBPROTOCOLS if name in scope["subprotocols"]]
        await send({"type": "websocket.accept", "subprotocol": offered[0] if offered else None})
        client = _Client()
        writer = asyncio.create_task(self._write(client, send))
        self._clients.add(client)
        try:
            while (message := await receive())["type"] == "websocket.receive":
                text = message.get("text") or (message.get("bytes") or b"").decode()
                if text.strip("\r\n"):
                    self._handle(client, text, user)
        finally:
            self._clients.discard(client)
            writer.cancel()

    async def _write(self, client: _Client, send: Send) -> None:
        while True:
            await send({"type": "websocket.send", "text": await client.outbox.get()})

    def _handle(self, client: _Client, text: str, user: str | None) -> None:
        command, headers = _parse(text)
        if command in ("CONNECT", "STOMP"):
            offered = headers.get("accept-version", "1.0").split(",")
            answer = {"version": next(v for v in ("1.2", "1.1", "1.0") if v in offered), "heart-beat": "0,0"}
            client.outbox.put_nowait(_frame("CONNECTED", answer | ({"user-name": user} if user else {})))
        elif command == "SUBSCRIBE":
            client.subscriptions[headers["id"]] = _pattern(headers["destination"])
        elif command == "UNSUBSCRIBE":
            client.subscriptions.pop(headers["id"], None)
        elif command == "DISCONNECT":
            client.subscriptions.clear()
            if "receipt" in headers:
                client.outbox.put_nowait(_frame("RECEIPT", {"receipt-id": headers["receipt"]}))
