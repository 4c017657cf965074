"""What is published: what the settings name of what is deployed, read from Yorc at once and kept for some seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from hpcwaas.common.cached import Run
from hpcwaas.core.models import Workflow, WorkflowDetails
from hpcwaas.core.ports.engine import Permitted, everything
from hpcwaas.engines.orchestrated.kept_listing import KeptListing
from hpcwaas.engines.orchestrated.published import PublishedList, Remembered, ahead
from hpcwaas.engines.yorc import schema
from hpcwaas.engines.yorc.client import YorcClient
from hpcwaas.engines.yorc.documents import DeploymentDetails
from hpcwaas.engines.yorc.faults import Refusal
from hpcwaas.engines.yorc.publications import Publications, deployed
from hpcwaas.engines.yorc.references import WorkflowId, parse_workflow
from hpcwaas.engines.yorc.schema import Definition
from hpcwaas.errors import NotFound, ServiceError

_LOGGER = logging.getLogger(__name__)

_NONE = "There is no such workflow."

T = TypeVar("T")


class PublishedWorkflows(PublishedList):
    """The workflows of deployments that the settings publish.

    Args:
        publications: the settings' entries.
        fresh: seconds for which the list counts as fresh.
        ahead: where calls are made that a caller waits for, many at the same time.
        kept: keeps the list for the next process, which may begin while Yorc is down.
    """

    def __init__(
        self,
        client: YorcClient,
        publications: Publications,
        fresh: float,
        run: Run,
        ahead: Executor,
        kept: KeptListing | None = None,
    ) -> None:
        self._publications = publications
        super().__init__("Yorc", self._read_all, fresh, run, kept)
        self._client = client
        self._ahead = ahead
        self._definitions: Remembered[WorkflowId, Definition] = Remembered("Yorc", self._definition, fresh, run)

    def workflow(self, workflow_id: str, permitted: Permitted = everything) -> Workflow:
        """One of them that is permitted.

        Raises:
            NotFound: there is none of this id.
        """
        self._set(workflow_id, permitted)
        return super().workflow(workflow_id, permitted)

    def details(self, workflow_id: str, permitted: Permitted = everything) -> WorkflowDetails:
        """One of them that is permitted with inputs, outputs and steps.

        Raises:
            NotFound: there is none of this id.
        """
        workflow = self.workflow(workflow_id, permitted)
        return self._details(workflow, self.definition(workflow_id))

    def details_now(self, workflow_id: str, permitted: Permitted = everything) -> WorkflowDetails:
        """As `details`, of what is deployed at this moment, the list aside.

        Raises:
            NotFound: there is none of this id.
        """
        workflow, place = self._set(workflow_id, permitted), parse_workflow(workflow_id)
        definition = ahead(self._ahead, lambda: self._definition(place))
        if not deployed(self._deployment(place.deployment).status):
            raise NotFound(_NONE)
        return self._details(workflow, definition.result())

    def definition(self, workflow_id: str) -> Definition:
        """What Yorc says of a workflow, whether it is published or not.

        Raises:
            NotFound: there is none of this id.
        """
        return self._definitions.get(parse_workflow(workflow_id))

    def _set(self, workflow_id: str, permitted: Permitted) -> Workflow:
        """A workflow as the settings publish it, whatever is deployed. What isn't permitted is answered as what they
        don't know, without a look.

        Raises:
            NotFound: they publish none of this id.
        """
        workflow = self._publications.workflow(*parse_workflow(workflow_id))
        if workflow is None or not permitted(workflow):
            raise NotFound(_NONE)
        return workflow

    def _as_kept(self, workflows: Mapping[str, Workflow]) -> Mapping[str, Workflow]:
        """Other settings may have been in force when they were kept."""
        now = (self._publications.workflow(it.application_id, it.name) for it in workflows.values())
        return {it.id: it for it in now if it is not None}

    def _details(self, workflow: Workflow, definition: Definition) -> WorkflowDetails:
        publication = self._publications.publication(workflow.application_id, workflow.name)
        if publication is None:
            raise NotFound(_NONE)
        if missing := schema.undeclared(definition, schema.keys_and_secrets(publication)):
            _LOGGER.warning("%s", _lacks(workflow, missing))
            raise NotFound(_NONE)
        return schema.details(definition, workflow, publication)

    def _definition(self, place: WorkflowId) -> Definition:
        return _there(lambda: self._client.workflow(*place))

    def _deployment(self, deployment: str) -> DeploymentDetails:
        return _there(lambda: self._client.deployment(deployment))

    def _read_all(self) -> tuple[Mapping[str, Workflow], Sequence[str]]:
        deployments = self._client.deployments()
        names: dict[str, list[str]] = {}
        failed: dict[str, ServiceError] = {}
        for deployment, answer in self._client.workflow_names_of(self._publications.wanted(deployments)).items():
            if not isinstance(answer, ServiceError):
                names[deployment] = answer
            elif not (isinstance(answer, Refusal) and answer.unknown):  # else it has gone meanwhile
                failed[deployment] = answer
        if failed and not names:
            raise next(iter(failed.values()))
        listing = self._publications.listing(deployments, names)
        problems = [*listing.problems]
        problems += [f"{name}: its workflows can't be read: {error.detail}" for name, error in failed.items()]
        # A deployment that can't be asked just now still has what it had.
        known = {name: it for name, it in self.at_hand().items() if it.application_id in failed}
        return self._with_their_inputs(dict(sorted({**listing.workflows, **known}.items())), problems), problems

    def _with_their_inputs(self, workflows: Mapping[str, Workflow], problems: list[str]) -> Mapping[str, Workflow]:
        """Those that have the inputs which the settings name. Without one, a user could name somebody else's key in an
        input that nobody looks at."""
        named = {
            name: inputs
            for name, it in workflows.items()
            if (publication := self._publications.publication(it.application_id, it.name)) is not None
            and (inputs := schema.keys_and_secrets(publication))
        }
        left_out = set()
        for place, definition in self._client.workflows_of(map(parse_workflow, named)).items():
            name = str(place)
            if isinstance(definition, Refusal) and definition.unknown:  # it has gone meanwhile
                left_out.add(name)
            elif isinstance(definition, ServiceError):
                problems.append(f"{name}: its inputs can't be read: {definition.detail}")
                left_out |= {name} - self.at_hand().keys()
            elif missing := schema.undeclared(definition, named[name]):
                problems.append(_lacks(workflows[name], missing))
                left_out.add(name)
        return {name: it for name, it in workflows.items() if name not in left_out}


def _there(ask: Callable[[], T]) -> T:
    """What Yorc says of something.

    Raises:
        NotFound: it isn't there.
    """
    try:
        return ask()
    except Refusal as refused:
        raise NotFound(_NONE) if refused.unknown else refused from refused


def _lacks(workflow: Workflow, missing: Sequence[str]) -> str:
    return (
        f"{workflow.id} isn't published: it has no input {' and no input '.join(missing)}, which the settings name in "
        "ssh_keys or secret_inputs"
    )
