"""Views of handlers: who gets what of a request."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Response
from starlette.exceptions import HTTPException
from werkzeug.test import TestResponse

from hpcwaas.api.handlers import flask_app
from hpcwaas.api.validation import ARGUMENTS
from hpcwaas.errors import NotFound

CONTRACT: dict[str, Any] = {
    "paths": {
        "/things": {"get": {"operationId": "list"}},
        "/things/{thing_id}": {"parameters": [], "get": {"operationId": "get"}, "delete": {"operationId": "delete"}},
    }
}
ARRIVED = {"thing_id": "a b", "from_": 3, "body": {"x": 1}}
CONTEXT = {"token_info": {"principal": "alice"}, "user": "alice"}


def ask(path: str, method: str = "GET") -> tuple[TestResponse, list[dict[str, Any]]]:
    """Sends a request that has passed Connexion; gives the answer and what handlers were called with."""
    calls: list[dict[str, Any]] = []

    def list_(limit: int = 10) -> Response:
        calls.append({"limit": limit})
        return Response("all")

    class Handlers:
        def get(self, thing_id: str, from_: int, principal: Any, body: Any = None) -> Response:
            calls.append({"thing_id": thing_id, "from_": from_, "principal": principal, "body": body})
            return Response("one")

    def delete(thing_id: str) -> Response:
        raise NotFound(f"There is no {thing_id}.")

    app = flask_app(CONTRACT, {"list": list_, "get": Handlers().get, "delete": delete})
    scope = {"extensions": {ARGUMENTS: ARRIVED, "connexion_context": CONTEXT}}
    return app.test_client().open(path, method=method, environ_overrides={"asgi.scope": scope}), calls


def test_a_handler_gets_what_it_names() -> None:
    answer, calls = ask("/things/a%20b")

    assert answer.get_data() == b"one"
    assert calls == [{"thing_id": "a b", "from_": 3, "principal": "alice", "body": {"x": 1}}]


def test_a_handler_that_names_little_gets_no_more() -> None:
    answer, calls = ask("/things")

    assert answer.get_data() == b"all"
    assert calls == [{"limit": 10}]


def test_errors_go_on() -> None:
    with pytest.raises(NotFound, match="There is no a b"):
        ask("/things/a%20b", "DELETE")


@pytest.mark.parametrize(("path", "method", "status"), [("/nothing", "GET", 404), ("/things", "DELETE", 405)])
def test_what_flask_itself_refuses_is_told_in_connexions_way(path: str, method: str, status: int) -> None:
    with pytest.raises(HTTPException) as caught:
        ask(path, method)

    assert caught.value.status_code == status
