"""The wire between the command and the small service: what the contract allows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import yaml
from openapi_schema_validator import OAS30Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

Answer = tuple[int, Any, dict[str, str]]
CONTRACT = yaml.load((Path(__file__).parents[2] / "openapi.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
REGISTRY = Registry().with_resource("contract", Resource.from_contents(CONTRACT, DRAFT4))


def check(schema: str, value: Any) -> Any:
    """The value, when the contract allows it."""
    reference = {"$ref": f"contract#/components/schemas/{schema}"}
    OAS30Validator(reference, registry=REGISTRY).validate(value)
    return value


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        return dict(parse_qsl(self.body.decode(), strict_parsing=True))


def problem(status: int, identity: str, detail: str, **more: Any) -> Answer:
    error = {"id": identity, "status": status, "title": identity.title(), "detail": detail}
    document = {"type": "about:blank", "title": identity.title(), "status": status, "detail": detail, "errors": [error]}
    return status, check("Problem", {**document, **more}), {"Content-Type": "application/problem+json"}


NOT_FOUND = problem(404, "not_found", "There is no such thing.")
NO_ROUTE = (404, b"404 page not found", {"Content-Type": "text/plain"})
