"""The inputs of an execution, as Yorc takes them: each is a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpcwaas.common import written
from hpcwaas.core.models import JSON
from hpcwaas.engines.orchestrated import yorc_texts
from hpcwaas.engines.orchestrated.input_checks import Manner, checked_inputs


def prepare_inputs(schema: Mapping[str, Any], inputs: Mapping[str, JSON]) -> dict[str, str]:
    """Checks inputs completely, and fills in defaults, which Yorc doesn't.

    Args:
        schema: of the `inputs` object, as `schema.details` makes it.

    Returns:
        the texts to send.

    Raises:
        InvalidInputs: with all problems at once.
    """
    return checked_inputs(schema, inputs, _MANNER)


def as_text(value: JSON) -> str:
    """A value as a script can read it. From anything but a text Yorc would make one of its own: `1.2345678e+07` for
    12345678, `map[a:1]` for an object."""
    match value:
        case str():
            return value
        case int() | float() if not isinstance(value, bool):
            return written.in_text(value)
    return written.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _unfit(value: JSON) -> str | None:
    return yorc_texts.unfit(value) or yorc_texts.unfit_text(as_text(value))


_MANNER = Manner(sent=as_text, unfit=_unfit)
