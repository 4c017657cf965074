"""Checks requests against the contract, with messages that a caller can act on."""

from __future__ import annotations

import asyncio
import functools
import json
import re
from typing import Any
from urllib.parse import parse_qsl

from connexion.datastructures import MediaTypeDict
from connexion.json_schema import Draft4RequestValidator
from connexion.lifecycle import ConnexionRequest
from connexion.uri_parsing import OpenAPIURIParser
from connexion.utils import is_null, is_nullable
from connexion.validators import AbstractRequestBodyValidator, ParameterValidator
from jsonschema import Draft4Validator, ValidationError
from jsonschema.exceptions import best_match
from starlette.types import Receive, Scope

from hpcwaas.api.remembered import RememberedParameters, argument
from hpcwaas.common import written
from hpcwaas.core.ports.identity import Refused
from hpcwaas.errors import BadRequest

ARGUMENTS = "hpcwaas.arguments"
"""Extension of the scope: what the handler is called with."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""What JSON can say and neither a database nor a command line can hold: NUL and halves of surrogate pairs."""

_INTEGER = re.compile("[+-]?[0-9]+")

_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)

_VALUES = 100_000
"""Values in a body: lists that are longer are files by right, and nobody else is served while they are read."""

_DEPTH = 100
"""Levels to which JSON may be nested: more than any workflow's inputs need, and safe for every reader."""


def parse_json(text: str) -> Any:
    """Reads a JSON document strictly.

    Raises:
        BadRequest: it isn't JSON, or holds what can't be stored; says where.
    """
    if text.startswith("\ufeff"):
        raise BadRequest("The body begins with a byte order mark, which is no part of JSON: send it without.")
    if _values(text) > _VALUES:
        raise BadRequest(f"The body contains more than {_VALUES} values. Put them into a file, and upload it.")
    try:
        value = written.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise BadRequest(
            f"The body isn't JSON: {error.msg} at line {error.lineno}, column {error.colno} (position {error.pos})."
        ) from None
    except RecursionError:
        raise BadRequest(f"The body is nested deeper than {_DEPTH} levels.") from None
    except ValueError as error:  # an integer of more digits than Python converts
        raise BadRequest(f"The body contains a number that is too long: {error}.") from None
    if problem := _unstorable(value, 0):
        place, reason = problem
        raise BadRequest(f"`{place.lstrip('.')}` {reason}." if place else f"The body {reason}.")
    return value


def _values(text: str) -> int:
    """About how many values a document holds; nobody has to know better before there are too many."""
    most = sum(map(text.count, ",[{"))
    # Each value has a text at most, and a name; texts take long to pass over.
    texts = (text.count('"') - text.count('\\"')) // 4
    return most if most <= _VALUES or texts > _VALUES else sum(map(_TEXTS.sub("", text).count, ",[{"))


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) < len(members):
        seen: set[str] = set()
        twice = next(name for name, _ in members if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise BadRequest(f"`{_shown(twice)}` is given more than once in the same object of the body.")
    return value


def _shown(name: str) -> str:
    return name if len(name) <= 100 else f"{name[:99]}…"


def _no_constant(name: str) -> None:
    raise BadRequest(f"The body isn't JSON: it contains {name}.")


def _unstorable(value: Any, depth: int) -> tuple[str, str] | None:
    """Where something stands that can't be stored, and what it is; the way to it is only made when there is one."""
    if depth > _DEPTH:
        return "", f"is nested deeper than {_DEPTH} levels"
    if isinstance(value, str):
        return ("", "contains a NUL character or half a surrogate pair") if _UNSTORABLE.search(value) else None
    if isinstance(value, dict):
        for name, member in value.items():
            if problem := _unstorable(name, depth):
                return " (a name)", problem[1]
            if problem := _unstorable(member, depth + 1):
                return f".{name}{problem[0]}", problem[1]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if problem := _unstorable(item, depth + 1):
                return f"[{index}]{problem[0]}", problem[1]
    elif isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "", "is a number out of range"
    return None


class URIParser(OpenAPIURIParser):  # type: ignore[misc] # connexion has no types
    """Refuses several values of a parameter that has one: which of them counts, nobody could know."""

    @functools.cached_property
    def param_schemas(self) -> dict[str, Any]:
        """See `connexion.uri_parsing.AbstractURIParser`, which makes it anew for each parameter."""
        schemas: dict[str, Any] = super().param_schemas
        return schemas

    def resolve_params(self, params: dict[str, Any], _in: str) -> Any:
        """See `connexion.uri_parsing.AbstractURIParser`."""
        if _in == "query":
            arrays = {name for name, schema in self.param_schemas.items() if schema.get("type") == "array"}
            for name in self.param_schemas.keys() & params.keys() - arrays:
                if len(params[name]) > 1:
                    raise BadRequest(f"The query parameter `{name}` is given more than once.")
        return super().resolve_params(params, _in)


FORM = "application/x-www-form-urlencoded"

_SMALL = 16 * 1024
"""Bytes of a body that is checked without a detour."""

_FIELDS = 50
"""Parameters of a form; none has nearly as many."""


class JSONBodyValidator(AbstractRequestBodyValidator):  # type: ignore[misc]
    """Checks a JSON body. A missing body counts as null."""

    def __init__(self, **arguments: Any) -> None:
        self._nullable_schema = bool(arguments.get("nullable"))
        super().__init__(**arguments)

    async def wrap_receive(self, receive: Receive, *, scope: Scope) -> tuple[Receive, Scope]:
        """Checks the body and returns a way to read it again.

        Raises:
            BadRequest: it isn't what the contract says.
        """
        chunks = bytearray()
        messages = []
        while True:
            message = await receive()
            messages.append(message)
            chunks += message.get("body", b"")
            if not message.get("more_body"):
                break
        content = bytes(chunks)
        if len(content) <= _SMALL:
            body = self._check(content)
        else:  # takes long enough to hold up everybody else
            body = await asyncio.to_thread(self._check, content)
        scope["extensions"][ARGUMENTS]["body"] = body
        return self._insert_messages(receive, messages=messages), scope

    def _check(self, content: bytes) -> Any:
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"The body isn't UTF-8 at byte {error.start}.") from None
        body = parse_json(text) if text.strip() else None
        self._validate(body)
        return body

    def _validate(self, body: Any) -> None:
        if body is None and self._nullable_schema:
            return
        if body is None and not self._required:
            return
        error = best_match(
            Draft4RequestValidator(self._schema, format_checker=Draft4Validator.FORMAT_CHECKER).iter_errors(body)
        )
        if error is not None:
            where = ".".join(str(part) for part in error.absolute_path)
            raise BadRequest(f"`{where}`: {_message(error)}." if where else f"The body: {_message(error)}.")


class FormBodyValidator(JSONBodyValidator):
    """Checks a form. Only the ways to sign in take some, so its refusals are in the words of OAuth, and quote nothing:
    what a form holds is secret."""

    def _check(self, content: bytes) -> Any:
        try:
            pairs = parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
        except ValueError:
            raise Refused("invalid_request", "The body isn't a form in UTF-8.") from None
        form = dict(pairs)
        if len(form) < len(pairs):
            raise Refused("invalid_request", "A parameter is given more than once.")
        if _UNSTORABLE.search("".join(form.values())):
            raise Refused("invalid_request", "A parameter contains a NUL character.")
        error = best_match(Draft4RequestValidator(self._schema).iter_errors(form))
        if error is not None:
            where = ".".join(str(part) for part in error.absolute_path)
            raise Refused("invalid_request", f"`{where}` is too long." if where else f"{_message(error)}.")
        return form


class PlainParameterValidator(ParameterValidator):  # type: ignore[misc]
    """Checks parameters and names the one that is wrong, what was given and what is expected."""

    def __init__(self, parameters: list[dict[str, Any]], **options: Any) -> None:
        super().__init__(parameters, **options)
        self._schemas = {
            (parameter["in"], parameter["name"]): Draft4Validator(
                parameter["schema"], format_checker=Draft4Validator.FORMAT_CHECKER
            )
            for parameter in parameters
        }
        self._remembered = RememberedParameters(parameters)

    def validate(self, scope: Scope) -> None:
        """Checks all parameters, as far as they haven't been found good before, and keeps them for the handler."""
        arguments = self._remembered.arguments(scope)
        if arguments is None:
            super().validate(scope)
            self._remembered.put(scope, scope["extensions"][ARGUMENTS])
        else:
            scope["extensions"][ARGUMENTS] = arguments

    def validate_request(self, request: ConnexionRequest) -> None:
        """Checks all parameters and keeps them for the handler."""
        super().validate_request(request)
        given = request.query_params | request.path_params
        request.scope["extensions"][ARGUMENTS] = {
            argument(name): given.get(name, parameter["schema"].get("default"))
            for where in ("query", "path")
            for parameter in self.parameters[where]
            if (name := parameter["name"]) in given or "default" in parameter["schema"]
        }

    def validate_query_parameter(self, param: dict[str, Any], request: ConnexionRequest) -> str | None:
        """What is wrong with a query parameter, or None. Python reads more as whole numbers than HTTP clients write."""
        if param["schema"].get("type") == "integer" and param["name"] in request.query_params:
            for name, text in parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True):
                if name == param["name"] and not _INTEGER.fullmatch(text):
                    return f"The query parameter `{name}` is {text!r}; expected a whole number."
        found: str | None = super().validate_query_parameter(param, request)
        return found

    def validate_parameter(self, parameter_type: str, value: Any, param: dict[str, Any]) -> str | None:
        """What is wrong with one parameter, or None."""
        name = param["name"]
        if value is None:
            return f"The {parameter_type} parameter `{name}` is missing." if param.get("required") else None
        if is_nullable(param) and is_null(value):
            return None
        error = best_match(self._schemas[parameter_type, name].iter_errors(value))
        return None if error is None else f"The {parameter_type} parameter `{name}`: {_message(error)}."


class _OncePerOperation:
    """Makes the validator of an operation's parameters once, where Connexion makes one for each request."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[list[dict[str, Any]], PlainParameterValidator]] = {}

    def __call__(self, parameters: list[dict[str, Any]], **options: Any) -> PlainParameterValidator:
        made = self._made.get(id(parameters))
        if made is None:  # the list is kept as well: as long as it is there, no other one has its id
            made = self._made[id(parameters)] = parameters, PlainParameterValidator(parameters, **options)
        return made[1]


def validators() -> dict[str, Any]:
    """What Connexion checks requests with."""
    return {
        "body": MediaTypeDict({"application/json": JSONBodyValidator, FORM: FormBodyValidator}),
        "parameter": _OncePerOperation(),
    }


def _message(error: ValidationError) -> str:
    """The validator's message, without the dump of a large value."""
    message = error.message
    given = repr(error.instance)
    if len(given) > 100:
        message = message.replace(given, given[:97] + "…")
    return str(message).rstrip(".")
