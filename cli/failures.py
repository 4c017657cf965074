"""What the service's refusals mean, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .config import Config
from .errors import NotFound, Unauthorized, Unreachable, UsageError, WaasError
from .retry import RETRIED_STATUSES, retry_after
from .stepup import WORD, SignInAgain

_LISTED = frozenset({"workflows", "executions", "files", "sites", "ssh_keys", "tokens"})


def failure_of(
    config: Config, where: str, status: int, reason: str, headers: Mapping[str, str], body: Any
) -> WaasError:
    """What an answer of 300 or more means.

    Args:
        config: what the request was sent with.
        where: path of the request.
        reason: the words beside the status.
        headers: of the answer; whether their names are in capitals doesn't matter.
        body: the value in the answer; None when it isn't JSON.
    """
    problem = body if isinstance(body, dict) else None
    detail = _detail(problem) or f"The service answered {status} {reason}."
    if status < 400:
        return WaasError(
            f"{config.api_url} redirects to {headers.get('Location')}.",
            hint="Give the address of the service itself with --api_url.",
        )
    if status == 401 and problem is not None and problem.get("error") == WORD:
        return SignInAgain(problem, detail, config.login_command)
    if status == 401:
        return Unauthorized(
            f"You aren't signed in at {config.api_url}: {detail}", hint=_how_to_sign_in(config), problem=problem
        )
    if status == 403:
        return Unauthorized(detail, hint=_how_to_do_more(config, where), problem=problem)
    if status == 404:
        # Only a service that knows the path sends a problem.
        group = where.split("/")[1]
        hint = f"To see what there is, run: waas {group} list" if problem and group in _LISTED else None
        return NotFound(detail, hint=hint, problem=problem)
    if status == 400:
        return UsageError(detail, problem=problem)
    request_id = (problem or {}).get("request_id") or headers.get("X-Request-ID")
    hint = f"Quote the request id {request_id} when you ask an operator." if status >= 500 and request_id else None
    if status not in RETRIED_STATUSES:
        return WaasError(detail, hint=hint, problem=problem)
    down = Unreachable(detail, hint=hint, problem=problem)
    down.retry_after = retry_after(headers.get("Retry-After"))
    return down


def _detail(problem: Mapping[str, Any] | None) -> str | None:
    """The sentence in a problem, in the service's present form or its older one."""
    if not problem:
        return None
    detail, errors = problem.get("detail"), problem.get("errors")
    if isinstance(detail, str) and detail:
        return detail
    older = [error.get("detail") for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return "; ".join(each for each in older if isinstance(each, str)) or None


def _how_to_sign_in(config: Config) -> str:
    if config.local:
        return "The service on this machine doesn't accept its local profile any more. Start the service again."
    if config.login:
        return f"Sign in again: {config.login_command}"
    ways = "--user NAME (the password is asked for) or --access_token TOKEN, HW_USER or HW_ACCESS_TOKEN, or $HOME/.waas"
    if config.user or config.access_token:
        return f"Your credentials were refused. Give others: {ways}."
    return f"Sign in: {config.login_command}\nOr give credentials: {ways}."


def _how_to_do_more(config: Config, where: str) -> str | None:
    """What to do about a 403: the access token that `waas login` creates with a password allows less than that."""
    if config.login is None or config.login.refresh_token is not None:
        return None
    start = "`waas login` with a password gave this machine an access token."
    password = f"{start} Add --user NAME to use your password for this command."
    return {
        "auth": f"{start} Revoke those of other machines: waas tokens list --user NAME",
        "terms": password,
        "tokens": password,
    }.get(where.split("/")[1])
