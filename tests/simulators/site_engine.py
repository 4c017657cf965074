"""An engine with sites that runs nothing: executions stand as the test says. What is at the sites outlives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from hpcwaas.core.models import (
    Check,
    ExecutionState,
    Level,
    LogPage,
    Status,
    Step,
    StepStatus,
    Workflow,
    WorkflowDetails,
)
from hpcwaas.core.outputs import Output
from hpcwaas.core.ports.engine import Permitted, Prepared, UploadLookup, everything
from hpcwaas.core.site_models import LOCAL, Job, Placement, Point, PointStatus, Site
from hpcwaas.errors import BadRequest, Conflict, InputProblem, InvalidInputs, NotFound, ServiceError, Unavailable

NAME = "places"
MACHINE = Site(LOCAL, "This machine", accounts=False)
MARE = Site("mare", "MareNostrum 5", "A large one.", "login.example.org:22", "slurm")
LUMI = Site("lumi", "LUMI", host="lumi.example.org:22", scheduler="slurm", groups=frozenset({"climate"}))
KEYLESS = Site("swan", "Swan", host="swan.example.org:22", keyless=True)
SUBMITTED = datetime(2026, 11, 23, 9, 25, 41, tzinfo=UTC)
FINE = (Point("name", "The name resolves", PointStatus.OK, "login.example.org is 192.0.2.7."),)
REFUSED = (*FINE, Point("sign_in", "The key is accepted", PointStatus.FAILED, "It isn't.", "Install the key's line."))


def _workflow(name: str, *sites: str, users: frozenset[str] | None = None) -> Workflow:
    restricted = frozenset(sites) or None
    return Workflow(name, name, NAME, name, "local", "local", authorized_users=users, sites=restricted)


@dataclass
class There:
    """What is at the sites, and what they answer.

    Attributes:
        started: by execution, with what and where; each has been started once.
        points: of checks; a failure to raise in place of them.
        checked: accounts that were checked.
        lost: whether the answer to a start is lost after it began.
    """

    sites: list[Site] = field(default_factory=lambda: [MACHINE, MARE, LUMI])
    workflows: list[Workflow] = field(
        default_factory=lambda: [
            _workflow("anywhere"),
            _workflow("away", "mare", "lumi"),
            _workflow("here", LOCAL),
            _workflow("nowhere", "atlantis"),
        ]
    )
    started: dict[str, tuple[Mapping[str, Any], Placement]] = field(default_factory=dict)
    states: dict[str, ExecutionState] = field(default_factory=dict)
    points: Sequence[Point] = FINE
    checked: list[Placement] = field(default_factory=list)
    before_start: Callable[[str], object] = lambda _execution_id: None

    def change(self, site_id: str, **changes: Any) -> None:
        """Changes a site."""
        self.sites = [replace(site, **changes) if site.id == site_id else site for site in self.sites]

    def end(self, execution_id: str, status: Status = Status.SUCCEEDED) -> None:
        """Ends an execution."""
        reference = next(it for it in self.states if it.endswith(execution_id))
        self.states[reference] = replace(self.states[reference], status=status, ended_at=datetime.now(UTC), outputs={})


class SiteEngine:
    """Obeys the Protocol `SiteEngine`."""

    name = NAME

    def __init__(self, there: There) -> None:
        self._there = there

    def workflows(self) -> Sequence[Workflow]:
        return self._there.workflows

    def stale_since(self) -> datetime | None:
        return None

    def workflow(
        self, workflow_id: str, permitted: Permitted = everything, *, current: bool = False
    ) -> WorkflowDetails:
        for workflow in self._there.workflows:
            if workflow.id == workflow_id and permitted(workflow):
                return WorkflowDetails(workflow, {"type": "object", "properties": {}}, (), (), "1")
        raise NotFound("There is no such workflow.")

    def prepare(self, details: WorkflowDetails, inputs: Mapping[str, Any], uploads: UploadLookup) -> Prepared:
        if "wrong" in inputs:
            raise InvalidInputs([InputProblem("wrong", "`wrong` is wrong.")])
        return dict(inputs)

    def sites(self) -> Sequence[Site]:
        return self._there.sites

    def place(self, prepared: Prepared, details: WorkflowDetails, placement: Placement) -> Prepared:
        site = next(it for it in self._there.sites if it.id == placement.site)
        if site.maintenance is not None:
            raise Unavailable(f"The site `{site.id}` is in maintenance: {site.maintenance}")
        if "cores" in prepared:
            raise BadRequest("The inputs ask for more cores than a job may have there.")
        return prepared, placement

    def check_account(self, placement: Placement) -> Sequence[Point]:
        self._there.checked.append(placement)
        return self._there.points

    def start(self, execution_id: str, details: WorkflowDetails, prepared: Prepared, owner: str = "") -> str:
        inputs, placement = prepared
        self._there.before_start(execution_id)
        reference = execution_id if placement.site == LOCAL else f"{placement.site}:{execution_id}"
        if execution_id not in self._there.started:
            self._there.started[execution_id] = inputs, placement
            away = placement.site != LOCAL
            job = Job("48213", "PENDING", "Priority", name="align", submitted_at=SUBMITTED) if away else None
            self._there.states[reference] = ExecutionState(
                Status.RUNNING,
                SUBMITTED,
                reason="Step 1 of 1 (align): Slurm job 48213 waits, reason Priority." if away else None,
                steps=(Step("align", StepStatus.RUNNING, job=job),),
                directory=f"/home/{placement.user}/.hpcwaas/executions/{execution_id}" if away else None,
            )
        return reference

    def state(self, reference: str) -> ExecutionState:
        site, _, _ = reference.rpartition(":")
        if site and site not in {it.id for it in self._there.sites}:
            return ExecutionState(Status.UNKNOWN, reason=f"The site `{site}` isn't configured any more.")
        return self._there.states[reference]

    def log(self, reference: str, levels: Level, start: int, limit: int | None) -> LogPage:
        return LogPage((), 0, over=self.state(reference).status.over)

    def watch(self, reference: str, levels: Level, start: int, wake: Callable[[], None]) -> Callable[[], None]:
        wake()
        return lambda: None

    def cancel(self, reference: str) -> None:
        self._there.end(reference, Status.CANCELLED)

    def lost(self, reference: str) -> bool:
        return reference not in self._there.states

    def silent_since(self) -> datetime | None:
        return None

    def resume(self, reference: str) -> None:
        raise Conflict("Executions of this engine can't be resumed.")

    def output(self, reference: str, name: str, path: str | None, archive: str) -> Output:
        raise NotFound("The execution has no such output.")

    def checks(self) -> Sequence[Check]:
        return [Check(NAME, "ok", 0.0)]

    def close(self) -> None:
        """Nothing is held."""


def failing(error: ServiceError) -> Callable[[str], None]:
    """For `before_start`: what makes every start fail."""

    def fail(_execution_id: str) -> None:
        raise error

    return fail
