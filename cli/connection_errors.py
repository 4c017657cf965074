"""Errors of the connection, in plain words."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import requests

from .config import DEFAULT, Config
from .errors import Unreachable, UsageError


def unreachable(error: Exception, config: Config) -> Unreachable:
    """Turns an exception of an HTTP library into a sentence that names the address, and what to check."""
    causes = list(_chain(error))
    where = f"{config.api_url} (from {config.api_url_from})"
    certificate = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    unsent = True
    if certificate:
        message = f"The certificate of {where} can't be trusted: {certificate.verify_message}."
        hint = "Name the authority that signed it with --ca_file, or check the address."
    elif isinstance(error, requests.exceptions.SSLError) or any(isinstance(cause, ssl.SSLError) for cause in causes):
        message = f"Can't make a TLS connection to {where}: {_words(causes)}."
        hint = "If the service uses plain HTTP, its address begins with http://."
    elif any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        message, hint = f"Can't connect to {where}: connection refused.", _how_to_connect(config)
    elif any(isinstance(cause, socket.gaierror) or type(cause).__name__ == "NameResolutionError" for cause in causes):
        message, hint = f"Can't connect to {where}: the name of the host is unknown.", _how_to_connect(config)
    else:
        unsent = False
        message, hint = f"The connection to {where} failed: {_words(causes)}.", "Check the address and the network."
        if "Timeout" in type(error).__name__:
            message, hint = f"{where} didn't answer in time.", "Try again, or ask an operator of the service."
    failure = Unreachable(message, hint=hint)
    failure.unsent = unsent
    return failure


def _how_to_connect(config: Config) -> str:
    if config.local:
        return "The service on this machine has ended. Start it again."
    if config.api_url_from == DEFAULT:
        return (
            "To sign in to a service, run: waas login --api_url URL\n"
            "Or give its address with --api_url, HW_API_URL or api_url in $HOME/.waas, or start a service of your own."
        )
    return "Check that the service is running, and that the address is right."


def unusable(error: Exception, config: Config) -> UsageError:
    """The error for a request that wasn't sent: the address, that of a proxy, or a file of certificates is wrong."""
    where = f"{config.api_url} (from {config.api_url_from})"
    return UsageError(
        f"No request can be sent to {where}: {' '.join(str(error).split()).rstrip('.')}.",
        hint="Check the address, and the variables HTTPS_PROXY, HTTP_PROXY and REQUESTS_CA_BUNDLE if they are set.",
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
