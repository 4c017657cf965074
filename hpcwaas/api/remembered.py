"""Parameters of requests that were found good before, so that they needn't be checked again."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from connexion.decorators.parameter import pythonic
from starlette.types import Scope

argument = functools.cache(pythonic)
"""The name of a parameter in Python: `from_` for `from`."""

_PLAIN = re.compile(rb"[A-Za-z0-9_]+=[A-Za-z0-9_.:-]+(?:&[A-Za-z0-9_]+=[A-Za-z0-9_.:-]+)*")
"""A query in which nothing is encoded, empty or left out."""

_REMEMBERED = 10_000
_SHORT = 64
"""Characters of a parameter that is remembered."""


class RememberedParameters:
    """Single parameters of an operation that were found good, by how they were written: clients ask for the same things
    again and again. Only the simplest way to write them is looked at, and no text that has no default: some are secret.

    Args:
        parameters: that the contract declares, each of which is checked by itself.
    """

    def __init__(self, parameters: Iterable[Mapping[str, Any]]) -> None:
        self._defaults: dict[str, Any] = {}
        self._required = set()
        self._in_query = set()
        self._possible = True
        for one in parameters:
            name, schema = argument(one["name"]), one["schema"]
            self._possible &= one["in"] in ("query", "path")
            if "default" in schema:
                self._defaults[name] = schema["default"]
            if one.get("required"):
                self._required.add(name)
            kind = schema.get("type")
            if one["in"] == "query" and (kind in ("integer", "boolean") or (kind == "string" and "default" in schema)):
                self._in_query.add(one["name"])
        self._good: dict[tuple[str, str], Any] = {}

    def arguments(self, scope: Scope) -> dict[str, Any] | None:
        """What the handler is called with, when all of it was found good before."""
        good = self._good
        if not good or (given := self._given(scope)) is None:
            return None
        try:
            found = {argument(name): good[name, text] for name, text in given.items()}
        except KeyError:
            return None
        return None if self._required - found.keys() else self._defaults | found

    def put(self, scope: Scope, arguments: Mapping[str, Any]) -> None:
        """Remembers what has been found good."""
        if not self._possible or (given := self._given(scope)) is None:
            return
        if len(self._good) > _REMEMBERED:
            self._good.clear()
        for name, text in given.items():
            if argument(name) in arguments and len(text) <= _SHORT:
                self._good[name, text] = arguments[argument(name)]

    def _given(self, scope: Scope) -> dict[str, str] | None:
        """The parameters as they are written; None when that isn't the simplest way."""
        given: dict[str, str] = dict(scope["path_params"])
        query: bytes = scope["query_string"]
        if not query:
            return given
        if not _PLAIN.fullmatch(query):
            return None
        for pair in query.decode("ascii").split("&"):
            name, _, text = pair.partition("=")
            if name not in self._in_query or name in given:
                return None
            given[name] = text
        return given
