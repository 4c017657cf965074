"""Values as YAML, which readers of YAML 1.1 and 1.2 take for the same."""

from __future__ import annotations

import re
from typing import Any

import yaml

from .literals import Literal, Wrong, number

_PARTS = re.compile(r"(-?\d+)(\.\d+)?(?:[eE]([-+]?)(\d+))?")

_LIKE_A_NUMBER = re.compile(r"[-+.]?[0-9][0-9a-zA-Z_.:]*([eEpP][-+]?[0-9_]+)?")
"""Whatever a reader of YAML 1.1, of 1.2 or of both might take for a number; PyYAML quotes its own and dates."""


class _Dumper(yaml.SafeDumper):
    """Numbers with their own digits, and no anchors: what occurs twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _number(dumper: yaml.SafeDumper, given: Literal) -> yaml.Node:
    text = given.text
    if match := _PARTS.fullmatch(text):
        # YAML 1.1 wants a point, and a sign in the exponent.
        whole, fraction, sign, power = match.groups()
        text = whole + (fraction or ".0") + (f"e{sign or '+'}{power}" if power else "")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _text(dumper: yaml.SafeDumper, given: str) -> yaml.Node:
    try:
        looks_like_a_number = number(given) is not None
    except Wrong:
        looks_like_a_number = True
    quoted = looks_like_a_number or _LIKE_A_NUMBER.fullmatch(given)
    return dumper.represent_scalar("tag:yaml.org,2002:str", given, style="'" if quoted else None)


_Dumper.add_representer(Literal, _number)
_Dumper.add_representer(str, _text)


def dump(value: Any, *, ascii_only: bool) -> str:
    """A value of JSON as a document of YAML.

    Args:
        ascii_only: escape all other letters.
    """
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=not ascii_only, default_flow_style=False, width=120
    )
    return text.removesuffix("...\n")
