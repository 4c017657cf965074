"""The Flask application: the contract's operations as views of their handlers.

Connexion has routed, checked and parsed a request before it gets here. Its own decorators for Flask would do most of
that once more, with everything that they need made anew for each request: a fifth of a request's time.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import flask
from flask import Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from werkzeug.exceptions import HTTPException

from hpcwaas.api.contract import operations
from hpcwaas.api.validation import ARGUMENTS
from hpcwaas.errors import Forbidden, NotFound, StepUp

Handler = Callable[..., Response]


def flask_app(contract: Mapping[str, Any], handlers: Mapping[str, Handler]) -> flask.Flask:
    """Makes the application.

    Args:
        handlers: by operation id. They are given what they name: parameters of the contract, with `_` behind words that
            are Python's own; the parsed `body`; the `principal`, when there is one.
    """
    app = flask.Flask(__name__, static_folder=None)
    # Every exception goes on to Connexion, where it becomes a problem document.
    app.config.update(PROPAGATE_EXCEPTIONS=True, TRAP_BAD_REQUEST_ERRORS=True, TRAP_HTTP_EXCEPTIONS=True)
    app.register_error_handler(HTTPException, _raise)
    for one in operations(contract):
        if one.id not in handlers:
            continue  # answered before it gets here
        rule = re.sub(r"\{(\w+)\}", r"<\1>", one.path)
        view = _view(handlers[one.id], by_operators=one.by_operators)
        app.add_url_rule(rule, one.id, view, methods=[one.verb])
    return app


def _view(handler: Handler, *, by_operators: bool) -> Callable[..., Response]:
    wanted = frozenset(inspect.signature(handler).parameters)

    def view(**_path: str) -> Response:
        extensions = flask.request.environ["asgi.scope"]["extensions"]
        principal = extensions.get("connexion_context", {}).get("token_info", {}).get("principal")
        given = extensions[ARGUMENTS] | ({} if principal is None else {"principal": principal})
        try:
            return handler(**{name: value for name, value in given.items() if name in wanted})
        except (NotFound, Forbidden) as error:
            if not by_operators or (demand := principal.short_of) is None:
                raise
            # To an operator it may exist, or be allowed.
            raise StepUp(demand.acr_values, demand.max_age) from error

    return view


def _raise(error: HTTPException) -> NoReturn:
    raise StarletteHTTPException(error.code or 500, error.description)
