"""Sends requests to Alien4Cloud and logs in: one login for all threads."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from hpcwaas.common import calls
from hpcwaas.common.repeats import Repeats
from hpcwaas.core.models import JSON
from hpcwaas.engines.alien4cloud.faults import CONSTRAINT, NOT_FOUND, NOT_LOGGED_IN, NoAnswer, Refusal, refusal
from hpcwaas.engines.alien4cloud.reach import Reach
from hpcwaas.engines.alien4cloud.settings import Alien4CloudSettings
from hpcwaas.errors import ConfigurationError, ServiceError, Unavailable, UpstreamFailed, UpstreamTimeout

_LOGGER = logging.getLogger(__name__)

LARGEST_ANSWER = 64 * 2**20
"""Bytes. The largest one seen, a topology, has 50 kB; a page of 1000 applications about 1 MB."""

CONNECTIONS = 96
"""Kept open: one for each thread that may call at the same time."""

_LOGIN_FAILURE_COUNTS = 2.0
"""Seconds for which a failed login answers for all, so that a wrong password isn't tried by every request."""

_PROBE = 3.0
"""Seconds for which an answer to a probe is waited for."""

_NEVER_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NameResolutionError,
    urllib3.exceptions.SSLError,
)


class Session:
    """A session with Alien4Cloud, for any number of threads.

    Raises:
        ConfigurationError: it can't be made with these settings.
    """

    def __init__(self, settings: Alien4CloudSettings) -> None:
        if settings.ca_file is not None and not settings.ca_file.is_file():
            raise ConfigurationError("alien_config.ca_file", f"there is no file {settings.ca_file}")
        self._settings = settings
        self._address = settings.address.rstrip("/")
        self._http = requests.Session()
        # Neither ~/.netrc nor proxy variables: the first would replace our login, and both cost time on each call.
        self._http.trust_env = False
        self._http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # the cookie is handled here
        self._http.verify = False if settings.skip_secure else str(settings.ca_file) if settings.ca_file else True
        for scheme in ("http://", "https://"):
            self._http.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=CONNECTIONS, pool_block=False))
        self._cookie: str | None = None
        self._login_lock = threading.Lock()
        self._login_failure: tuple[float, ServiceError] | None = None
        self._clock_ahead = 0.0
        self._reach = Reach(self._probe)
        self._repeats = Repeats()

    @property
    def silent_since(self) -> datetime | None:
        """Since when Alien4Cloud hasn't answered; None when it does."""
        return self._reach.silent_since

    @property
    def clock_ahead(self) -> float:
        """Seconds by which Alien4Cloud's clock is ahead of ours, to a second, by its last answer."""
        return self._clock_ahead

    def cookie(self, stale: str | None = None) -> str:
        """The session's cookie, after logging in where needed.

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
        """Sends a request, once; when the session has expired, once more after a login.

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
        stale = None
        for _ in range(2):
            cookie = self.cookie(stale)
            began = time.monotonic()
            response, content = self._send(method, path, cookie, body=body, params=params, timeout=timeout)
            try:
                data = _unpack(response, content)
                self._reach.answered()
                return data
            except NoAnswer as failure:
                kind = response.headers.get("Content-Type", "")[:80]
                why = f"{method} {path}: {response.status_code} with {len(content)} bytes of {kind}"
                self._reach.failed(failure, began, slow=False, why=why)
                raise
            except Refusal as error:
                self._reach.answered()
                if error.code != NOT_LOGGED_IN or response.status_code not in (401, 403):
                    raise
            stale = cookie
        raise UpstreamFailed("Alien4Cloud takes the login of this service and then asks for it again.")

    def close(self) -> None:
        """Closes the connections."""
        self._reach.close()
        self._http.close()

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
        response, _ = self._send("POST", "/login", None, form=form)
        try:
            _require_no_proxy(response.status_code)
        except NoAnswer as failure:
            self._reach.failed(failure, began, slow=False, why=f"POST /login: {response.status_code}")
            raise
        way = urlsplit(response.headers.get("Location", "")).path
        if way.endswith("/authenticationfailed") or response.status_code == 401:
            raise self._told(
                Unavailable(
                    "Alien4Cloud refuses this service's account: alien_config.user and alien_config.password need a "
                    "look.",
                    60,
                )
            )
        # Read from the answer and not followed: where the redirect leads to is of no use.
        cookie = _set_cookie(response, "JSESSIONID")
        if response.status_code != 302 or not way.endswith("/auth/status") or not cookie:
            error = UpstreamFailed("What answers at alien_config.address doesn't log in as Alien4Cloud does.")
            raise self._told(error, f" It answers {response.status_code}, Location {way[:200]!r}.")
        return cookie

    def _told(self, error: ServiceError, more: str = "") -> ServiceError:
        """The error of a login, told in the log once a minute."""
        if self._repeats.due(error.detail) is not None:
            _LOGGER.error("%s%s", error.detail, more)
        error.logged = True
        return error

    def _send(
        self,
        method: str,
        path: str,
        cookie: str | None,
        *,
        body: JSON = None,
        form: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
        timeout: float | None = None,
    ) -> tuple[requests.Response, bytes]:
        headers = {"Accept": "application/json"}
        if cookie is not None:
            headers["Cookie"] = f"JSESSIONID={cookie}"
        data: Any = form
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        self._reach.require()
        limits, deadline = self._limits(timeout)
        began = time.monotonic()
        response: requests.Response | None = None
        try:
            with self._http.request(
                method,
                self._address + path,
                data=data,
                params=params,
                headers=headers,
                timeout=limits,
                allow_redirects=False,
                stream=True,
            ) as response:
                self._note_clock(response.headers.get("Date"))
                return response, _read(response, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError, NoAnswer) as error:
            failure = error if isinstance(error, NoAnswer) else _no_answer(error, begun=response is not None)
            # A call that had little time left says little about the server.
            patient = timeout is None and time.monotonic() - began >= self._settings.read_timeout / 2
            slow = patient and isinstance(failure.error, UpstreamTimeout)
            self._reach.failed(failure, began, slow=slow, why=f"{method} {path}: {error}")
            if failure is error:
                raise
            raise failure from error

    def time_left(self) -> float:
        """Seconds that what the present call of a user has to do may still take."""
        whole = self._settings.connect_timeout + self._settings.read_timeout
        began = calls.began()
        return whole if began is None else began + whole - time.monotonic()

    def _limits(self, timeout: float | None) -> tuple[tuple[float, float], float]:
        """Seconds to wait for a connection and for an answer, and when a call has to be over.

        Raises:
            NoAnswer: what the caller has to do with it has taken all the time that there is.
        """
        connect, read = timeout or self._settings.connect_timeout, timeout or self._settings.read_timeout
        now = time.monotonic()
        deadline = (calls.began() or now) + connect + read
        left = deadline - now
        if left <= 0:
            raise NoAnswer(UpstreamTimeout("Alien4Cloud takes too long to answer."), sent=False, again=False)
        return (min(connect, left), min(read, left)), deadline

    def _probe(self) -> None:
        """Asks for any answer, past what keeps other calls from it."""
        limits = (_PROBE, _PROBE)
        address = f"{self._address}/rest/auth/status"
        try:
            self._http.get(address, timeout=limits, allow_redirects=False, stream=True).close()
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _no_answer(error, begun=False) from error

    def _note_clock(self, date: str | None) -> None:
        if date:
            try:
                self._clock_ahead = parsedate_to_datetime(date).timestamp() - time.time()
            except ValueError:
                return


def _set_cookie(response: requests.Response, name: str) -> str | None:
    """A cookie of an answer; the session's own jar takes none."""
    for part in response.headers.get("Set-Cookie", "").replace(",", ";").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name and value:
            return value
    return None


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, within a size and a time: a timeout of the socket alone never ends a body that drips."""
    parts, size = [], 0
    while part := response.raw.read1(256 * 1024, decode_content=True):  # `iter_content` would wait for whole parts
        size += len(part)
        if size > LARGEST_ANSWER:
            error = UpstreamFailed("Alien4Cloud gave an answer that is far too large.")
            raise NoAnswer(error, sent=True, again=False)
        if time.monotonic() > deadline:
            raise NoAnswer(UpstreamTimeout("Alien4Cloud takes too long to answer."), sent=True, again=False)
        parts.append(part)
    return b"".join(parts)


def _no_answer(error: requests.RequestException | urllib3.exceptions.HTTPError, *, begun: bool) -> NoAnswer:
    """What an exception means.

    Args:
        begun: whether the answer had begun.
    """
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    if isinstance(error, requests.exceptions.SSLError):
        text = "The certificate of Alien4Cloud can't be verified: alien_config.ca_file needs a look."
        return NoAnswer(Unavailable(text, 60), sent=False, again=False)
    if isinstance(error, (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError)):
        return NoAnswer(UpstreamTimeout("Alien4Cloud takes too long to answer."), sent=True, again=False)
    if isinstance(reason, _NEVER_SENT):
        slow = isinstance(error, requests.ConnectTimeout)
        return NoAnswer(Unavailable("Alien4Cloud can't be reached just now."), sent=False, again=not slow)
    if not begun:  # what stands before a server that is down may accept connections, and close them
        return NoAnswer(Unavailable("Alien4Cloud can't be reached just now."), sent=True, again=True)
    return NoAnswer(UpstreamFailed("Alien4Cloud broke off before it had answered."), sent=True, again=True)


def _require_no_proxy(status: int) -> None:
    """Tells an answer of Alien4Cloud's from that of a proxy which gets none.

    Raises:
        NoAnswer: it is a proxy's.
    """
    if status in (502, 504):
        raise NoAnswer(UpstreamFailed("A proxy before Alien4Cloud gets no answer from it."), sent=True, again=True)
    if status == 503:
        raise NoAnswer(Unavailable("Alien4Cloud is down or overloaded."), sent=True, again=True)


def _unpack(response: requests.Response, content: bytes) -> JSON:
    """`data` of an answer.

    Raises:
        ServiceError: its `error` is set.
        NoAnswer: it isn't what Alien4Cloud writes.
    """
    status = response.status_code
    try:
        document = json.loads(content)
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
    _require_no_proxy(status)
    raise NoAnswer(UpstreamFailed("Alien4Cloud gave an answer that makes no sense."), sent=True, again=False)
