"""How values of ours are kept: the types of columns, and rows whose columns have the names of a value's fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from pydantic import PlainSerializer, TypeAdapter
from sqlalchemy import JSON, DateTime, Dialect
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Names: TypeAlias = Annotated[frozenset[str], PlainSerializer(sorted)]
"""A set of names, kept as a list in order."""

Value = TypeVar("Value", bound="DataclassInstance")


class UTCDateTime(TypeDecorator[datetime]):
    """A timezone-aware moment with microseconds, in UTC whatever the database keeps."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Takes aware values only: a naive one would silently mean the machine's local time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime")
        try:
            return value.astimezone(UTC)
        except OverflowError:  # within a day of the calendar's ends, as a filter may be: those ends compare the same
            return datetime.min.replace(tzinfo=UTC) if value.year == 1 else datetime.max.replace(tzinfo=UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite gives back naive values, PostgreSQL aware ones in the session's zone."""
        if value is None or value.tzinfo is None:
            return value and value.replace(tzinfo=UTC)
        return value.astimezone(UTC)


class Stored(TypeDecorator[Any]):
    """A value of a type of ours as JSON. Members that the type doesn't have are passed over when it is read.

    Args:
        kind: the type.
        absent: what NULL stands for.
    """

    impl = JSON
    cache_ok = True

    def __init__(self, kind: Any, absent: Any = None) -> None:
        super().__init__(none_as_null=True)
        self.kind = kind
        self.absent = absent
        self._adapter = TypeAdapter[Any](kind)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """The value as what JSON can hold."""
        return None if value is None else self._adapter.dump_python(value, mode="json")

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """The value again."""
        return self.absent if value is None else self._adapter.validate_python(value)


def columns(value: DataclassInstance, *without: str) -> dict[str, Any]:
    """The fields of a value as columns of the same names, all but some."""
    return {name: getattr(value, name) for name in _fields(type(value)) if name not in without}


def value_of(kind: type[Value], row: object, known: Mapping[str, Any]) -> Value:
    """The value that a row keeps.

    Args:
        known: fields that are not to be read from a column of their name. Others than the value has are passed over.
    """
    return kind(**{name: known[name] if name in known else getattr(row, name) for name in _fields(kind)})


@cache
def _fields(kind: type[DataclassInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
