"""The domain's errors.

Every failure that a caller can meet is one of these. Nothing here knows HTTP: `hpcwaas.api.problems` turns the
stable `id` of an error into a status and a problem document, in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class ServiceError(Exception):
    """Base of the domain's errors.

    Args:
        detail: one or two sentences for the caller: what is wrong and what to do. Never a secret, never a stack trace.

    Attributes:
        logged: who raised it keeps the log informed. An outage is a line a minute there, not one for each request.
    """

    id: ClassVar[str] = "internal_server_error"
    logged: bool = False

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadRequest(ServiceError):
    """The request is malformed, or a value in it isn't what the contract says."""

    id = "bad_request"


@dataclass(frozen=True, slots=True)
class InputProblem:
    """One thing that is wrong with one input of a workflow.

    Attributes:
        input: name of the input, with the way into it (`samples[2].name`).
        detail: what was given and what is expected, in a sentence.
        given: the value as it was given, shortened for display; None when it is missing.
        expected: what is accepted, in plain words.
        suggestion: a declared name that the caller may have meant.
    """

    input: str
    detail: str
    given: str | None = None
    expected: str | None = None
    suggestion: str | None = None


class InvalidInputs(BadRequest):
    """Inputs don't match the workflow's schema. Carries all problems at once.

    Args:
        problems: at least one.
    """

    id = "bad_request"

    def __init__(self, problems: Sequence[InputProblem]) -> None:
        super().__init__("; ".join(problem.detail for problem in problems))
        self.problems = tuple(problems)


class Unauthorized(ServiceError):
    """No credentials, or wrong ones."""

    id = "unauthorized"


class StepUp(Unauthorized):
    """The caller is known, and has to prove anew or better who they are (RFC 9470).

    Args:
        acr_values: ways of which one will do; none means that any will.
        max_age: seconds that the proof may be old; None means that it may be as old as it likes.
    """

    def __init__(self, acr_values: Sequence[str], max_age: int | None) -> None:
        better = f"a stronger sign-in ({' or '.join(acr_values)})" if acr_values else "a sign-in"
        fresh = f" that is not more than {max_age} seconds old" if max_age is not None else ""
        super().__init__(f"This demands {better}{fresh}. Sign in again.")
        self.acr_values = tuple(acr_values)
        self.max_age = max_age


class Forbidden(ServiceError):
    """The caller is known and lacks the permission itself. An object of somebody else is `not_found`."""

    id = "forbidden"


class TermsNotAccepted(Forbidden):
    """The caller has to accept the terms of use first.

    Args:
        version: of the terms.
        url: where they can be read, outside of the service.
    """

    def __init__(self, version: str, url: str | None) -> None:
        super().__init__(
            f"Accept the terms of use, version {version}, first: run `waas terms`, or sign in by a browser. "
            "A script's owner does that, once."
        )
        self.version = version
        self.url = url


class NotFound(ServiceError):
    """No such object, or none that belongs to the caller: both say the same."""

    id = "not_found"


class Gone(ServiceError):
    """It was there and was removed, for good."""

    id = "gone"


class Conflict(ServiceError):
    """The object's present state forbids the request."""

    id = "conflict"


class KeyInUse(Conflict):
    """An SSH key is needed: by executions that haven't ended, or to open accounts on sites.

    Args:
        executions: their ids.
        sites: ids of the sites that the accounts are on.
    """

    def __init__(self, executions: Sequence[str], sites: Sequence[str] = ()) -> None:
        some = ", ".join(executions[:5]) + (", …" if len(executions) > 5 else "")
        wait = "Wait for them or cancel them" if sites else "Wait for them, cancel them"
        parts = [f"Executions that use this key haven't ended: {some}. {wait}"] if executions else []
        if sites:
            where = ", ".join(f"`{site}`" for site in sites)
            parts.append(f"This key opens your account on {where}. Name another key there, disconnect the account")
        super().__init__(". ".join(parts) + ", or force the deletion.")
        self.executions = tuple(executions)
        self.sites = tuple(sites)


class NotAcceptable(ServiceError):
    """The caller takes no form in which there is what they ask for."""

    id = "not_acceptable"


class PreconditionFailed(ServiceError):
    """The caller made the request depend on a state that the object isn't in."""

    id = "precondition_failed"


class TooLarge(ServiceError):
    """A body is over the limit."""

    id = "payload_too_large"


class RequestTimeout(ServiceError):
    """The caller began a body and doesn't go on with it."""

    id = "request_timeout"


class RangeNotSatisfiable(ServiceError):
    """A part of a file was asked for that the file doesn't have.

    Args:
        size: of the file, in bytes.
    """

    id = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The file has {size} bytes.")
        self.size = size


class TooManyRequests(ServiceError):
    """The caller's own share of a limited thing is used up.

    Args:
        retry_after: seconds after which a new try makes sense.
    """

    id = "too_many_requests"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class UpstreamFailed(ServiceError):
    """A server behind this one failed, or gave an answer that can't be understood."""

    id = "bad_gateway"


class Unavailable(ServiceError):
    """Something that the request needs is down or full.

    Args:
        retry_after: seconds after which a new try makes sense.
    """

    id = "service_unavailable"

    def __init__(self, detail: str, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class UpstreamTimeout(ServiceError):
    """A server behind this one took too long."""

    id = "gateway_timeout"


class UncertainStart(UpstreamTimeout):
    """An engine was asked to start an execution and its answer was lost: the execution may run, and must not be
    started again."""


class ConfigurationError(Exception):
    """The service can't start as configured.

    Args:
        key: the setting's full name (`cwl.max_running`).
        detail: what is wrong with it and what is expected.
    """

    def __init__(self, key: str, detail: str) -> None:
        super().__init__(f"{key}: {detail}")
        self.key = key
        self.detail = detail
