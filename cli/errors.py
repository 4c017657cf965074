"""What can go wrong, and the exit codes that say so."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import click

MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What comes of using an answer of the service that hasn't the form that the contract promises."""


class ExitCode(IntEnum):
    """How the command ended. Documented for scripts; never change a number."""

    OK = 0
    ERROR = 1
    USAGE = 2
    FAILED = 3
    CANCELLED = 4
    NOT_FOUND = 5
    UNAUTHORIZED = 6
    INTERRUPTED = 130


class WaasError(click.ClickException):
    """An error for the user: what happened, and what to do next.

    Attributes:
        code: how the command ends.
        hint: what to do about it.
        problem: the service's own problem document, when it sent one.
    """

    code = ExitCode.ERROR

    def __init__(
        self,
        message: str,
        *,
        code: ExitCode | None = None,
        hint: str | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.code
        self.hint = hint
        self.problem = problem


class UsageError(WaasError):
    """The command line, the configuration or an input is wrong."""

    code = ExitCode.USAGE


class NotFound(WaasError):
    """The service has no such thing for this user. `problem` is None when it doesn't even know the path."""

    code = ExitCode.NOT_FOUND


class Unauthorized(WaasError):
    """The user isn't signed in, or isn't allowed to do this."""

    code = ExitCode.UNAUTHORIZED


class Unreachable(WaasError):
    """The service didn't answer, or says that it is down for now. Another try may succeed later.

    Attributes:
        retry_after: seconds that the service asked to wait for.
        unsent: the request wasn't sent, because nothing is there that could be asked.
    """

    retry_after: float | None = None
    unsent = False


class Interrupted(WaasError):
    """The user pressed Ctrl-C."""

    code = ExitCode.INTERRUPTED
