"""Sends requests to Yorc, which has no login of its own: a client's certificate opens it, or nothing does."""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, TypeVar

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from hpcwaas.common import written
from hpcwaas.common.http import Failure, HTTPClient, NoAnswer
from hpcwaas.core.models import JSON
from hpcwaas.engines.orchestrated.transport import CONNECTIONS, LARGEST_ANSWER, ServerTransport
from hpcwaas.engines.yorc.at_once import fetch
from hpcwaas.engines.yorc.checks import tls_problems
from hpcwaas.engines.yorc.faults import Refusal, refusal, store_trouble
from hpcwaas.engines.yorc.settings import YorcSettings
from hpcwaas.errors import ConfigurationError, UpstreamFailed

T = TypeVar("T")

_LOGGER = logging.getLogger(__name__)

_JSON = "application/json"
"""Yorc compares this with `Accept` letter by letter."""

_PLAIN = "sent an HTTP request to an HTTPS server"
"""What servers made in Go say to those who don't speak TLS to them."""


class Answer(NamedTuple):
    """An answer that is no error.

    Attributes:
        document: its body; None when it has none.
    """

    document: JSON
    headers: Mapping[str, str]


class Transport(ServerTransport):
    """The way to Yorc, for any number of threads.

    Raises:
        ConfigurationError: a certificate or a key can't be used.
    """

    def __init__(self, settings: YorcSettings) -> None:
        for name, problem in tls_problems(settings):
            raise ConfigurationError(f"yorc.{name}", problem)
        timeouts = (settings.connect_timeout, settings.read_timeout)
        http = HTTPClient(
            "Yorc",
            "yorc",
            ca_file=settings.ca_file,
            identity=settings.identity,
            identity_setting="client_certificate",
            timeouts=timeouts,
            largest=LARGEST_ANSWER,
            connections=CONNECTIONS,
            by_proxy=False,
        )
        super().__init__("Yorc", http, settings.address, timeouts, "/server/health")
        self._settings = settings

    def call(
        self,
        method: str,
        path: str,
        *,
        body: JSON = None,
        params: Mapping[str, str | int] | None = None,
        timeout: float | None = None,
        wait: float = 0.0,
    ) -> Answer:
        """Sends a request, once.

        Args:
            path: quoted.
            body: sent as JSON unless it is None.
            timeout: seconds, instead of the settings' for an answer and for a connection.
            wait: seconds for which Yorc may wait for something to answer with.

        Raises:
            Refusal: the answer is an error.
            NoAnswer: there is no usable answer.
        """
        headers = {"Accept": _JSON}
        data = None
        if body is not None:
            headers["Content-Type"] = _JSON
            data = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        began = time.monotonic()
        response = self._send(method, path, data, headers, params=params, timeout=timeout, wait=wait)
        try:
            document = self._document(method, response)
        except NoAnswer as failure:
            self._unusable(failure, began, method, path, response)
            raise
        except Refusal as error:
            self._reach.answered()
            if error.status != 404:  # an everyday answer
                _LOGGER.warning("Yorc answers %s to %s %s: %s", error.status, method, path, error.message[:200])
            raise
        self._reach.answered()
        return Answer(document, response.headers)

    def documents(self, paths: Collection[str], read: Callable[[str, JSON], T]) -> dict[str, T]:
        """Gets many documents at once.

        Args:
            read: makes something of a path and its document.

        Returns:
            what was made of those that came, by path. What became of the others is found out by asking for one of them.

        Raises:
            NoAnswer: Yorc has stopped answering.
        """
        if not paths:
            return {}
        self._reach.require()
        seconds = min(self.time_left(), sum(self._timeouts))
        found = fetch(self._address, paths, self._tls(), seconds, lambda path, body: read(path, written.loads(body)))
        if found:
            self._reach.answered()
        return found

    def _tls(self) -> ssl.SSLContext | None:
        if not self._address.lower().startswith("https:"):
            return None
        context = ssl.create_default_context(cafile=str(self._settings.ca_file or DEFAULT_CA_BUNDLE_PATH))
        if self._settings.identity is not None:
            context.load_cert_chain(*self._settings.identity)
        return context

    def _document(self, method: str, response: requests.Response) -> JSON:
        """The body of an answer.

        Raises:
            Refusal: it is an error of Yorc's.
            NoAnswer: it isn't what Yorc writes.
        """
        status = response.status_code
        if status >= 400:
            raise self._error(method, response)
        if status >= 300:
            raise self._http.failure(Failure.UNINTELLIGIBLE, f"status {status}")
        if not response.content:
            return None
        try:
            return written.loads(response.content)
        except (ValueError, RecursionError):
            raise self._http.failure(Failure.UNINTELLIGIBLE, f"status {status}") from None

    def _error(self, method: str, response: requests.Response) -> Refusal | NoAnswer:
        status = response.status_code
        text = response.content[: 64 * 1024].decode("utf-8", "replace")
        if refused := refusal(status, text):
            return store_trouble(refused) or refused
        if method == "HEAD" and status in (404, 500):  # no answer to it has a body, and no other has these two
            return Refusal(status, "", "")
        if _PLAIN in text:
            detail = "Yorc speaks TLS only: `yorc.address` has to begin with https://."
            return NoAnswer(UpstreamFailed(detail), sent=True, again=False)
        self._http.require_answer(response)
        return self._http.failure(Failure.UNINTELLIGIBLE, f"status {status}")
