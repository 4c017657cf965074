"""What Alien4Cloud's own errors mean.

No error quotes Alien4Cloud: its texts may hold stack traces or secrets.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from hpcwaas.engines.orchestrated import faults as orchestrated
from hpcwaas.errors import ServiceError, Unavailable, UpstreamFailed

MAINTENANCE = 0
NOT_LOGGED_IN = 100
NO_RIGHTS = 102
ORCHESTRATOR_DISABLED = 370
ILLEGAL_PARAMETER = 501
NOT_FOUND = 504
WORKFLOW_FAILED = 619
CONSTRAINT = 800
BAD_OPERATION = 850


class Refusal(UpstreamFailed):
    """Alien4Cloud understood the request and answered with an error.

    Attributes:
        status: of HTTP; may be 200.
        code: Alien4Cloud's own.
        message: in its words. For decisions and the log, never for users.
    """

    def __init__(self, status: int, code: int, message: str) -> None:
        if code == NO_RIGHTS:
            detail = (
                "Alien4Cloud doesn't let this service's account do that. An operator has to correct the roles of "
                "alien_config.user there."
            )
        else:
            detail = "Alien4Cloud answered the request with an error."
        super().__init__(detail)
        self.status = status
        self.code = code
        self.message = message


def refusal(status: int, code: int, message: str) -> ServiceError:
    """The error for an answer with `error` set."""
    if code == MAINTENANCE:
        return Unavailable("Alien4Cloud is in maintenance. Try again later.", 60)
    if code == ORCHESTRATOR_DISABLED:
        return Unavailable("The orchestrator behind Alien4Cloud is switched off. Tell an operator.", 60)
    if message.startswith("Connection refused"):
        return Unavailable("The orchestrator behind Alien4Cloud can't be reached.", 30)
    return Refusal(status, code, message)


def reading(what: str) -> AbstractContextManager[None]:
    """Around code that takes an answer apart."""
    return orchestrated.reading("Alien4Cloud", what)
