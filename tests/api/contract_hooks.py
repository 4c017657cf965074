"""What schemathesis can't know from the contract: values of its own formats."""

from __future__ import annotations

import base64
import json
from typing import Any

import schemathesis
from hypothesis import strategies as st

NUMBERS = st.integers(0, 5).map(str)
STREAMS = ("getEvents", "getExecutionEvents")


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """Takes no stream, which may never end: 406 is an answer, too."""
    if case.operation.definition.raw["operationId"] in STREAMS:
        case.headers["Accept"] = "application/json"


# Short ones: an empty log is waited for as long as this says.
schemathesis.openapi.format(
    "duration-go", NUMBERS.map(lambda number: f"{number}ms") | st.sampled_from(["0", "-1s", "1.5us"])
)
schemathesis.openapi.format(
    "file-name",
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="/\\."), min_size=1, max_size=60),
)
schemathesis.openapi.format(
    "cursor",
    st.builds(
        lambda moment, identifier: (
            base64.urlsafe_b64encode(json.dumps([moment, identifier]).encode()).decode().rstrip("=")
        ),
        st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
        st.uuids().map(str),
    ),
)
