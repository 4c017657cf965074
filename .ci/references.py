"""Writes those pages of docs/reference/ anew that no command prints, for `make references`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from waas_cli import gendoc

from hpcwaas.api import problems
from hpcwaas.command.main import main as service
from hpcwaas.errors import ServiceError

TOP = Path(__file__).parents[1]
sys.path.append(str(TOP / ".ci"))

import api_page  # noqa: E402 - stands beside this file

WHEN = {
    "method_not_allowed": "The path has no such method.",
    "uri_too_long": "The address with its query is over the limit.",
    "unsupported_media_type": "A body is of another type than the operation takes.",
    "expectation_failed": "The request's `Expect` isn't `100-continue`.",
    "request_header_fields_too_large": "The headers are too many, or too long.",
    "internal_server_error": "The service has a defect.",
    "not_implemented": "The request uses a part of HTTP that the service doesn't speak.",
    "http_version_not_supported": "The request isn't of HTTP/1.1 or HTTP/1.0.",
}
"""When errors arise that no class of the domain's stands for."""

WHAT_TO_DO = {
    "bad_request": "Correct what `detail` names. For inputs, `inputs` lists everything that is wrong at once.",
    "unauthorized": "Sign in (`waas login`), or make a new token. With `acr_values` or `max_age` sign in as they ask.",
    "forbidden": "Use a token with the scope that `detail` names, or ask an operator. With `terms`, accept these.",
    "not_found": "Check the id. What isn't yours, and isn't shared with you, answers like what doesn't exist.",
    "method_not_allowed": "Use a method that the header `Allow` names.",
    "not_acceptable": "Leave `Accept` out, or name a type that the [API](api.md) lists for the operation.",
    "conflict": "Look at the object, and do first what `detail` says.",
    "gone": "Run the workflow again if you need what was removed.",
    "request_timeout": "Send the request again, without pauses.",
    "precondition_failed": "Fetch the object anew; what you have is out of date.",
    "payload_too_large": "Send less. Large inputs are uploaded as files.",
    "uri_too_long": "Shorten the query.",
    "unsupported_media_type": "Set `Content-Type` to the one that `detail` names.",
    "range_not_satisfiable": "Ask for a range within the size that `Content-Range` names.",
    "expectation_failed": "Leave `Expect` out.",
    "too_many_requests": "Wait for the seconds of `Retry-After`, or until what `detail` names has ended.",
    "request_header_fields_too_large": "Send fewer and shorter headers; cookies of other pages often are the reason.",
    "internal_server_error": "Tell an operator the `request_id`, which leads to the log.",
    "not_implemented": "Do what `detail` says.",
    "bad_gateway": "Tell an operator, who finds the reason in the log.",
    "service_unavailable": "Try again after the seconds of `Retry-After`; `detail` says what is down or full.",
    "gateway_timeout": "Look at the state before you try again: what you asked for may have been done.",
    "http_version_not_supported": "Use HTTP/1.1.",
}

_HEAD = """# Errors

<!-- Made from the code by `make references`. -->

Every answer with a status of 400 or more is a problem document ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) of
the type `application/problem+json`. `detail` says in whole sentences what is wrong, and what to do:

```json
EXAMPLE
```

| member | what it says |
| --- | --- |
MEMBERS
Rely on `status`, or on the `id` in `errors`, which never change; texts may. `waas` prints the texts, and its
[exit codes](cli.md) tell the kinds apart. `POST /auth/token` answers as
[RFC 6749](https://www.rfc-editor.org/rfc/rfc6749#section-5.2) says, by `error` and `error_description`.

| status | `id` | when | what to do |
| --- | --- | --- | --- |
"""
_MEMBERS = {
    "type": "Always `about:blank`: the status says which kind it is.",
    "title": "The name of the status.",
    "status": "The status.",
    "detail": "What happened, to what, and what to do.",
    "errors": "The same once more, with the error's `id`, for clients of the service before this one.",
}
"""What the contract leaves to the standard."""


def errors() -> str:
    """The page about all errors that a request can meet."""
    schema, example = api_page.problem(_contract())
    members = "".join(
        f"| `{name}` | {_MEMBERS.get(name) or about['description']} |\n" for name, about in schema.items()
    )
    rows = "".join(
        f"| {status} {problems.title(status)} | `{name}` | {_when(name)} | {WHAT_TO_DO[name]} |\n"
        for name, status in sorted(problems.STATUS.items(), key=lambda row: row[1])
    )
    return _HEAD.replace("EXAMPLE", example).replace("MEMBERS", members) + rows


def _when(name: str) -> str:
    if name in WHEN:
        return WHEN[name]
    meaning = next(kind for kind in ServiceError.__subclasses__() if kind.id == name)
    return " ".join(inspect.cleandoc(meaning.__doc__ or "").split("\n\n")[0].split())


def _contract() -> api_page.Json:
    found: api_page.Json = yaml.safe_load((TOP / "openapi.yaml").read_text(encoding="utf-8"))
    return found


PAGES: dict[str, Callable[[], str]] = {
    "api": lambda: api_page.page(_contract()),
    "errors": errors,
    "hpcwaas-api": lambda: gendoc.reference(service, "hpcwaas-api"),
}


if __name__ == "__main__":
    for name, made in PAGES.items():
        (TOP / "docs" / "reference" / f"{name}.md").write_text(made(), encoding="utf-8")
