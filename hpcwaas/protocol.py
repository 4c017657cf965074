"""HTTP as uvicorn speaks it, with what the service adds: a limit for the head of a request, and errors in JSON."""

from __future__ import annotations

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hpcwaas.api.problems import problem

MAX_HEAD = 64 * 1024
"""Bytes that the request line and all headers together may have; uvicorn itself knows no limit."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    _head: int | None = 0
    """Bytes of the head that is being received; None outside of one."""

    def data_received(self, data: bytes) -> None:
        """Takes what has come."""
        super().data_received(data)
        if self._head is None:
            return
        self._head += len(data)
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self._refuse(431, f"The head of the request has more than {MAX_HEAD} bytes.")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._head = None
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what isn't HTTP."""
        self._refuse(400, msg)

    def _refuse(self, status: int, detail: str) -> None:
        body, headers = problem(status, detail, None, None)
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        self.transport.write("\r\n".join(lines).encode() + body)
        self.transport.close()
