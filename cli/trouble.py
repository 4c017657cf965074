"""Failures of the connection in plain words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import requests

from .config import DEFAULT, Config
from .errors import Unreachable, UsageError


class NoConnection(Unreachable):
    """No answer came.

    Attributes:
        refused: nothing was sent, because nothing listens there.
    """

    refused = False


def unreachable(error: Exception, config: Config) -> NoConnection:
    """Turns an exception of requests into one sentence that names the address and what to check."""
    causes = list(_chain(error))
    certificate = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    where = f"{config.api_url} (from {config.api_url_from})"
    if certificate:
        failure = NoConnection(
            f"The certificate of {where} can't be trusted: {certificate.verify_message}.",
            hint="Name the authority that signed it with --ca_file, or check the address.",
        )
        failure.refused = True
        return failure
    if isinstance(error, requests.exceptions.SSLError):
        failure = NoConnection(
            f"No TLS connection to {where}: {_words(causes)}.",
            hint="Does the service speak plain HTTP there? Then the address begins with http://.",
        )
        failure.refused = True
        return failure
    refused = next((cause for cause in causes if isinstance(cause, ConnectionRefusedError)), None)
    unknown = any(type(cause).__name__ == "NameResolutionError" for cause in causes)
    if refused or unknown:
        reason = "connection refused" if refused else "the name of the host is unknown"
        start = "Is the service running, and the address right?"
        if config.local:
            start = "Start the service again; it ended."
        elif config.api_url_from == DEFAULT:
            start = (
                "Sign in to a service: waas login --api_url URL\n"
                "Or name it with --api_url, HW_API_URL, or api_url in $HOME/.waas; or start one of your own."
            )
        failure = NoConnection(f"Can't connect to {where}: {reason}.", hint=start)
        failure.refused = True
        return failure
    if isinstance(error, requests.Timeout):
        return NoConnection(f"No answer from {where} in time.", hint="Try again, or ask an operator of the service.")
    return NoConnection(
        f"The connection to {where} failed: {_words(causes)}.", hint="Check the address and the network."
    )


def unusable(error: Exception, config: Config) -> UsageError:
    """What to say when nothing was sent because the address, a proxy's, or a file that a variable names is no good."""
    where = f"{config.api_url} (from {config.api_url_from})"
    return UsageError(
        f"{where} can't be asked: {' '.join(str(error).split()).rstrip('.')}.",
        hint="Check the address, and the variables HTTPS_PROXY, HTTP_PROXY and REQUESTS_CA_BUNDLE where they are set.",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it came from."""
    current: BaseException | None = error
    while current is not None:
        yield current
        reason = getattr(current, "reason", None)
        current = current.__cause__ or (reason if isinstance(reason, BaseException) else None) or current.__context__


def _words(causes: list[BaseException]) -> str:
    """The innermost cause that says something; never the outer ones, which quote whole requests."""
    for cause in reversed(causes):
        words = getattr(cause, "strerror", None) or (str(cause) if isinstance(cause, OSError) else "")
        if words:
            return str(words).rstrip(".")
    return type(causes[-1]).__name__
