"""Sends requests to Alien4Cloud and logs in: one login for all threads."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import requests

from hpcwaas.common.http import Failure, HTTPClient, NoAnswer
from hpcwaas.common.repeats import Repeats
from hpcwaas.core.models import JSON
from hpcwaas.engines.alien4cloud.faults import CONSTRAINT, NOT_FOUND, NOT_LOGGED_IN, Refusal, refusal
from hpcwaas.engines.alien4cloud.settings import Alien4CloudSettings
from hpcwaas.engines.orchestrated.transport import CONNECTIONS, LARGEST_ANSWER, ServerTransport
from hpcwaas.errors import ServiceError, Unavailable, UpstreamFailed

_LOGGER = logging.getLogger(__name__)

_LOGIN_FAILURE_COUNTS = 2.0
"""Seconds for which a failed login answers for all, so that a wrong password isn't tried by every request."""


class Transport(ServerTransport):
    """The way to Alien4Cloud, for any number of threads.

    Raises:
        ConfigurationError: `ca_file` is missing.
    """

    def __init__(self, settings: Alien4CloudSettings) -> None:
        timeouts = (settings.connect_timeout, settings.read_timeout)
        http = HTTPClient(
            "Alien4Cloud",
            "alien_config",
            ca_file=settings.ca_file,
            timeouts=timeouts,
            largest=LARGEST_ANSWER,
            connections=CONNECTIONS,
            verify=not settings.skip_secure,
            by_proxy=False,
        )
        super().__init__("Alien4Cloud", http, settings.address, timeouts, "/rest/auth/status")
        self._settings = settings
        self._cookie: str | None = None
        self._login_lock = threading.Lock()
        self._login_failure: tuple[float, ServiceError] | None = None
        self._repeats = Repeats()

    def cookie(self, stale: str | None = None) -> str:
        """The cookie of the login, which is made where needed.

        Args:
            stale: one that has been refused.

        Raises:
            ServiceError: the login failed.
        """
        cookie = self._cookie
        return cookie if cookie is not None and cookie != stale else self._login(stale)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: JSON = None,
        params: Mapping[str, str | int] | None = None,
        timeout: float | None = None,
    ) -> JSON:
        """Sends a request, once; when the login has expired, once more after a new one.

        Args:
            path: quoted.
            body: sent as JSON unless it is None.
            timeout: seconds, instead of the settings' for an answer and for a connection.

        Returns:
            `data` of the answer.

        Raises:
            Refusal: the answer is an error.
            NoAnswer: there is no usable answer.
            ServiceError: the login failed.
        """
        headers = {"Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        stale = None
        for _ in range(2):
            cookie = self.cookie(stale)
            headers["Cookie"] = f"JSESSIONID={cookie}"
            began = time.monotonic()
            response = self._send(method, path, data, headers, params=params, timeout=timeout)
            try:
                answer = self._unpack(response)
                self._reach.answered()
                return answer
            except NoAnswer as failure:
                self._unusable(failure, began, method, path, response)
                raise
            except Refusal as error:
                self._reach.answered()
                if error.code != NOT_LOGGED_IN or response.status_code not in (401, 403):
                    raise
            stale = cookie
        raise UpstreamFailed("Alien4Cloud accepts the login of this service and then asks for it again.")

    def _login(self, stale: str | None) -> str:
        asked = time.monotonic()
        with self._login_lock:
            if self._cookie is not None and self._cookie != stale:
                return self._cookie  # another thread has just done it
            if self._login_failure is not None:
                failed, error = self._login_failure
                if failed > asked or time.monotonic() - failed < _LOGIN_FAILURE_COUNTS:
                    raise error.with_traceback(None)  # it is raised many times, and would grow
            try:
                self._cookie = self._log_in()
            except NoAnswer as failure:
                self._login_failure = (time.monotonic(), failure.error)
                raise failure.error from failure
            except ServiceError as error:
                self._login_failure = (time.monotonic(), error)
                raise
            self._login_failure = None
            return self._cookie

    def _log_in(self) -> str:
        form = {
            "username": self._settings.user,
            "password": self._settings.password.get_secret_value(),
            "submit": "Login",
        }
        began = time.monotonic()
        response = self._send("POST", "/login", form, {"Accept": "application/json"})
        try:
            self._http.require_answer(response)
        except NoAnswer as failure:
            self._unusable(failure, began, "POST", "/login", response)
            raise
        way = urlsplit(response.headers.get("Location", "")).path
        if way.endswith("/authenticationfailed") or response.status_code == 401:
            raise self._told(
                Unavailable(
                    "Alien4Cloud refuses this service's account. An operator has to correct alien_config.user and "
                    "alien_config.password.",
                    60,
                )
            )
        # Read from the answer and not followed: where the redirect leads to is of no use.
        cookie = _set_cookie(response, "JSESSIONID")
        if response.status_code != 302 or not way.endswith("/auth/status") or not cookie:
            error = UpstreamFailed("The server at alien_config.address doesn't log in as Alien4Cloud does.")
            raise self._told(error, f" It answers {response.status_code}, Location {way[:200]!r}.")
        return cookie

    def _told(self, error: ServiceError, more: str = "") -> ServiceError:
        """The error of a login, told in the log once a minute."""
        if self._repeats.due(error.detail) is not None:
            _LOGGER.error("%s%s", error.detail, more)
        error.logged = True
        return error

    def _unpack(self, response: requests.Response) -> JSON:
        """`data` of an answer.

        Raises:
            ServiceError: its `error` is set.
            NoAnswer: it isn't what Alien4Cloud writes.
        """
        status = response.status_code
        try:
            document = json.loads(response.content)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            match document.get("error"):
                case {"code": int(code), **rest}:
                    message = str(rest.get("message") or "")
                    if code not in (NOT_LOGGED_IN, NOT_FOUND):  # both are everyday answers
                        text = "(quotes an input)" if code == CONSTRAINT else message[:200]
                        _LOGGER.warning("Alien4Cloud answers %s, code %s: %s", status, code, text)
                    raise refusal(status, code, message)
                case None if status < 300 and "data" in document:
                    return document["data"]
        self._http.require_answer(response)
        raise self._http.failure(Failure.UNINTELLIGIBLE)


def _set_cookie(response: requests.Response, name: str) -> str | None:
    """A cookie of an answer; the client's own jar takes none."""
    for part in response.headers.get("Set-Cookie", "").replace(",", ";").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name and value:
            return value
    return None
