"""Turns what hvac and requests raise into the domain's errors.

No text of the vault gets through: it may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from hvac.exceptions import InvalidRequest, RateLimitExceeded, VaultDown, VaultError, VaultNotInitialized
from requests.exceptions import ConnectTimeout, ReadTimeout, SSLError
from urllib3.exceptions import MaxRetryError, NewConnectionError

from hpcwaas.core.ports.vault import NotDone
from hpcwaas.errors import ServiceError, Unavailable, UpstreamFailed, UpstreamTimeout


class CutOff(Unavailable):
    """The connection ended before the answer: what was asked for may have been done."""


class Forbidding(UpstreamFailed):
    """The vault's policy forbids the service something that it needs."""


class Refused(Unavailable):
    """The vault doesn't let the service in.

    Args:
        reason: for operators.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("The vault doesn't let the service in. Tell an operator.", retry_after=30)
        self.reason = reason


@contextmanager
def translated() -> Iterator[None]:
    """Around calls of hvac. Refusals (`Forbidden`, `InvalidPath`, `InvalidRequest`) pass through it in `plain` only.

    Raises:
        ServiceError: what went wrong, in words of our own. Never chained: a chain is printed in the log.
    """
    try:
        yield
    except requests.RequestException as error:
        raise _of_connection(error) from None
    except (VaultDown, VaultNotInitialized):
        raise NotDone("The vault is sealed or not ready.") from None
    except RateLimitExceeded:
        raise NotDone("The vault is overloaded.") from None
    except (AttributeError, TypeError, KeyError, ValueError):
        # hvac and whoever reads its answers rely on their shape; a proxy in between may answer anything.
        raise UpstreamFailed("The vault's answer makes no sense.") from None


@contextmanager
def final() -> Iterator[None]:
    """Around calls of hvac whose refusal isn't expected and means that something is set up wrongly."""
    try:
        with translated():
            yield
    except InvalidRequest:
        raise UpstreamFailed("The vault refused the request.") from None
    except VaultError:
        raise UpstreamFailed("The vault failed.") from None


def _of_connection(error: requests.RequestException) -> ServiceError:
    match error:
        case ReadTimeout():
            return UpstreamTimeout("The vault didn't answer in time.")
        case SSLError():
            return NotDone("The vault's certificate isn't accepted.")
        case ConnectTimeout():
            return NotDone("The vault can't be reached.")
        case requests.ConnectionError():
            cause = error.args[0] if error.args else None
            unconnected = isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
            return NotDone("The vault can't be reached.") if unconnected else CutOff("The vault closed the connection.")
    return UpstreamFailed("The vault's answer makes no sense.")
