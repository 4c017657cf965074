"""HTTP for the OpenID provider of tests: a server in a thread, and the faults that its answers may have."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.ports import free_port

HTML = b"<!doctype html><title>Sorry</title><p>upstream-secret: the gateway is on holiday"


@dataclass(frozen=True)
class Request:
    """What came: query and form together."""

    method: str
    endpoint: str
    params: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What goes back: a JSON document, or bytes."""

    document: Any = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class HTTPServer:
    """Serves from construction (or `start`) until `stop`; both may be repeated, the port stays.

    Attributes:
        calls: how often each endpoint was called.
        requests: all of them, in order.
    """

    paths: Mapping[str, str] = {}

    def __init__(self, port: int = 0) -> None:
        self.calls: Counter[str] = Counter()
        self.requests: list[Request] = []
        self._faults: dict[str, tuple[str, int]] = {}
        self._healed = threading.Event()
        self._lock = threading.RLock()
        self._port = port or free_port()
        self._thread: threading.Thread | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._port}"

    def fault(self, endpoint: str, what: str, times: int = 1_000_000) -> None:
        """Makes an endpoint misbehave.

        Args:
            endpoint: its name; `*` for all.
            what: `drop` (no answer), `slow 0.5` (seconds late), `hold` (until `heal`), `html` (status 200),
                `truncated`, `huge` (20 MB), `list` (JSON, but no object), `redirect http://…`, or a status with the
                words after it as `Retry-After`: `500`, `429 7`.
        """
        self._faults[endpoint] = (what, times)

    def heal(self) -> None:
        """Ends all faults."""
        self._faults.clear()
        self._healed.set()
        self._healed = threading.Event()

    def start(self) -> None:
        """Goes up, on the same port as before."""
        if self._thread is None:
            self._server = _Server(("127.0.0.1", self._port), type("Handler", (_Handler,), {"owner": self}))
            self._port = self._server.server_port
            self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
            self._thread.start()

    def stop(self) -> None:
        """Goes down: connections are refused."""
        if self._thread is not None:
            self._healed.set()
            self._server.shutdown()
            self._server.server_close()
            self._server.cut()
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, request: Request) -> Answer:
        """Answers a request; one at a time."""
        raise NotImplementedError

    def take(self, request: Request) -> tuple[str, Answer]:
        """Counts a request, and gives its fault (may be empty) and its answer."""
        with self._lock:
            self.calls[request.endpoint] += 1
            self.requests.append(request)
            what = ""
            for name in (request.endpoint, "*"):
                if name in self._faults and not what:
                    what, times = self._faults.pop(name)
                    if times > 1:
                        self._faults[name] = (what, times - 1)
            if what and not what.startswith("slow") and what != "hold":
                return what, Answer()
            healed = self._healed
        if what == "hold":
            healed.wait(120)
        elif what:
            time.sleep(float(what.split()[1]))
        with self._lock:
            return "", self.answer(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, *arguments: Any) -> None:
        self._connections: list[Any] = []
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.append(request)
        super().process_request(request, client_address)

    def cut(self) -> None:
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, *_: Any) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet
    owner: HTTPServer

    def log_message(self, *_: object) -> None:
        pass

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        parts = urlsplit(self.path)
        endpoint = self.owner.paths.get(parts.path, parts.path)
        params = dict(parse_qsl(parts.query) + parse_qsl(body))
        fault, answer = self.owner.take(Request(self.command, endpoint, params, dict(self.headers)))
        kind, _, rest = fault.partition(" ")
        if kind == "drop":
            self.close_connection = True
        elif kind == "html":
            self._write(200, HTML, "text/html")
        elif kind == "truncated":
            self._write(200, b'{"issuer": "http://127', "application/json")
        elif kind == "huge":
            self._write(200, b'{"a": "' + b"x" * 20_000_000 + b'"}', "application/json")
        elif kind == "list":
            self._write(200, b"[1, 2]", "application/json")
        elif kind == "redirect":
            self._write(302, b"", "text/plain", ("Location", rest))
        elif kind:
            self._write(int(kind), HTML, "text/html", *([("Retry-After", rest)] if rest else []))
        else:
            self._write(answer.status, json.dumps(answer.document).encode(), "application/json", *answer.headers)

    do_GET = do_POST = _any  # noqa: N815

    def _write(self, status: int, content: bytes, media_type: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", media_type), ("Content-Length", str(len(content))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
