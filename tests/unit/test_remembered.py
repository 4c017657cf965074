"""Parameters that were found good before."""

from __future__ import annotations

from typing import Any

import pytest

from hpcwaas.api.remembered import RememberedParameters

PARAMETERS = (
    {"in": "path", "name": "execution_id", "required": True, "schema": {"type": "string"}},
    {"in": "query", "name": "from", "schema": {"type": "integer", "default": 0}},
    {"in": "query", "name": "size", "schema": {"type": "integer", "default": -1}},
    {"in": "query", "name": "timeout", "schema": {"type": "string", "default": "0s"}},
    {"in": "query", "name": "code", "schema": {"type": "string"}},
    {"in": "query", "name": "status", "schema": {"type": "array", "items": {"type": "string"}}},
)
PATH = {"execution_id": "e-1"}


def scope(query: str, path: dict[str, str] | None = None) -> dict[str, Any]:
    return {"path_params": PATH if path is None else path, "query_string": query.encode()}


@pytest.fixture
def known() -> RememberedParameters:
    found = RememberedParameters(PARAMETERS)
    found.put(scope("from=3&timeout=5s"), {"execution_id": "e-1", "from_": 3, "size": -1, "timeout": "5s"})
    found.put(scope("from=4"), {"execution_id": "e-1", "from_": 4, "size": -1})
    return found


def test_what_was_good_one_by_one_is_good_together(known: RememberedParameters) -> None:
    together = {"execution_id": "e-1", "from_": 4, "size": -1, "timeout": "5s"}
    assert known.arguments(scope("timeout=5s&from=4")) == together
    assert known.arguments(scope("")) == {"execution_id": "e-1", "from_": 0, "size": -1, "timeout": "0s"}


@pytest.mark.parametrize(
    "query",
    [
        *("from=5", "size=3", "timeout=4s", "from=03", "from=3&from=3", "from=3&from=4", "from=3&more=3", "more=3"),
        *("from=", "from", "from=3&", "&from=3", "from=3&&size=-1", "fro%6d=3", "from=%33", "from=+3", "from[a]=3"),
        *("execution_id=e-1", "from=3;from=4", "FROM=3"),
    ],
)
def test_anything_else_is_checked(known: RememberedParameters, query: str) -> None:
    assert known.arguments(scope(query)) is None


def test_another_object_is_checked_and_a_missing_one_too(known: RememberedParameters) -> None:
    assert known.arguments(scope("from=3", {"execution_id": "e-2"})) is None
    assert known.arguments(scope("from=3", {})) is None


@pytest.mark.parametrize("query", ["code=abc", "status=FAILED", "timeout=" + "1" * 100 + "s"])
def test_neither_free_texts_nor_lists_nor_long_ones_are_remembered(query: str) -> None:
    known = RememberedParameters(PARAMETERS)
    name, _, value = query.partition("=")
    known.put(scope(query), {"execution_id": "e-1", "from_": 0, "size": -1, name: value})
    assert known.arguments(scope(query)) is None


def test_an_operation_with_headers_is_checked_each_time() -> None:
    known = RememberedParameters((*PARAMETERS, {"in": "header", "name": "Range", "schema": {"type": "string"}}))
    known.put(scope("from=3"), {"execution_id": "e-1", "from_": 3, "size": -1})
    assert known.arguments(scope("from=3")) is None


def test_they_are_bounded(known: RememberedParameters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcwaas.api.remembered._REMEMBERED", 100)
    for number in range(1000):
        known.put(scope(f"from={number}"), {"execution_id": "e-1", "from_": number, "size": -1})
    assert sum(known.arguments(scope(f"from={number}")) is not None for number in range(1000)) <= 101
    assert known.arguments(scope("from=999")) == {"execution_id": "e-1", "from_": 999, "size": -1, "timeout": "0s"}
