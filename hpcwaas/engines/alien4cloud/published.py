"""What is published: read from Alien4Cloud at once for all applications, and kept for some seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from hpcwaas.common.cached import Run
from hpcwaas.core.models import Workflow, WorkflowDetails
from hpcwaas.core.ports.engine import Permitted, everything
from hpcwaas.engines.alien4cloud import mapper, topology
from hpcwaas.engines.alien4cloud.client import PAGE, Alien4CloudClient
from hpcwaas.engines.alien4cloud.faults import NO_RIGHTS, NOT_FOUND, Refusal, reading
from hpcwaas.engines.alien4cloud.references import parse_workflow
from hpcwaas.engines.orchestrated.kept_listing import KeptListing
from hpcwaas.engines.orchestrated.published import PublishedList, Remembered, ahead
from hpcwaas.errors import NotFound

_LOGGER = logging.getLogger(__name__)

Topology = Mapping[str, Any]


class PublishedWorkflows(PublishedList):
    """The workflows that Alien4Cloud's applications publish.

    Args:
        fresh: seconds for which it counts as fresh.
        ahead: where calls are made that a caller will wait for.
        kept: keeps the list for the next process, which may begin while Alien4Cloud is down.
    """

    def __init__(
        self, client: Alien4CloudClient, fresh: float, run: Run, ahead: Executor, kept: KeptListing | None = None
    ) -> None:
        super().__init__("Alien4Cloud", self._read_all, fresh, run, kept)
        self._client = client
        self._ahead = ahead
        self._topologies: Remembered[tuple[str, str], Topology] = Remembered(
            "Alien4Cloud", lambda place: self._topology(*place), fresh, run
        )

    def workflow(self, workflow_id: str, permitted: Permitted = everything) -> Workflow:
        """One of them that is permitted.

        Raises:
            NotFound: there is none of this id.
        """
        parse_workflow(workflow_id)
        return super().workflow(workflow_id, permitted)

    def details(self, workflow_id: str, permitted: Permitted = everything) -> WorkflowDetails:
        """One of them that is permitted with inputs, outputs and steps.

        Raises:
            NotFound: there is none of this id, or none of its name is deployed.
        """
        workflow = self.workflow(workflow_id, permitted)
        return _details(workflow, self.topology(workflow.application_id, workflow.environment_id))

    def details_now(self, workflow_id: str, permitted: Permitted = everything) -> WorkflowDetails:
        """As `details`, of what Alien4Cloud publishes at this moment, the list aside. What isn't there and what isn't
        permitted cost it the same calls.

        Raises:
            NotFound: there is none of this id, or none of its name is deployed.
        """
        application, environment, _ = parse_workflow(workflow_id)
        # None of these calls waits for another.
        tags = ahead(self._ahead, lambda: _there(lambda: self._client.application(application)))
        known = (found := self.at_hand().get(workflow_id)) is not None and permitted(found)
        early = ahead(self._ahead, lambda: self.topology(application, environment)) if known else None
        place = _there(lambda: self._client.environment(application, environment))
        publisher = tags.result()
        with reading("an application"):
            published = publisher is not None and place is not None and mapper.publishing(publisher)
            workflows = mapper.workflows(publisher, [place]) if published else ()
            workflow = next((it for it in workflows if it.id == workflow_id and permitted(it)), None)
        if workflow is None:
            raise NotFound("There is no such workflow.")
        return _details(workflow, early.result() if early else self.topology(application, environment))

    def topology(self, application: str, environment: str) -> Topology:
        """What is deployed in an environment.

        Raises:
            NotFound: nothing is.
        """
        return self._topologies.get((application, environment))

    def _topology(self, application: str, environment: str) -> Topology:
        try:
            found = self._client.topology(application, environment)
        except Refusal as error:
            raise NotFound("The workflow isn't deployed any more.") if error.code == NOT_FOUND else error from error
        with reading("a topology"):
            found["topology"]["workflows"].keys()
            # A topology has hundreds of kilobytes of types that nobody needs here.
            return {
                "topology": {
                    key: found["topology"].get(key) for key in ("workflows", "outputAttributes", "nodeTemplates")
                }
            }

    def _read_all(self) -> tuple[Mapping[str, Workflow], Sequence[str]]:
        found: dict[str, Workflow] = {}
        problems: list[str] = []
        start, total = 0, 1
        while start < total:
            page, total = self._client.applications(start)
            start += PAGE
            with reading("applications"):
                published = {item["id"]: item for item in page if mapper.publishing(item)}
                reasons = [mapper.misunderstood(item) for item in page if mapper.meant_to_publish(item)]
                problems += [f"{reason}; its workflows are not published" for reason in reasons if reason]
            environments = self._environments(list(published), problems)
            with reading("environments"):
                for application, items in environments.items():
                    found.update((it.id, it) for it in mapper.workflows(published[application], items))
                    problems += mapper.unpublished(published[application], items)
        return dict(sorted(found.items())), problems

    def _environments(self, applications: list[str], problems: list[str]) -> dict[str, Any]:
        """The environments of applications, without those that have just been deleted or aren't for us: for one of
        these Alien4Cloud refuses the whole call."""
        if not applications:
            return {}
        try:
            found = self._client.environments(applications)
        except Refusal as error:
            if error.code not in (NOT_FOUND, NO_RIGHTS):
                raise
            named = [name for name in applications if f"[{name}]" in error.message]
            if len(applications) == 1:
                problems += _refused(error, applications[0])
                return {}
            if len(named) == 1:
                problems += _refused(error, named[0])
                return self._environments([name for name in applications if name != named[0]], problems)
            middle = len(applications) // 2
            first = self._environments(applications[:middle], problems)
            return first | self._environments(applications[middle:], problems)
        with reading("environments"):
            return {name: found[name] for name in applications if name in found}


def _refused(error: Refusal, application: str) -> Sequence[str]:
    """What is to be told of an application whose environments aren't; of one that is just gone, nothing."""
    if error.code == NOT_FOUND:
        return ()
    return [f"application {application}: its workflows aren't published, since Alien4Cloud refuses its environments"]


def _there(ask: Callable[[], Any]) -> Any:
    """What Alien4Cloud says of something; None when it isn't there, or isn't for us."""
    try:
        return ask()
    except Refusal as error:
        if error.code in (NOT_FOUND, NO_RIGHTS):
            return None
        raise


def _details(workflow: Workflow, deployed: Topology) -> WorkflowDetails:
    with reading("a topology"):
        if not topology.has_workflow(deployed, workflow.name):
            _LOGGER.warning("%s is published, but not deployed", workflow.id)
            raise NotFound("There is no such workflow.")
        return topology.details(deployed, workflow)
