"""Names that are given twice in a document. A part of `describe.py`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from schema_salad.exceptions import ValidationException

from hpcwaas.engines.cwl.workflows.declare import as_list, short


def refuse_doubles(node: Mapping[str, Any]) -> None:
    """Refuses two things with one name in a list: runners take either of them silently."""
    for section, word in (("inputs", "input"), ("outputs", "output"), ("steps", "step")):
        items = [item for item in as_list(node.get(section)) if isinstance(item, Mapping)]
        refuse_double(word, [str(item["id"]) for item in items if "id" in item])
        for item in items:
            _refuse_double_members(item.get("type"))
            refuse_double("input of a step", [str(port["id"]) for port in as_list(item.get("in"))])
    for section in ("requirements", "hints"):
        items = [item for item in as_list(node.get(section)) if isinstance(item, Mapping)]
        different = {json.dumps(item, sort_keys=True, default=str): str(item.get("class")) for item in items}
        refuse_double(f"class of {section}", list(different.values()))


def _refuse_double_members(kind: Any) -> None:
    for option in as_list(kind):
        if isinstance(option, Mapping):
            fields = as_list(option.get("fields"))
            refuse_double("member of a record", [str(field["name"]) for field in fields])
            for inner in (option.get("items"), *(field.get("type") for field in fields)):
                _refuse_double_members(inner)


def refuse_double(what: str, names: list[str]) -> None:
    """Refuses a name that is given more than once.

    Raises:
        ValidationException: one is.
    """
    for name, number in Counter(names).items():
        if number > 1:
            raise ValidationException(f"the {what} {short(name)} is given {number} times")
