"""The list of workflows as it is written: parts that are kept never show what isn't so any more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hpcwaas.api import views, workflows
from hpcwaas.api.workflows import WorkflowHandlers
from hpcwaas.core.engines import Published
from hpcwaas.core.models import Workflow
from hpcwaas.core.people import Principal

ALICE = Principal(subject="alice", name="Alice")
ONE = Workflow("a", "a", "cwl", "a", "", "", description='é "quoted" <b>\n')
TWO = Workflow("b", "b", "yorc", "b", "", "")


class Listed:
    """A catalogue that gives what it is told to, and sites that take what they are told to."""

    def __init__(self) -> None:
        self.found: Sequence[Workflow] = (ONE, TWO)
        self.missing: tuple[str, ...] = ()
        self.sites: Sequence[str] | None = None

    def page(self, *_: Any) -> tuple[Published, str | None]:
        return Published(self.found, None, self.missing), "next"

    def where(self, _principal: Principal) -> Any:
        return lambda _workflow: self.sites


@pytest.mark.parametrize("remembered", [5000, 1])
def test_a_list_shows_what_is_so_now(monkeypatch: pytest.MonkeyPatch, remembered: int) -> None:
    monkeypatch.setattr(workflows, "_REMEMBERED", remembered)
    listed = Listed()
    handlers = WorkflowHandlers(listed, None, listed, None)  # type: ignore[arg-type]

    def check() -> None:
        for _ in range(2):
            answer = handlers.list_workflows(ALICE)
            document: dict[str, Any] = {
                "workflows": [views.workflow(item, listed.sites) for item in listed.found],
                "next_cursor": "next",
            }
            if listed.missing:
                document["warnings"] = list(listed.missing)
            assert json.loads(answer.get_data(as_text=True)) == document
            assert answer.content_type == "application/json"

    check()
    listed.found = (replace(ONE, description="another"), TWO)
    check()
    listed.sites = ["local"]
    check()
    listed.sites = ["local", "mare"]
    check()
    listed.missing = ("The workflows of the engine `yorc` are missing.",)
    listed.found = ()
    check()
