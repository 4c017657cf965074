"""What the contract says, for `hpcwaas.app`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpcwaas.api import security, swagger_ui
from hpcwaas.configuration.settings import Settings, StepUpSettings
from hpcwaas.core.models import Demand
from hpcwaas.identity.base import AcceptedTerms

_VERBS = frozenset({"get", "post", "put", "patch", "delete"})


def rules(settings: Settings, contract: Mapping[str, Any], terms: AcceptedTerms) -> security.Rules:
    """What operations demand of who calls them."""
    operations = [
        operation
        for path in contract["paths"].values()
        for verb, operation in path.items()
        if verb in _VERBS and operation.get("security") != []
    ]
    step_up = settings.auth.step_up if settings.auth else StepUpSettings()
    return security.Rules(
        scopes={  # what strangers may do, needs nothing
            operation["operationId"]: "any" if {} in operation.get("security", ()) else operation["x-scope"]
            for operation in operations
        },
        acts={operation["operationId"]: operation["x-step-up"] for operation in operations if "x-step-up" in operation},
        demand=Demand(step_up.acr_values, step_up.max_age),
        demanding=frozenset(step_up.acts),
        terms=terms.terms,
        before_terms={operation["operationId"] for operation in operations if "x-before-terms" in operation},
    )


def methods(contract: Mapping[str, Any]) -> dict[str, list[str]]:
    """The paths that there are, with their methods."""
    paths = {path: [verb.upper() for verb in item if verb in _VERBS] for path, item in contract["paths"].items()}
    return paths | {path: ["GET"] for path in ("/", "/openapi.json", "/openapi.yaml", *swagger_ui.PATHS)}
