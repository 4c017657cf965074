"""The start of an execution by Yorc."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hpcwaas.common.http import NoAnswer
from hpcwaas.engines.orchestrated.starting import Unsure
from hpcwaas.engines.yorc.client import AT_ONCE, YorcClient
from hpcwaas.engines.yorc.faults import Refusal
from hpcwaas.engines.yorc.references import Reference, WorkflowId
from hpcwaas.errors import BadRequest, Conflict, NotFound, ServiceError


@dataclass(frozen=True, slots=True)
class WorkflowStart:
    """A `Start`."""

    client: YorcClient
    workflow: WorkflowId
    inputs: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.workflow)

    @property
    def place(self) -> str:
        return f"yorc {self.workflow}"

    def launch(self) -> str:
        try:
            task = self.client.run(*self.workflow, self.inputs)
        except NoAnswer as failure:
            if isinstance(failure.error, Refusal):
                raise Unsure(failure.error) from failure
            raise
        except Refusal as error:
            raise _refused(error) from error
        return str(Reference(*self.workflow, task))

    def runs(self, since: datetime, until: datetime) -> Collection[str]:
        try:
            events, _ = self.client.events(0, AT_ONCE, self.workflow.deployment)
        except Refusal as error:
            if not error.unknown:
                raise
            return ()
        begins: dict[str, datetime] = {}
        for event in events:
            if event.kind == "Workflow" and event.workflow == self.workflow.workflow and event.execution:
                begins[event.execution] = min(event.moment, begins.get(event.execution, event.moment))
        return [str(Reference(*self.workflow, task)) for task, begin in begins.items() if since <= begin <= until]


def _refused(error: Refusal) -> ServiceError:
    """What a refused start means to the user: nothing was started."""
    if error.status == 404:
        return NotFound("The workflow isn't deployed any more.")
    if error.status == 409 or (error.status == 400 and "already exists" in error.message):
        return Conflict("The workflow's deployment is just being changed or undeployed. Try again when that has ended.")
    if error.status == 400:
        return BadRequest("Yorc refuses the inputs. Check that no required one is missing.")
    return error
