"""Reads the contract: `openapi.yaml` says what there is and who may call it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from hpcwaas.api import security, swagger_ui
from hpcwaas.common.resources import resource
from hpcwaas.core.people import Demand, Terms

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""In C where PyYAML was built with it: the contract is read at each start, in a fifth of the time then."""

_VERBS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the contract.

    Attributes:
        verb: in upper case.
        content: what the contract says of it.
    """

    id: str
    path: str
    verb: str
    content: Mapping[str, Any]

    @property
    def by_operators(self) -> bool:
        """Whether operators may do more with it than others: being one opens no workflow."""
        return self.path.startswith(("/executions", "/files", "/ssh_keys", "/tokens"))


def text() -> str:
    """The contract as it is written."""
    return resource("openapi.yaml").read_text(encoding="utf-8")


def read() -> Mapping[str, Any]:
    """What the contract says."""
    contract: Mapping[str, Any] = yaml.load(text(), Loader=_LOADER)  # noqa: S506 - a SafeLoader
    return contract


def operations(contract: Mapping[str, Any]) -> Iterator[Operation]:
    """Its operations."""
    for path, item in contract["paths"].items():
        for verb in _VERBS:
            if verb in item:
                yield Operation(item[verb]["operationId"], path, verb.upper(), item[verb])


def rules(
    contract: Mapping[str, Any], demand: Demand, demanding: Collection[str], terms: Terms | None
) -> security.Rules:
    """What operations demand of who calls them.

    Args:
        demand: of the sign-in, for acts that are worth one.
        demanding: the names of these acts, which the contract gives as `x-step-up`.
        terms: what users have to accept first.
    """
    closed = [one for one in operations(contract) if one.content.get("security") != []]
    return security.Rules(
        scopes={  # what strangers may do, needs nothing
            one.id: "any" if {} in one.content.get("security", ()) else one.content["x-scope"] for one in closed
        },
        acts={one.id: one.content["x-step-up"] for one in closed if "x-step-up" in one.content},
        demand=demand,
        demanding=frozenset(demanding),
        terms=terms,
        before_terms={one.id for one in closed if "x-before-terms" in one.content},
    )


def methods(contract: Mapping[str, Any]) -> dict[str, list[str]]:
    """The paths that there are, pages of the Swagger UI included, with their methods in upper case."""
    found = {path: ["GET"] for path in ("/", "/openapi.json", "/openapi.yaml", *swagger_ui.PATHS)}
    for one in operations(contract):
        found.setdefault(one.path, []).append(one.verb)
    return found
