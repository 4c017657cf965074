"""The inputs of an execution, as Alien4Cloud takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpcwaas.common import written
from hpcwaas.core.models import JSON
from hpcwaas.engines.orchestrated import yorc_texts
from hpcwaas.engines.orchestrated.input_checks import Manner, checked_inputs
from hpcwaas.engines.orchestrated.values import inside


def prepare_inputs(schema: Mapping[str, Any], inputs: Mapping[str, JSON]) -> dict[str, JSON]:
    """Checks inputs completely.

    Args:
        schema: of the `inputs` object, as `topology.details` makes it.

    Returns:
        the inputs to send, defaults included.

    Raises:
        InvalidInputs: with all problems at once.
    """
    return checked_inputs(schema, inputs, _MANNER)


def _sent(value: JSON) -> JSON:
    """A value in a form that Alien4Cloud takes and the orchestrator behind it leaves alone: texts, lists, objects. From
    a number of JSON the orchestrator makes text of its own: 1.2345678e+07 for 12345678."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() | int():
            return written.in_text(value)
        case list():
            return [_sent(item) for item in value]
        case Mapping():
            return {name: _sent(item) for name, item in value.items()}
    return value


def _unfit(value: JSON) -> str | None:
    if any(isinstance(item, Mapping) and "function" in item for item in inside(value)):
        # Alien4Cloud would evaluate it, `get_secret` included, with the rights of this service.
        return 'a member called "function" isn\'t allowed.'
    return yorc_texts.unfit(value)  # that is the orchestrator behind it


# A secret's default, if any, isn't known here; Alien4Cloud takes it for null.
_MANNER = Manner(sent=_sent, unfit=_unfit, null_for_secrets=True)
