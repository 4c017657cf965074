"""The client for programs says what the contract says: its requests, and the types of what comes back."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
import yaml
from openapi_schema_validator import OAS30Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4
from waas_cli.api import answers, calls

CONTRACT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "openapi.yaml").read_text())
REGISTRY: Registry[Any] = Registry().with_resource("urn:contract", DRAFT4.create_resource(CONTRACT))

FOR_BROWSERS_AND_PROBES = {"login", "auth", "health", "metrics"}
"""Tags, or operations without a call of their own: those that sign in, and those that programs don't use."""
BY_OTHER_MEANS = {
    *("uploadFile", "getExecutionOutput", "getMetrics", "getLiveness", "getReadiness"),
    *("getEvents", "getExecutionEvents"),
}
"""Files travel by `Uploader` and `Downloader`, probes have their own clients, and `waas` alone reads event streams."""

SAMPLES: dict[str, Any] = {
    "inputs": {"top": 5},
    "shares": {"users": ["bob"], "groups": []},
    "account": {"user": "u1", "ssh_key": "k"},
    "key": {"name": "mare", "type": "ed25519"},
    "token": {"name": "nightly", "scopes": ["workflows:read"], "days": 3},
    "ids": ["a", "b"],
    "statuses": ["RUNNING", "FAILED"],
    "created_after": "2026-11-01T00:00:00Z",
    "created_before": "2026-12-01T00:00:00Z",
    "limit": 5,
    "start": 3,
    "size": 4,
    "wait": 1.5,
    "levels": 15,
    "shared": True,
    "force": True,
}


def builders() -> Iterator[Callable[..., calls.Call[Any]]]:
    for name, function in inspect.getmembers(calls, inspect.isfunction):
        if not name.startswith("_") and "Call[" in str(inspect.signature(function).return_annotation):
            yield function


def resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        found: Any = CONTRACT
        for part in str(node["$ref"]).removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def operations() -> Iterator[tuple[str, str, Mapping[str, Any], list[Mapping[str, Any]]]]:
    for path, item in CONTRACT["paths"].items():
        for method in ("get", "post", "put", "delete"):
            if method in item:
                both = [*item.get("parameters", ()), *item[method].get("parameters", ())]
                yield method.upper(), path, item[method], [resolved(each) for each in both]


def operation_of(call: calls.Call[Any]) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    fits = [
        (path.count("{"), operation, parameters)
        for method, path, operation, parameters in operations()
        if method == call.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), call.where)
    ]
    assert fits, f"the contract has no {call.method} {call.where}"
    _, operation, parameters = min(fits, key=lambda each: each[0])
    return operation, parameters


def errors(schema: Mapping[str, Any], value: Any) -> list[str]:
    rooted = json.loads(json.dumps(schema).replace('"#/', '"urn:contract#/'))
    found = OAS30Validator(rooted, registry=REGISTRY).iter_errors(value)
    return [error.message for error in found]


@pytest.mark.parametrize("build", builders(), ids=lambda build: str(build.__name__))
def test_a_call_is_one_of_the_contract(build: Callable[..., calls.Call[Any]]) -> None:
    given = {name: SAMPLES.get(name, "word") for name in inspect.signature(build).parameters}
    call = build(**given)
    operation, parameters = operation_of(call)
    queries = {each["name"]: each for each in parameters if each["in"] == "query"}
    assert call.params.keys() <= queries.keys()
    for name, value in call.params.items():
        schema = resolved(queries[name]["schema"])
        if schema["type"] == "array":
            assert errors(schema, str(value).split(",")) == []
        elif schema["type"] == "boolean":
            assert value in ("true", "false")
        else:
            assert errors(schema, value) == []
    assert call.headers.keys() <= {each["name"] for each in parameters if each["in"] == "header"}
    body = resolved(operation.get("requestBody", {})).get("content", {}).get("application/json")
    assert (call.json is not None) == (body is not None)
    if body is not None:
        assert errors(body["schema"], call.json) == []
    # Whatever is asked for is sent: no argument is lost on the way.
    sent = json.dumps([call.where, dict(call.params), call.json, dict(call.headers)])
    for name, value in given.items():
        for word in value if isinstance(value, list) else [value]:
            assert name in ("shared", "force") or str(word if not isinstance(word, dict) else next(iter(word))) in sent


@pytest.mark.parametrize("build", builders(), ids=lambda build: str(build.__name__))
def test_an_answer_has_the_type_of_the_contract(build: Callable[..., calls.Call[Any]]) -> None:
    call = build(**{name: SAMPLES.get(name, "word") for name in inspect.signature(build).parameters})
    operation, _ = operation_of(call)
    (promised,) = get_args(get_type_hints(build)["return"])
    told = {
        content["schema"]["$ref"].rpartition("/")[2]
        for status, response in operation["responses"].items()
        if status.startswith("2")
        for kind, content in resolved(response).get("content", {}).items()
        if kind == "application/json"
    }
    if call.gives == "value":
        assert promised.__name__ in told
    elif call.gives == "id":
        assert promised is str
        assert "Location" in operation["responses"]["201"]["headers"]
    else:
        assert promised is types.NoneType
        assert not told


def test_every_operation_has_its_call() -> None:
    made = set()
    for build in builders():
        call = build(**{name: SAMPLES.get(name, "word") for name in inspect.signature(build).parameters})
        made.add(operation_of(call)[0]["operationId"])
    wanted = {
        operation["operationId"]
        for _, path, operation, _ in operations()
        if not path.startswith("/auth/") or operation["operationId"] == "getAuthMethods"
    }
    assert wanted - BY_OTHER_MEANS == made


OBJECTS = [
    name for name, found in inspect.getmembers(answers, is_typeddict) if name in CONTRACT["components"]["schemas"]
]


@pytest.mark.parametrize("name", OBJECTS)
def test_a_type_is_that_of_its_schema(name: str) -> None:
    compare(getattr(answers, name), CONTRACT["components"]["schemas"][name], name)


def test_all_schemas_have_a_type() -> None:
    assert len(OBJECTS) > 40
    schemas = CONTRACT["components"]["schemas"]
    assert {name for name in schemas if flat(schemas[name])[0]} == set(OBJECTS)


def flat(schema: Mapping[str, Any]) -> tuple[dict[str, Mapping[str, Any]], set[str]]:
    """The members of an object with those that it has from others, and which of them are always there."""
    schema = resolved(schema)
    members, required = dict(schema.get("properties", {})), set(schema.get("required", ()))
    for part in schema.get("allOf", ()):
        more, needed = flat(part)
        members, required = {**more, **members}, required | needed
    return members, required


def compare(hint: Any, schema: Mapping[str, Any], way: str) -> None:
    """Fails where a type differs from a schema."""
    schema = resolved(schema)
    if only := schema.get("allOf") if not flat(schema)[0] else None:
        schema = {**resolved(only[0]), **{key: value for key, value in schema.items() if key != "allOf"}}
    if get_origin(hint) is NotRequired:
        (hint,) = get_args(hint)
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if "." in way:  # a schema that may be null is a type that is used with `| None`
        assert (types.NoneType in kinds) == bool(schema.get("nullable")), f"{way}: nullable"
    (kind,) = [each for each in kinds if each is not types.NoneType]
    if is_typeddict(kind):
        members, required = flat(schema)
        hints = get_type_hints(kind, include_extras=True)
        assert hints.keys() == members.keys(), way
        for name, member in members.items():
            assert (get_origin(hints[name]) is not NotRequired) == (name in required), f"{way}.{name}: required"
            compare(hints[name], member, f"{way}.{name}")
    elif get_origin(kind) is Literal:
        assert set(get_args(kind)) == {each for each in schema["enum"] if each is not None}, way
    elif get_origin(kind) is list:
        assert schema["type"] == "array", way
        compare(get_args(kind)[0], schema["items"], f"{way}[]")
    elif get_origin(kind) is dict or kind is typing.Any:
        assert schema.get("type", "object") == "object", way
    else:
        simple = {str: "string", int: "integer", float: "number", bool: "boolean"}
        assert schema["type"] == simple[kind], way
        assert "enum" not in schema, way
