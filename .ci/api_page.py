"""Renders the contract, openapi.yaml, as a page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_HEAD = """# The API

<!-- Made from openapi.yaml by `make references`. -->

[`openapi.yaml`](../../openapi.yaml) is the contract, for tools that read OpenAPI. A running service gives it at
`/openapi.json`, and lets you try its operations at `/ui/`. Send credentials as `Authorization: Bearer TOKEN`, or as a
name and a password (Basic). A token needs the *scope* that an operation names. [By the API](../how-to/rest.md) shows
how scripts use it. [Errors](errors.md) are the same for all operations, and each operation can be answered by one.
"""
_FORMATS = ("binary", "date-time")
_METHODS = ("get", "post", "put", "delete")


def page(contract: Json) -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *_operations(contract), "## Objects\n", *_schemas(contract)]).rstrip("\n") + "\n"


def problem(contract: Json) -> tuple[Json, str]:
    """The members of a problem document, and an example of one."""
    example = contract["components"]["responses"]["Conflict"]["content"]["application/problem+json"]["example"]
    return contract["components"]["schemas"]["Problem"]["properties"], json.dumps(example, indent=2)


def _operations(contract: Json) -> Iterator[str]:
    for tag in contract["tags"]:
        yield f"## Operations: {tag['name'].replace('_', ' ')}\n\n{tag['description']}.\n"
        for path, item in contract["paths"].items():
            for method in _METHODS:
                if method in item and tag["name"] in item[method]["tags"]:
                    yield from _operation(
                        contract, f"{method.upper()} {path}", item[method], item.get("parameters", [])
                    )


def _operation(contract: Json, title: str, operation: Json, shared: list[Json]) -> Iterator[str]:
    yield f"### {title}\n"
    yield f"**{operation['summary']}.** {operation.get('description', '').strip()}".rstrip() + "\n"
    yield _rights(operation) + "\n"
    parameters = [_found(contract, it) for it in (*shared, *operation.get("parameters", []))]
    if parameters:
        yield "| parameter | in | type | |\n| --- | --- | --- | --- |"
        for it in parameters:
            needed = "required. " if it.get("required") and it["in"] != "path" else ""
            yield f"| `{it['name']}` | {it['in']} | {_type(it['schema'])} | {needed}{_line(it.get('description'))} |"
        yield ""
    body = operation.get("requestBody")
    if body:
        yield f"Body: {_content(body)}. {_line(body.get('description'))}".rstrip() + "\n"
    yield "| answer | |\n| --- | --- |"
    for status, answer in operation["responses"].items():
        found = _found(contract, answer)
        if not status.isdigit() or int(status) >= 400:
            continue
        content = _content(found)
        yield f"| {status} | {_line(found['description'])}{f' {content}' if content else ''} |"
    refused = [status for status in operation["responses"] if status.isdigit() and int(status) >= 400]
    if refused:
        yield f"| {', '.join(refused)} | an [error](errors.md) |"
    yield ""


def _rights(operation: Json) -> str:
    if operation.get("security") == []:
        return "For everybody, without credentials."
    if {} in operation.get("security", []):
        return "For everybody; with credentials it tells more."
    scope = operation["x-scope"]
    if scope == "any":
        return "For everybody who has signed in."
    if scope == "own":
        return "For users themselves: not by an access token of theirs."
    return f"Scope: `{scope}`."


def _found(contract: Json, it: Json) -> Json:
    """What a reference leads to."""
    for part in it["$ref"].removeprefix("#/").split("/") if "$ref" in it else ():
        contract = contract[part]
    return contract if "$ref" in it else it


def _content(it: Json) -> str:
    return " or ".join(f"{_type(media.get('schema', {}))} as `{kind}`" for kind, media in it.get("content", {}).items())


def _schemas(contract: Json) -> Iterator[str]:
    for name, schema in contract["components"]["schemas"].items():
        yield f"### {name}\n"
        bases = [part["$ref"].rpartition("/")[2] for part in schema.get("allOf", []) if "$ref" in part]
        parts = [part for part in schema.get("allOf", [schema]) if "$ref" not in part]
        if schema.get("description"):
            yield schema["description"].strip() + "\n"
        if bases:
            yield f"All of {' and '.join(f'[{base}](#{base.lower()})' for base in bases)}, and:\n"
        members = [
            (member, about, member in part.get("required", []))
            for part in parts
            for member, about in part.get("properties", {}).items()
        ]
        if members:
            yield "| member | type | |\n| --- | --- | --- |"
            for member, about, needed in members:
                always = "" if needed else "*optional.* "
                yield f"| `{member}` | {_type(about)} | {always}{_line(about.get('description'))} |"
        else:
            yield _type(schema)
        yield ""


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("oneOf", "anyOf", "allOf"):
        if several in schema:
            return " or ".join(_type(part) for part in schema[several])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    kind = schema["format"] if schema.get("format") in _FORMATS else schema.get("type", "anything")
    bounds = [f"{word} {schema[key]}" for word, key in (("≥", "minimum"), ("≤", "maximum")) if key in schema]
    return " ".join([str(kind), *bounds]) + (" or null" if schema.get("nullable") else "")


def _line(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip().replace("|", "\\|")
