"""The start of an execution by Alien4Cloud."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from hpcwaas.core.models import JSON, Workflow
from hpcwaas.engines.alien4cloud import faults, mapper
from hpcwaas.engines.alien4cloud.client import Alien4CloudClient
from hpcwaas.engines.alien4cloud.faults import Refusal, reading
from hpcwaas.engines.alien4cloud.references import Reference
from hpcwaas.engines.orchestrated.references import usable
from hpcwaas.engines.orchestrated.starting import Unsure
from hpcwaas.errors import BadRequest, Conflict, NotFound, ServiceError, UncertainStart

_LATEST_RUNS = 50
"""Of a deployment's executions, so many are looked at for one without an answer."""


@dataclass(frozen=True, slots=True)
class WorkflowStart:
    """A `Start`.

    Attributes:
        secret: whether there are secrets among the inputs, which errors must not quote.
    """

    client: Alien4CloudClient
    workflow: Workflow
    inputs: Mapping[str, JSON]
    secret: bool

    @property
    def name(self) -> str:
        return self.workflow.id

    @property
    def place(self) -> str:
        return f"{self.workflow.environment_id}@{self.workflow.name}"

    def launch(self) -> str:
        workflow = self.workflow
        try:
            execution = self.client.launch(workflow.application_id, workflow.environment_id, workflow.name, self.inputs)
        except Refusal as error:
            refused = _refused(error, workflow, secret=self.secret)
            if refused is not None:
                raise refused from error
            raise Unsure(error) from error
        if isinstance(execution, str) and usable(execution):
            return self._reference(execution)
        raise Unsure(UncertainStart("Alien4Cloud has started the execution without saying its id."))

    def runs(self, since: datetime, until: datetime) -> Collection[str]:
        deployment = self.client.active_deployment(self.workflow.application_id, self.workflow.environment_id)
        if deployment is None:
            return ()
        with reading("executions"):
            runs = [mapper.run(item) for item in self.client.executions(deployment["id"], _LATEST_RUNS)]
        return [
            self._reference(run.id)
            for run in runs
            if run.workflow == self.workflow.name and run.started_at is not None and since <= run.started_at <= until
        ]

    def _reference(self, execution: str) -> str:
        return str(Reference(self.workflow.application_id, self.workflow.environment_id, execution))


def _refused(error: Refusal, workflow: Workflow, *, secret: bool) -> ServiceError | None:
    """What a refused start means to the user; None when it may have been started all the same."""
    match error.code:
        case faults.NOT_FOUND:
            return NotFound("The workflow isn't deployed any more.")
        case faults.CONSTRAINT:  # the one text of Alien4Cloud's that a user can act on
            why = "it breaks a constraint." if secret else error.message[:200]
            return BadRequest(f"Alien4Cloud refuses an input: {why}")
        case faults.ILLEGAL_PARAMETER:
            return BadRequest("Alien4Cloud refuses the type of an input.")
        case faults.BAD_OPERATION:
            return Conflict(f"Alien4Cloud doesn't run the workflow {workflow.name!r} on demand.")
        case faults.WORKFLOW_FAILED:
            return _refused_by_orchestrator(error)
    return error if error.status in (400, 401, 403, 404) else None


def _refused_by_orchestrator(error: Refusal) -> ServiceError | None:
    match error.message[:4]:
        case "404 ":
            return NotFound("The orchestrator behind Alien4Cloud doesn't know this workflow.")
        case "409 ":
            return Conflict("Something else runs in the workflow's environment. Wait until it has ended.")
        case "400 ":
            return BadRequest(
                "The orchestrator behind Alien4Cloud refuses the inputs. Check that no required one is missing."
            )
    return None
