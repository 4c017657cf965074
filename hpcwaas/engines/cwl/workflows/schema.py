"""CWL parameters as JSON Schema (draft 2020-12), for forms and for people."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote

from hpcwaas.core.models import JSON, OutputDeclaration
from hpcwaas.engines.cwl.workflows import formats
from hpcwaas.engines.cwl.workflows.parameters import (
    NULL,
    Array,
    CWLType,
    Enum,
    Parameter,
    Primitive,
    Record,
    Union,
    spelling,
    without_null,
)

Schema: TypeAlias = dict[str, Any]

CONTENTS_LIMIT = 64 * 1024
"""Largest `contents` of a File literal, in bytes: CWL's own limit."""

INTEGERS = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
"""Smallest and largest value of CWL's integer types."""

_PRIMITIVES: Mapping[str, Schema] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "float": {"type": "number", "format": "float"},
    "double": {"type": "number", "format": "double"},
    "string": {"type": "string"},
    "Any": {"type": ["boolean", "number", "string", "array", "object"]},
}

_BASENAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "description": "Name under which the workflow sees it. Default: the upload's.",
}
_FILE_OBJECT: Schema = {
    "title": "File",
    "type": "object",
    "description": (
        "A file by `location`, or a small one written out in `contents`. An output of an execution is one as it stands "
        "there."
    ),
    "properties": {
        "class": {"const": "File"},
        "location": {
            "type": "string",
            "description": (
                "Id of an upload; the `location` of an output of an execution that has ended; an http(s) URL where the "
                "operator allows it."
            ),
        },
        "contents": {"type": "string", "maxLength": CONTENTS_LIMIT, "description": "Text of the file, at most 64 KiB."},
        "basename": _BASENAME,
        "format": {
            "type": "string",
            "description": (
                "IRI of the file's format, or one with a prefix of the workflow's. Default: the only one that is "
                "accepted, or that of the name's ending."
            ),
        },
        "size": {"type": "integer", "minimum": 0, "description": "Bytes; refused when the file has another size."},
        "checksum": {
            "type": "string",
            "description": "Digest such as `sha1$...`, md5, sha256 or sha512; refused when the file has another.",
        },
        "nameroot": {"type": "string", "description": "Follows from the name."},
        "nameext": {"type": "string", "description": "Follows from the name."},
        "dirname": {"type": "string", "description": "Of no account: where a file lies is the service's choice."},
        "secondaryFiles": {
            "type": "array",
            "items": {"anyOf": [{"$ref": "#/$defs/File"}, {"$ref": "#/$defs/Directory"}]},
            "description": (
                "Files that the workflow is to find beside this one. Default: the companions of the upload, or the "
                "secondary files of the output."
            ),
        },
        "metadata": {"type": "object"},
    },
    "required": ["class"],
    "oneOf": [{"required": ["location"]}, {"required": ["contents"]}],
    "additionalProperties": False,
}
_DIRECTORY_OBJECT: Schema = {
    "title": "Directory",
    "type": "object",
    "description": "An uploaded archive by `location`, or what it holds in `listing`.",
    "properties": {
        "class": {"const": "Directory"},
        "location": {
            "type": "string",
            "description": (
                "Id of an uploaded .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz, which is unpacked; the `location` of an "
                "output."
            ),
        },
        "listing": {
            "type": "array",
            "items": {"anyOf": [{"$ref": "#/$defs/FileObject"}, {"$ref": "#/$defs/DirectoryObject"}]},
        },
        "basename": _BASENAME,
        "dirname": {"type": "string", "description": "Of no account: where it lies is the service's choice."},
    },
    "required": ["class"],
    "anyOf": [{"required": ["location"]}, {"required": ["listing"]}],
    "additionalProperties": False,
}
_DEFINITIONS: Mapping[str, Schema] = {
    "FileObject": _FILE_OBJECT,
    "DirectoryObject": _DIRECTORY_OBJECT,
    "File": {"anyOf": [{"type": "string", "description": "Id of an upload."}, {"$ref": "#/$defs/FileObject"}]},
    "Directory": {
        "anyOf": [{"type": "string", "description": "Id of an uploaded archive."}, {"$ref": "#/$defs/DirectoryObject"}]
    },
}
_OUTPUT_FILE: Schema = {
    "type": "object",
    "properties": {
        "class": {"const": "File"},
        "basename": {"type": "string"},
        "size": {"type": "integer"},
        "checksum": {"type": "string"},
        "location": {"type": "string"},
    },
    "required": ["class", "basename", "location"],
}
_OUTPUT_DIRECTORY: Schema = {
    "type": "object",
    "properties": {"class": {"const": "Directory"}, "basename": {"type": "string"}, "location": {"type": "string"}},
    "required": ["class", "basename", "location"],
}


def inputs_schema(parameters: Iterable[Parameter], ssh_keys: Collection[str] = ()) -> Schema:
    """JSON Schema of the whole `inputs` object.

    Args:
        ssh_keys: names of the inputs that take ids of SSH keys, and ways to members of records (`server.key`).

    Returns:
        `type: object` with `properties`, `required` and, where files occur, `$defs`.
    """
    parameters = list(parameters)
    schema: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {parameter.name: _parameter_schema(parameter) for parameter in parameters},
        "required": [parameter.name for parameter in parameters if parameter.required],
        "additionalProperties": False,
    }
    for name in ssh_keys:
        for place in _places(schema, name):
            place["x-ssh-key"] = True
    if any(_holds_files(parameter.type) for parameter in parameters):
        schema["$defs"] = dict(_DEFINITIONS)
        schema["x-announced"] = True
    return schema


def unfit_for_keys(schema: Schema, ssh_keys: Collection[str]) -> str | None:
    """What is wrong with the names of inputs that take ids of SSH keys; None when nothing is.

    Args:
        schema: as `inputs_schema` makes it.
    """
    for name in ssh_keys:
        places = _places(schema, name)
        if not places:
            return f"names {name!r}, which is not an input (the inputs are {', '.join(schema['properties']) or 'none'})"
        if not any(_holds_text(place) for place in places):
            return f"names {name!r}, an input that takes no text and so can't take the id of a key"
    return None


def output_declaration(parameter: Parameter) -> OutputDeclaration:
    """An output as the service's own value; files look as users see them, with a `location`."""
    return OutputDeclaration(
        name=parameter.name,
        type=spelling(parameter.type),
        label=parameter.label,
        description=parameter.doc,
        schema=_type_schema(parameter.type, _OUTPUT_FILE, _OUTPUT_DIRECTORY),
    )


def shown_default(value: JSON) -> JSON:
    """A default without the places of the catalogue's files: their base names only."""
    match value:
        case {"class": "File" | "Directory"}:
            shown = {key: value[key] for key in ("class", "basename", "contents", "format") if key in value}
            place = value.get("location") or value.get("path")
            if "basename" not in shown and isinstance(place, str):
                shown["basename"] = unquote(place.rstrip("/").rpartition("/")[2])
            return shown | {
                key: shown_default(value[key]) for key in ("listing", "secondaryFiles") if value.get(key) is not None
            }
        case Mapping():
            return {key: shown_default(item) for key, item in value.items()}
        case list():
            return [shown_default(item) for item in value]
    return value


def _parameter_schema(parameter: Parameter) -> Schema:
    schema = _type_schema(parameter.type, {"$ref": "#/$defs/File"}, {"$ref": "#/$defs/Directory"})
    schema = _decorate(schema, parameter)
    if parameter.has_default:
        schema["default"] = shown_default(parameter.default)
        if parameter.default is not None:
            schema = _or_null(schema)
    return schema


def _decorate(schema: Schema, parameter: Parameter) -> Schema:
    extras = {
        "title": parameter.label,
        "description": parameter.doc,
        "x-type": spelling(parameter.type),
        "x-format": list(parameter.formats),
        "x-format-endings": formats.endings(parameter.formats),
        "x-secondaryFiles": [entry.pattern + ("" if entry.required else "?") for entry in parameter.secondary_files],
    }
    return {**schema, **{key: value for key, value in extras.items() if value}}


def _type_schema(kind: CWLType, file: Schema, directory: Schema) -> Schema:
    match kind:
        case Primitive("File"):
            return dict(file)
        case Primitive("Directory"):
            return dict(directory)
        case Primitive("int" | "long" as name):
            low, high = INTEGERS[name]
            return {"type": "integer", "minimum": low, "maximum": high}
        case Primitive(name):
            return dict(_PRIMITIVES[name])
        case Enum(symbols):
            return {"type": "string", "enum": list(symbols)}
        case Array(items):
            return {"type": "array", "items": _type_schema(items, file, directory)}
        case Record(fields):
            return {
                "type": "object",
                "properties": {
                    field.name: _decorate(_type_schema(field.type, file, directory), field) for field in fields
                },
                "required": [field.name for field in fields if field.required],
                "additionalProperties": False,
            }
        case Union(options):
            bare = without_null(kind)
            if bare != kind:
                return _or_null(_type_schema(bare, file, directory))
            return {"anyOf": [_type_schema(option, file, directory) for option in options]}


def _or_null(schema: Schema) -> Schema:
    """The schema with `null` allowed, in the form that reads best."""
    kind = schema.get("type")
    if kind == "null" or (isinstance(kind, list) and "null" in kind):
        return schema
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    if isinstance(kind, list):
        return {**schema, "type": [*kind, "null"]}
    if "anyOf" in schema:
        options = schema["anyOf"]
        return schema if {"type": "null"} in options else {**schema, "anyOf": [*options, {"type": "null"}]}
    core = {key: schema[key] for key in ("$ref", "type", "enum") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in core}
    return {"anyOf": [core, {"type": "null"}], **rest}


def _places(schema: Schema, way: str) -> list[Schema]:
    """What an input's name, or the way to a member of a record in it, leads to: one for each alternative."""
    found: list[Schema] = []
    for name, inner in schema.get("properties", {}).items():
        if way == name:
            found.append(inner)
        elif way.startswith(f"{name}."):
            found += _places(inner, way[len(name) + 1 :])
    for inner in _alternatives(schema):
        found += _places(inner, way)
    return found


def _alternatives(schema: Schema) -> Iterable[Schema]:
    return (*schema.get("anyOf", ()), *((schema["items"],) if "items" in schema else ()))


def _holds_text(schema: Schema) -> bool:
    kinds = schema.get("type", ())
    if "string" in ((kinds,) if isinstance(kinds, str) else kinds) and "enum" not in schema:
        return True
    return any(map(_holds_text, (*_alternatives(schema), *schema.get("properties", {}).values())))


def _holds_files(kind: CWLType) -> bool:
    match kind:
        case Primitive(name):
            return name in ("File", "Directory")
        case Array(items):
            return _holds_files(items)
        case Record(fields):
            return any(_holds_files(field.type) for field in fields)
        case Union(options):
            return any(_holds_files(option) for option in options if option != NULL)
    return False
