"""HTTP to the identity provider: pooled, bounded in time and size, and without a word of its answers in our errors."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from hpcwaas.errors import ConfigurationError, Unavailable, UpstreamFailed, UpstreamTimeout

Claims = dict[str, Any]
Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]

NONSENSE = "The identity provider gave an answer that makes no sense."

_LOGGER = logging.getLogger(__name__)
_CONNECTIONS = 32
_LARGEST_ANSWER = 2**20
"""Bytes. Key sets and user infos have a few thousand."""
_LONGEST_WAIT = 300
"""Seconds: most that is passed on of a `Retry-After`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer below status 300, or a refusal (4xx).

    Attributes:
        document: the JSON object in it, if it is one.
    """

    status: int
    document: Claims | None

    def claims(self) -> Claims:
        """The document of an answer that has to have one.

        Raises:
            UpstreamFailed: it is a refusal, or has none.
        """
        if self.status != 200 or self.document is None:
            raise UpstreamFailed(NONSENSE)
        return self.document


class Upstream:
    """Calls the identity provider, for any number of threads.

    Args:
        ca_file: certificates to trust instead of those that come with Python.
        timeouts: seconds to wait for a connection and for an answer.

    Raises:
        ConfigurationError: there is no such file.
    """

    def __init__(self, ca_file: Path | None, timeouts: tuple[float, float] = (5.0, 10.0)) -> None:
        if ca_file is not None and not ca_file.is_file():
            raise ConfigurationError("auth.ca_file", f"there is no file {ca_file}")
        self._verify: str | bool = str(ca_file) if ca_file else True
        self._timeouts = timeouts
        self._http = requests.Session()
        self._http.cookies.set_policy(
            DefaultCookiePolicy(allowed_domains=[])
        )  # one user's never come to another's call
        for scheme in ("http://", "https://"):
            self._http.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=_CONNECTIONS))

    def get(self, url: str, auth: Auth | None = None) -> Reply:
        """Asks for something; may be repeated when a connection breaks.

        Raises:
            Unavailable, UpstreamFailed, UpstreamTimeout: there is no usable answer.
        """
        return self._call("GET", url, None, auth, tries=2)

    def post(self, url: str, form: Mapping[str, str], auth: Auth | None, *, again: bool) -> Reply:
        """Sends a form; as `get`.

        Args:
            again: whether it does no harm when it arrives twice.
        """
        return self._call("POST", url, form, auth, tries=2 if again else 1)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _call(self, method: str, url: str, form: Mapping[str, str] | None, auth: Auth | None, tries: int) -> Reply:
        while True:
            tries -= 1
            try:
                return self._once(method, url, form, auth)
            except requests.Timeout as error:
                _LOGGER.warning("%s %s: %s", method, url, str(error)[:300])
                raise UpstreamTimeout("The identity provider takes too long to answer.") from error
            except requests.exceptions.SSLError as error:
                _LOGGER.error("%s %s: %s", method, url, str(error)[:300])  # noqa: TRY400 - no traceback of urllib3
                raise Unavailable(
                    "The certificate of the identity provider can't be verified: auth.ca_file needs a look.", 60
                ) from error
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                if tries:  # a connection of the pool may just have been closed at the other end
                    continue
                _LOGGER.warning("%s %s: %s", method, url, str(error)[:300])
                raise Unavailable("The identity provider can't be reached.") from error

    def _once(self, method: str, url: str, form: Mapping[str, str] | None, auth: Auth | None) -> Reply:
        deadline = time.monotonic() + sum(self._timeouts)
        with self._http.request(
            method,
            url,
            data=form,
            # Uncompressed, so that the limit of size is one of memory, too.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            auth=auth or _as_it_is,  # with none ~/.netrc would be asked
            timeout=self._timeouts,
            allow_redirects=False,
            verify=self._verify,
            stream=True,
        ) as response:
            status = response.status_code
            if status in (429, 503):
                wait = _retry_after(response.headers.get("Retry-After"))
                _LOGGER.warning("%s %s: status %s", method, url, status)
                raise Unavailable("The identity provider takes no more requests just now.", wait)
            document = _document(_read(response, deadline)) if status < 300 or status >= 400 else None
            if 300 <= status < 400 or status >= 500 or (status < 300 and document is None):
                kind = response.headers.get("Content-Type", "")[:80]
                _LOGGER.error("%s %s: status %s with %r, which makes no sense", method, url, status, kind)
                raise UpstreamFailed(NONSENSE)
            return Reply(status, document)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, within a size and a time: a timeout of the socket alone never ends a body that drips."""
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            part = response.raw.read1(64 * 1024, decode_content=False)  # `iter_content` would wait for whole parts
        except urllib3.exceptions.ReadTimeoutError as error:
            raise requests.ReadTimeout(error) from error
        if not part:
            return b"".join(parts)
        size += len(part)
        if size > _LARGEST_ANSWER:
            raise UpstreamFailed("The identity provider gave an answer that is far too large.")
        if time.monotonic() > deadline:
            raise requests.ReadTimeout("the body takes too long")
        parts.append(part)


def _document(content: bytes) -> Claims | None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _retry_after(value: str | None) -> int:
    try:
        seconds = float(value) if value and value.strip().isdecimal() else None
        if seconds is None:
            seconds = parsedate_to_datetime(value or "").timestamp() - time.time()
    except (ValueError, OverflowError):
        seconds = 5.0
    return round(min(max(seconds, 1.0), _LONGEST_WAIT))
