"""Evaluates expressions of a workflow: `python -I -m hpcwaas.engines.cwl.inputs.evaluate`, in a process of its own.

Standard input holds `{"inputs": …, "javascript": …, "asked": [{"self": …, "text": …}]}`. Standard output gets a list
with `{"value": …}` or `{"error": …}` for each.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
from typing import Any

from cwl_utils.expression import do_eval

_TIMEOUT = 10.0
"""Seconds for one expression."""

_SHOWN = 300
MEMORY_LIMIT = 2**30
"""Bytes that this process, which gives JavaScript to another one, may use."""


def main() -> None:
    """Runs the program."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    logging.disable(logging.CRITICAL)
    question = json.load(sys.stdin)
    requirements = [question["javascript"]] if question["javascript"] else []
    json.dump([_answer(each, question["inputs"], requirements) for each in question["asked"]], answers)
    answers.flush()


def _answer(asked: dict[str, Any], inputs: dict[str, Any], requirements: list[Any]) -> dict[str, Any]:
    try:
        value = do_eval(asked["text"], inputs, requirements, None, None, {}, context=asked["self"], timeout=_TIMEOUT)
        json.dumps(value, allow_nan=False)
    except Exception as error:  # whatever an expression does, the others are answered
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return {"error": " ".join(lines)[:_SHOWN] or type(error).__name__}
    return {"value": value}


if __name__ == "__main__":
    main()
