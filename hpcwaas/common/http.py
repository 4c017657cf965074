"""HTTP to the servers behind this one: bounded in time and size, and one table of what can go wrong.

No error quotes a server: what one writes may hold stack traces or secrets.
"""

from __future__ import annotations

import io
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from enum import Enum
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from hpcwaas.common import calls, tracing
from hpcwaas.common.metrics import Counter, Histogram
from hpcwaas.errors import ConfigurationError, ServiceError, Unavailable, UpstreamFailed, UpstreamTimeout

CALLS = Counter(
    "upstream_calls",
    "Calls to servers behind this one. ok: it answered; refused: with a status of 4xx; failed: with one of 5xx; "
    "unavailable, timeout, broken: there was no answer, or none that can be understood.",
    upstream=None,
    result=("ok", "refused", "failed", "unavailable", "timeout", "broken"),
)
CALL_SECONDS = Histogram(
    "upstream_seconds",
    "How long calls to servers behind this one took.",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    upstream=None,
)

Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]
T = TypeVar("T")

_PAUSE = 0.2
_LONGEST_WAIT = 300
"""Seconds: the most that is passed on of a `Retry-After`."""


class _Row(NamedTuple):
    """What a failure means: the error for the caller, whether the server may have got the request and done what it asks
    for, and whether another try makes sense."""

    error: type[ServiceError]
    detail: str
    sent: bool
    again: bool
    retry_after: int | None = None


class Failure(Enum):
    """All ways in which a call can fail to get an answer."""

    CERTIFICATE = _Row(
        Unavailable,
        "The certificate of {server} can't be verified: check {ca_file}.",
        sent=False,
        again=False,
        retry_after=60,
    )
    NO_TLS = _Row(
        Unavailable,
        "{Server} doesn't speak TLS as this service does: check {address}.",
        sent=False,
        again=False,
        retry_after=60,
    )
    # It looks alike whether a certificate isn't accepted or the server ends while it is asked something.
    TLS_BROKEN_OFF = _Row(Unavailable, "{Server} breaks off TLS connections{identity}.", sent=True, again=True)
    UNREACHABLE = _Row(Unavailable, "{Server} can't be reached.", sent=False, again=True)
    CONNECTING_TOO_SLOWLY = _Row(Unavailable, "{Server} can't be reached.", sent=False, again=False)
    # What stands before a server that is down may accept connections, and close them.
    CLOSED = _Row(Unavailable, "{Server} can't be reached.", sent=True, again=True)
    CUT = _Row(UpstreamFailed, "{Server} broke off its answer.", sent=True, again=True)
    TOO_SLOW = _Row(UpstreamTimeout, "{Server} takes too long to answer.", sent=True, again=False)
    NO_TIME_LEFT = _Row(UpstreamTimeout, "{Server} takes too long to answer.", sent=False, again=False)
    TOO_LARGE = _Row(UpstreamFailed, "{Server} gave an answer that is far too large.", sent=True, again=False)
    UNINTELLIGIBLE = _Row(UpstreamFailed, "{Server} gave an answer that can't be understood.", sent=True, again=False)
    BUSY = _Row(Unavailable, "{Server} accepts no more requests at the moment.", sent=True, again=False)
    DOWN = _Row(Unavailable, "{Server} is down or overloaded.", sent=True, again=True)
    PROXY = _Row(UpstreamFailed, "The proxy in front of {server} gets no answer from it.", sent=True, again=True)


_STATUSES = {429: Failure.BUSY, 502: Failure.PROXY, 503: Failure.DOWN, 504: Failure.PROXY}
"""Of answers that aren't the server's own, or say that it can't answer."""


class NoAnswer(Exception):
    """There is no answer, or none that can be understood.

    Args:
        why: for the log.

    Attributes:
        error: for the caller.
        sent: whether the server may have got the request, and may have done what it asks for.
        again: whether another try makes sense.
    """

    def __init__(self, error: ServiceError, *, sent: bool, again: bool, why: str = "") -> None:
        super().__init__(error.detail)
        self.error = error
        self.sent = sent
        self.again = again
        self.why = why or error.detail


class HTTPClient:
    """Calls one server, from any number of threads.

    A call is over after the time for a connection and for an answer, together with all that was made for the same call
    of a user (`calls.one`).

    Args:
        server: its name inside a sentence.
        section: of the settings, where its `ca_file` stands.
        ca_file: certificates to trust instead of those that come with Python.
        identity: a certificate by which the server knows this service, and its key.
        identity_setting: its name, where there is one.
        timeouts: seconds to wait for a connection and for an answer.
        largest: bytes of the largest answer.
        connections: that are kept open: one for each thread that may call at the same time.
        verify: whether its certificate has to be a valid one.
        by_proxy: whether the proxies of the environment are asked. Looking for them takes time on each call.

    Attributes:
        upstream: its name in metrics.
        session: sends the requests, for libraries that want one. Its failures are `NoAnswer`.

    Raises:
        ConfigurationError: there is no such file.
    """

    def __init__(
        self,
        server: str,
        section: str,
        *,
        ca_file: Path | None,
        timeouts: tuple[float, float],
        largest: int,
        connections: int,
        identity: tuple[Path, Path] | None = None,
        identity_setting: str | None = None,
        verify: bool = True,
        by_proxy: bool = True,
    ) -> None:
        if ca_file is not None and not ca_file.is_file():
            raise ConfigurationError(f"{section}.ca_file", f"there is no file {ca_file}")
        self.upstream = server.removeprefix("the ").lower()
        self._words = {
            "server": server,
            "Server": server[0].upper() + server[1:],
            "ca_file": f"{section}.ca_file",
            "address": f"the address in {section}",
            "identity": f": it may want another certificate than {section}.{identity_setting}"
            if identity_setting
            else "",
        }
        self._timeouts = timeouts
        self._closing = threading.Event()
        self.session = _Session(self)
        self.session.trust_env = by_proxy
        self.session.verify = verify and (str(ca_file) if ca_file else True)
        if identity is not None:
            self.session.cert = (str(identity[0]), str(identity[1]))
        adapter = _BoundedAdapter(self, connections, largest)
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, adapter)

    def request(
        self,
        method: str,
        url: str,
        *,
        data: Mapping[str, str] | bytes | None = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: Auth | None = None,
        timeouts: tuple[float, float] | None = None,
    ) -> requests.Response:
        """Sends a request, once. No redirect is followed.

        Returns:
            the whole answer, whatever its status.

        Raises:
            NoAnswer: there is none.
        """
        return self.session.request(
            method,
            url,
            data=data,
            params=params,
            headers=headers,
            auth=auth,
            timeout=timeouts or self._timeouts,
            allow_redirects=False,
            verify=self.session.verify,  # the environment would count more than the session's
        )

    def retried(self, attempt: Callable[[], T], tries: int = 2, *, unless_sent: bool = False) -> T:
        """Does something that makes calls; once more, up to so many tries, when it gets no answer and that makes sense.

        The pauses get longer, with jitter, so that many callers don't come back at once.

        Args:
            unless_sent: not if the server may have got the request.

        Raises:
            NoAnswer: the last try failed. `sent` is about all of them.
        """
        sent = False
        for number in range(tries):
            try:
                return attempt()
            except NoAnswer as failure:
                failure.sent = sent = sent or failure.sent
                pause = _PAUSE * 3**number * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
                last = not failure.again or (unless_sent and sent) or number + 1 == tries
                if last or pause >= self.time_left() or self._closing.wait(pause):
                    raise
        raise AssertionError("the last try returns or raises")

    def require_answer(self, response: requests.Response) -> None:
        """Tells a server's own answer from one that says that there is none.

        Raises:
            NoAnswer: a proxy or an overloaded server gave it, by its status.
        """
        if (failure := _STATUSES.get(response.status_code)) is not None:
            wait = _seconds(response.headers.get("Retry-After"))
            raise self.failure(failure, f"status {response.status_code}", wait)

    def failure(self, failure: Failure, why: str = "", retry_after: int | None = None) -> NoAnswer:
        """The exception for a failure of this server."""
        row = failure.value
        error = row.error(row.detail.format_map(self._words))
        if isinstance(error, Unavailable):
            error.retry_after = retry_after or row.retry_after or error.retry_after
        return NoAnswer(error, sent=row.sent, again=row.again and retry_after is None, why=why)

    def time_left(self) -> float:
        """Seconds that what the present call of a user has to do may still take."""
        return _deadline(sum(self._timeouts)) - time.monotonic()

    def close(self) -> None:
        """Closes the connections, and ends the pauses between tries."""
        self._closing.set()
        self.session.close()


class _Session(requests.Session):
    """Raises `NoAnswer`, keeps no cookie, and never looks for credentials in ~/.netrc."""

    def __init__(self, client: HTTPClient) -> None:
        super().__init__()
        self._client = client
        self.auth = _as_it_is
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # one user's never get into another's call

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        with tracing.span(f"call {self._client.upstream}", {"peer.service": self._client.upstream}, "client") as note:
            if (parent := tracing.parent()) is not None:
                kwargs["headers"] = {**(kwargs.get("headers") or {}), "traceparent": parent}
            response = self._counted(*args, **kwargs)
            note({"http.response.status_code": response.status_code}, failed=response.status_code >= 500)
            return response

    def _counted(self, *args: Any, **kwargs: Any) -> requests.Response:
        began, result = time.monotonic(), "broken"
        try:
            response = super().request(*args, **kwargs)
            result = _RESULTS[min(response.status_code // 100, 5)]
            return response
        except requests.RequestException as error:
            failure = self._client.failure(_failure(error), str(error))
            result = _without_answer(failure)
            raise failure from error
        except NoAnswer as failure:
            result = _without_answer(failure)
            raise
        finally:
            CALLS.add(self._client.upstream, result)
            CALL_SECONDS.observe(time.monotonic() - began, self._client.upstream)


class _BoundedAdapter(HTTPAdapter):
    """Reads each answer as a whole, within a size and a time."""

    def __init__(self, client: HTTPClient, connections: int, largest: int) -> None:
        super().__init__(pool_connections=4, pool_maxsize=connections)
        self._client = client
        self._largest = largest

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        connect, read = kwargs["timeout"]
        deadline = _deadline(connect + read)
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._client.failure(Failure.NO_TIME_LEFT)
        kwargs |= {"stream": True, "timeout": (min(connect, left), min(read, left))}
        with super().send(request, *args, **kwargs) as response:
            content = self._whole(response, deadline)
        response.raw = io.BytesIO(content)
        return response

    def _whole(self, response: requests.Response, deadline: float) -> bytes:
        parts, size = [], 0
        try:
            # `iter_content` would wait for whole parts.
            while part := response.raw.read1(256 * 1024, decode_content=True):
                size += len(part)
                if size > self._largest:
                    raise self._client.failure(Failure.TOO_LARGE, f"over {self._largest} bytes")
                if time.monotonic() > deadline:  # the socket's time-out alone never ends a body that drips
                    raise self._client.failure(Failure.TOO_SLOW, "the body takes too long")
                parts.append(part)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise self._client.failure(Failure.TOO_SLOW, str(error)) from error
        except urllib3.exceptions.HTTPError as error:
            raise self._client.failure(Failure.CUT, str(error)) from error
        return b"".join(parts)


_RESULTS = ("ok", "ok", "ok", "ok", "refused", "failed")
"""By the first digit of a status."""


def _without_answer(failure: NoAnswer) -> str:
    match failure.error:
        case UpstreamTimeout():
            return "timeout"
        case Unavailable():
            return "unavailable"
    return "broken"


def _deadline(seconds: float) -> float:
    """When a call has to be over that may take so long, if it isn't a part of one that began before."""
    return (calls.began() or time.monotonic()) + seconds


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _failure(error: requests.RequestException) -> Failure:
    """What befell a call whose answer hadn't begun."""
    match error:
        case requests.exceptions.SSLError():
            return _tls_failure(str(error))
        case requests.ConnectTimeout():
            return Failure.CONNECTING_TOO_SLOWLY
        case requests.ReadTimeout():
            return Failure.TOO_SLOW
        case requests.ConnectionError():
            cause = error.args[0] if error.args else None
            unmade = isinstance(getattr(cause, "reason", cause), urllib3.exceptions.NewConnectionError)
            return Failure.UNREACHABLE if unmade else Failure.CLOSED
    return Failure.UNINTELLIGIBLE  # an address that a server gave is none, for instance


def _tls_failure(text: str) -> Failure:
    if re.search("WRONG_VERSION_NUMBER|UNSUPPORTED_PROTOCOL|RECORD_LAYER_FAILURE|HTTP_REQUEST", text):
        return Failure.NO_TLS
    return Failure.TLS_BROKEN_OFF if re.search("_ALERT_|EOF", text) else Failure.CERTIFICATE


def _seconds(retry_after: str | None) -> int | None:
    """A `Retry-After` in seconds; None when there is none that can be read."""
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdecimal():
            seconds = float(retry_after)
        else:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return round(min(max(seconds, 1.0), _LONGEST_WAIT))
