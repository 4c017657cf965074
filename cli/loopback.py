"""Signing in by the browser of this machine (RFC 8252), whose answer comes to a port of this command (RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from threading import Thread
from urllib.parse import parse_qsl, urlencode, urlsplit

from .client import Client
from .credentials import Login
from .errors import Unauthorized
from .oauth import Refused, exchange
from .stepup import NO_DEMAND, Demand

_PATIENCE_SECONDS = 300.0
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>waas</title><meta name="color-scheme" content="light dark">
<style>body {{ font: 1.1rem/1.5 sans-serif; max-width: 34rem; margin: 4rem auto; padding: 0 1rem }}</style>
<h1>{title}</h1>
<p>{text}</p>
"""


class _Listener(ThreadingHTTPServer):
    """Waits for the browser. In threads: browsers open connections that they may never use.

    Args:
        state: what only the browser that was sent off from here knows.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = state
        self.answers: SimpleQueue[dict[str, str]] = SimpleQueue()

    def handle_error(self, *_: object) -> None:
        """Ignores a browser that hangs up."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 10
    server: _Listener

    def do_GET(self) -> None:
        """Takes the answer of the service; after any other request, the wait goes on."""
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        if parts.path != "/" or not query:
            self._page(404, "There is nothing here", "Continue on the page where you signed in.")
        elif not hmac.compare_digest(query.get("state", "").encode(), self.server.state.encode()):
            self._page(400, "Refused", "This answer doesn't belong to the sign-in that the terminal is waiting for.")
        elif "code" not in query:
            self._page(200, "Not signed in", "The terminal says why. You can close this window.")
            self.server.answers.put(query)
        else:
            self._page(200, "Thank you", "You can close this window and continue in the terminal.")
            self.server.answers.put(query)

    def _page(self, status: int, title: str, text: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(_PAGE.format(title=title, text=text).encode())

    def log_message(self, *_: object) -> None:
        """Says nothing: the request holds the code."""


@contextmanager
def _listening(state: str) -> Iterator[_Listener]:
    with _Listener(state) as listener:
        Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield listener
        finally:
            listener.shutdown()


def sign_in(
    client: Client,
    api_url: str,
    show: Callable[[str, str], None],
    *,
    patience: float = _PATIENCE_SECONDS,
    demand: Demand = NO_DEMAND,
) -> Login:
    """Signs in by a browser.

    Args:
        show: gets the address to open in a browser, and the place that its page will ask about; doesn't wait for it.
        patience: seconds to wait for the user.
        demand: how the user is to sign in.

    Raises:
        Refused: the user or the service said no.
        WaasError: nobody came.
    """
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with _listening(state) as listener:
        redirect_uri = f"http://127.0.0.1:{listener.server_port}/"
        query = {
            "redirect_uri": redirect_uri,
            "state": state,
            "code_challenge": digest,
            "code_challenge_method": "S256",
            **demand.form,
        }
        show(f"{api_url}/auth/login?{urlencode(query)}", f"127.0.0.1:{listener.server_port}")
        try:
            answer = listener.answers.get(timeout=patience)
        except Empty:
            raise Unauthorized(
                f"Nobody signed in within {patience / 60:.0f} minutes.",
                hint="To try again, run: waas login\nIf this machine has no browser: waas login --device",
            ) from None
    if "code" not in answer:
        raise Refused(answer.get("error", "the answer holds no code"), answer.get("error_description"))
    return exchange(
        client, "authorization_code", code=answer["code"], redirect_uri=redirect_uri, code_verifier=verifier
    )
