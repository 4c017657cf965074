"""The identity provider's answers: JSON objects, or refusals."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcwaas.common.http import Auth, Failure, HTTPClient, NoAnswer
from hpcwaas.errors import UpstreamFailed

Claims = dict[str, Any]

UNINTELLIGIBLE = "The identity provider gave an answer that can't be understood."

_LOGGER = logging.getLogger(__name__)
_CONNECTIONS = 32
_LARGEST_ANSWER = 2**20
"""Bytes. Key sets and user infos have a few thousand."""


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
            raise UpstreamFailed(UNINTELLIGIBLE)
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
        self._http = HTTPClient(
            "the identity provider",
            "auth",
            ca_file=ca_file,
            timeouts=timeouts,
            largest=_LARGEST_ANSWER,
            connections=_CONNECTIONS,
        )

    def get(self, url: str, auth: Auth | None = None) -> Reply:
        """Asks for something; may be repeated when a connection breaks.

        Raises:
            Unavailable, UpstreamFailed, UpstreamTimeout: there is no usable answer.
        """
        return self._call("GET", url, None, auth, again=True)

    def post(self, url: str, form: Mapping[str, str], auth: Auth | None, *, again: bool) -> Reply:
        """Sends a form; as `get`.

        Args:
            again: whether it does no harm when it arrives twice.
        """
        return self._call("POST", url, form, auth, again=again)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _call(self, method: str, url: str, form: Mapping[str, str] | None, auth: Auth | None, *, again: bool) -> Reply:
        try:
            return self._http.retried(lambda: self._once(method, url, form, auth), 2 if again else 1)
        except NoAnswer as failure:
            _LOGGER.warning("%s %s: %s", method, url, failure.why[:300])
            raise failure.error from failure

    def _once(self, method: str, url: str, form: Mapping[str, str] | None, auth: Auth | None) -> Reply:
        response = self._http.request(method, url, data=form, headers={"Accept": "application/json"}, auth=auth)
        self._http.require_answer(response)
        status = response.status_code
        document = _document(response.content)
        if 300 <= status < 400 or status >= 500 or (status < 300 and document is None):
            kind = response.headers.get("Content-Type", "")[:80]
            raise self._http.failure(Failure.UNINTELLIGIBLE, f"status {status} with {kind!r}")
        return Reply(status, document)


def _document(content: bytes) -> Claims | None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
