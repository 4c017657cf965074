"""What the failures of the vault mean.

No text of the vault gets through: it may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hvac.exceptions import InvalidRequest, RateLimitExceeded, VaultDown, VaultError, VaultNotInitialized

from hpcwaas.common.http import NoAnswer
from hpcwaas.core.ports.vault import NotDone
from hpcwaas.errors import Unavailable, UpstreamFailed


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
def answered() -> Iterator[None]:
    """Around calls of hvac. A vault that can't work as it is has given no answer, and changed nothing.

    Raises:
        NoAnswer: there is none.
    """
    try:
        yield
    except (VaultDown, VaultNotInitialized):
        raise NoAnswer(
            NotDone("The vault is sealed or not ready. Tell an operator."), sent=False, again=False
        ) from None
    except RateLimitExceeded:
        raise NoAnswer(
            NotDone("The vault is overloaded. Try again in a few seconds."), sent=False, again=False
        ) from None


@contextmanager
def translated() -> Iterator[None]:
    """Around calls of hvac. Refusals (`Forbidden`, `InvalidPath`, `InvalidRequest`) pass through it.

    Raises:
        ServiceError: what went wrong, in words of our own. Never chained: a chain is printed in the log.
    """
    try:
        with answered():
            yield
    except NoAnswer as failure:
        if failure.sent or not isinstance(failure.error, Unavailable):
            raise failure.error from None
        raise NotDone(failure.error.detail, failure.error.retry_after) from None
    except (AttributeError, TypeError, KeyError, ValueError):
        # hvac and whoever reads its answers rely on their shape; a proxy in between may answer anything.
        raise UpstreamFailed("The vault gave an answer that can't be understood.") from None


@contextmanager
def final() -> Iterator[None]:
    """Around calls of hvac whose refusal isn't expected and means that something is set up wrongly."""
    try:
        with translated():
            yield
    except InvalidRequest:
        raise UpstreamFailed("The vault refused the request. Tell an operator.") from None
    except VaultError:
        raise UpstreamFailed("The vault answered with an error. Tell an operator.") from None
