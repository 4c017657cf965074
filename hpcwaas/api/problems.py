"""Turns every failure into a problem document (RFC 9457), in one place."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from connexion import ConnexionMiddleware
from connexion.exceptions import ProblemException
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from hpcwaas.common.repeats import Repeats
from hpcwaas.errors import InvalidInputs, KeyInUse, RangeNotSatisfiable, ServiceError, StepUp, TermsNotAccepted

_LOGGER = logging.getLogger(__name__)

_REPEATS = Repeats()

MEDIA_TYPE = "application/problem+json"

CHALLENGE = 'Bearer realm="hpcwaas", Basic realm="hpcwaas", charset="UTF-8"'
"""Value of `WWW-Authenticate`: what credentials are accepted."""

STATUS: Mapping[str, int] = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "conflict": 409,
    "gone": 410,
    "request_timeout": 408,
    "precondition_failed": 412,
    "payload_too_large": 413,
    "uri_too_long": 414,
    "unsupported_media_type": 415,
    "range_not_satisfiable": 416,
    "expectation_failed": 417,
    "too_many_requests": 429,
    "request_header_fields_too_large": 431,
    "internal_server_error": 500,
    "not_implemented": 501,
    "bad_gateway": 502,
    "service_unavailable": 503,
    "gateway_timeout": 504,
    "http_version_not_supported": 505,
}
_IDS = {status: error_id for error_id, status in STATUS.items()}
_TITLES = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable"}
_DETAILS = {
    401: "Credentials are missing or wrong.",
    404: "There is nothing at this path.",
    500: "The service failed unexpectedly. Tell an operator the request id.",
}


INSUFFICIENT = "insufficient_user_authentication"
"""RFC 9470's word for credentials that have to be better or newer."""


def _step_up(error: StepUp) -> str:
    """The challenge of RFC 9470."""
    parts = [f'error="{INSUFFICIENT}"', f'error_description="{_quoted(error.detail)}"']
    if error.acr_values:
        parts.append(f'acr_values="{_quoted(" ".join(error.acr_values))}"')
    if error.max_age is not None:
        parts.append(f"max_age={error.max_age}")
    return f"Bearer {', '.join(parts)}"


def _quoted(text: str) -> str:
    """A text as it stands between quotation marks of a header."""
    return re.sub(r'(["\\])', r"\\\1", text.encode("ascii", "replace").decode())


def title(status: int) -> str:
    """What a status is called."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def problem(
    status: int, detail: str, request_id: str | None, path: str | None, **members: object
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a problem.

    Args:
        members: further members of the document.
    """
    name = title(status)
    document = {
        "type": "about:blank",
        "title": name,
        "status": status,
        "detail": detail,
        "instance": path,
        "request_id": request_id,
        "errors": [{"id": _IDS.get(status, "error"), "status": status, "title": name, "detail": detail}],
    } | members
    headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = CHALLENGE
    body = {name: value for name, value in document.items() if value is not None}
    # A path may hold lone surrogates, which UTF-8 can't: escape all but ASCII.
    return json.dumps(body, ensure_ascii=True).encode(), headers


def summary(error: ServiceError) -> dict[str, object]:
    """What is told of a failure where an answer has begun already."""
    status = STATUS[error.id]
    return {"status": status, "title": _TITLES.get(status) or HTTPStatus(status).phrase, "detail": error.detail}


def register(app: ConnexionMiddleware) -> None:
    """Makes the app answer every exception with a problem."""
    app.add_error_handler(ServiceError, _service_error)
    app.add_error_handler(ProblemException, _connexion_error)
    app.add_error_handler(StarletteHTTPException, _starlette_error)
    app.add_error_handler(Exception, _defect)


async def _service_error(request: ConnexionRequest, error: ServiceError) -> ConnexionResponse:
    members: dict[str, Any] = {}
    if isinstance(error, InvalidInputs):
        members["inputs"] = [
            {
                "input": found.input,
                "detail": found.detail,
                "given": found.given,
                "expected": found.expected,
                "suggestion": found.suggestion,
            }
            for found in error.problems
        ]
    if isinstance(error, KeyInUse):
        members |= {"executions": list(error.executions), "sites": list(error.sites)}
    headers = {}
    if isinstance(error, StepUp):
        members |= {"error": INSUFFICIENT, "acr_values": list(error.acr_values), "max_age": error.max_age}
        headers["WWW-Authenticate"] = _step_up(error)
    if isinstance(error, TermsNotAccepted):
        members["terms"] = {"version": error.version, "url": error.url}
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    status = STATUS[error.id]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log(error)
    return _response(request, status, error.detail, headers, **members)


def _log(error: ServiceError) -> None:
    """Tells of a failure behind the service: once a minute, and not at all where that is done elsewhere."""
    if not error.logged and _REPEATS.due((error.id, error.detail)) is not None:
        cause = error.__cause__
        _LOGGER.error("%s: %s%s", error.id, error.detail, f" ({type(cause).__name__})" if cause else "")


async def _connexion_error(request: ConnexionRequest, error: ProblemException) -> ConnexionResponse:
    if error.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        given = request.headers.get("content-type")
        return _response(request, error.status, f"The body's type is {given}; expected application/json.")
    return _response(request, error.status, _DETAILS.get(error.status) or error.detail, error.headers)


async def _starlette_error(request: ConnexionRequest, error: StarletteHTTPException) -> ConnexionResponse:
    return _response(request, error.status_code, _DETAILS.get(error.status_code) or error.detail, error.headers)


async def _defect(request: ConnexionRequest, error: Exception) -> ConnexionResponse:
    _LOGGER.error("unexpected error", exc_info=error)
    return _response(request, 500, None)


def _response(
    request: ConnexionRequest,
    status: int,
    detail: str | None,
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> ConnexionResponse:
    scope = request.scope
    body, own = problem(
        status,
        detail or _DETAILS.get(status) or HTTPStatus(status).description,
        scope.get("extensions", {}).get("hpcwaas.request_id"),
        scope.get("path"),
        **members,
    )
    return ConnexionResponse(status_code=status, content_type=MEDIA_TYPE, headers={**own, **(headers or {})}, body=body)
