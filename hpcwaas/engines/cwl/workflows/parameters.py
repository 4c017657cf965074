"""The inputs and outputs of a CWL process as plain values: every CWL type, and how it is spelt.

`declare.py` writes them as JSON in the process that knows cwltool; the web processes read them back here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from hpcwaas.core.models import JSON


PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "string", "File", "Directory", "Any"})


@dataclass(frozen=True, slots=True)
class Primitive:
    """One of `PRIMITIVES`."""

    name: str


@dataclass(frozen=True, slots=True)
class Enum:
    """One of some words."""

    symbols: tuple[str, ...]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Array:
    """A list of values of one type."""

    items: CWLType


@dataclass(frozen=True, slots=True)
class Record:
    """Named members, each with its type."""

    fields: tuple[Parameter, ...]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Union:
    """A value of any of these types. Never holds a union."""

    options: tuple[CWLType, ...]


CWLType: TypeAlias = Primitive | Enum | Array | Record | Union


@dataclass(frozen=True, slots=True)
class Secondary:
    """A file that belongs beside another, by CWL's pattern (`.bai`, `^.bai`) or an expression.

    Attributes:
        required: False where an expression says so.
        condition: that expression.
    """

    pattern: str
    required: bool
    condition: str | None = None

    @property
    def expression(self) -> bool:
        """Whether the pattern has to be evaluated."""
        return "$(" in self.pattern or "${" in self.pattern

    def name(self, primary: str) -> str:
        """The file's name beside a primary file of this name."""
        stem, pattern = primary, self.pattern
        while pattern.startswith("^"):
            pattern = pattern[1:]
            stem = stem[: stem.rindex(".")] if "." in stem else stem
        return stem + pattern


@dataclass(frozen=True, slots=True)
class Parameter:
    """An input, an output, or a member of a record.

    Attributes:
        has_default: tells a default of `null` from none.
        formats: IRIs of which a file is to have one; empty when none are declared or an expression says so.
        narrower: other formats that are kinds of these; None when an ontology that says so couldn't be read.
    """

    name: str
    type: CWLType
    label: str | None = None
    doc: str | None = None
    default: JSON = None
    has_default: bool = False
    formats: tuple[str, ...] = ()
    secondary_files: tuple[Secondary, ...] = ()
    narrower: frozenset[str] | None = frozenset()

    def accepts_format(self, iri: str) -> bool:
        """Whether a file of a format is accepted, as far as that is known."""
        return not self.formats or iri in self.formats or self.narrower is None or iri in self.narrower

    @property
    def required(self) -> bool:
        """Whether a value has to be given."""
        return not self.has_default and not nullable(self.type)


NULL = Primitive("null")


def nullable(kind: CWLType) -> bool:
    """Whether `null` is a value of this type."""
    return kind == NULL or (isinstance(kind, Union) and NULL in kind.options)


def without_null(kind: CWLType) -> CWLType:
    """The type without its `null`; `null` itself stays."""
    if not isinstance(kind, Union):
        return kind
    options = tuple(option for option in kind.options if option != NULL)
    return options[0] if len(options) == 1 else Union(options)


def load_type(value: JSON) -> CWLType:
    """Reads a type as `declare.py` writes it."""
    match value:
        case str():
            return Primitive(value)
        case list():
            return Union(tuple(load_type(option) for option in value))
        case {"type": "array", "items": items}:
            return Array(load_type(items))
        case {"type": "enum", "symbols": symbols}:
            return Enum(tuple(symbols), value.get("name"))
        case {"type": "record", "fields": fields}:
            return Record(tuple(load_parameter(field) for field in fields), value.get("name"))
    raise ValueError(f"not a CWL type: {value!r}")


def load_parameter(value: Mapping[str, JSON]) -> Parameter:
    """Reads a parameter as `declare.py` writes it."""
    return Parameter(
        name=value["name"],
        type=load_type(value["type"]),
        label=value.get("label"),
        doc=value.get("doc"),
        default=value.get("default"),
        has_default="default" in value,
        formats=tuple(value.get("formats", ())),
        secondary_files=tuple(Secondary(**entry) for entry in value.get("secondary_files", ())),
        narrower=None if value.get("narrower", ()) is None else frozenset(value.get("narrower", ())),
    )


def spelling(kind: CWLType) -> str:
    """The type in CWL's short spelling: `File[]`, `int?`, `int | string`."""
    match kind:
        case Primitive(name):
            return name
        case Enum(name=name):
            return name or "enum"
        case Record(name=name):
            return name or "record"
        case Array(items):
            inner = spelling(items)
            return f"({inner})[]" if isinstance(items, Union) else f"{inner}[]"
        case Union(options):
            bare = without_null(kind)
            if bare == kind:
                return " | ".join(spelling(option) for option in options)
            return f"({spelling(bare)})?" if isinstance(bare, Union) else f"{spelling(bare)}?"


_WORDS = {
    "null": "null",
    "boolean": "true or false",
    "int": "a whole number (int)",
    "long": "a whole number (long)",
    "float": "a number (float)",
    "double": "a number (double)",
    "string": "a string",
    "File": "a File: the id of an upload or a File object",
    "Directory": "a Directory: the id of an uploaded archive or a Directory object",
    "Any": "any value but null",
}


def in_words(kind: CWLType) -> str:
    """What values of the type look like, for people."""
    match kind:
        case Primitive(name):
            return _WORDS[name]
        case Enum(symbols):
            return "one of " + ", ".join(repr(symbol) for symbol in symbols)
        case Array(items):
            return f"a list ({spelling(kind)}), each item {in_words(items)}"
        case Record(fields):
            return "an object with " + ", ".join(f"{field.name} ({spelling(field.type)})" for field in fields)
        case Union(options):
            return " or ".join(in_words(option) for option in options)
