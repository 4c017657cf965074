"""What is published: read from Alien4Cloud at once for all applications, and kept for some seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from cachetools import LRUCache

from hpcwaas.common.cached import PATIENCE, Cached, Held, Run
from hpcwaas.core.models import Workflow, WorkflowDetails
from hpcwaas.core.ports.engine import Permitted, everything
from hpcwaas.engines.alien4cloud import mapper, topology
from hpcwaas.engines.alien4cloud.client import PAGE, Alien4CloudClient
from hpcwaas.engines.alien4cloud.faults import NO_RIGHTS, NOT_FOUND, Refusal, reading
from hpcwaas.engines.alien4cloud.references import parse_workflow
from hpcwaas.engines.orchestrated.kept_listing import KeptListing
from hpcwaas.errors import NotFound

_LOGGER = logging.getLogger(__name__)

_SERVED_WHILE_REFRESHED = 6
"""Times `cache_seconds` for which a list is served while a newer one is fetched. An older one is waited for."""

_LOOK_AGAIN = 1.0
"""Seconds after which an unknown id is looked for in a new list: it may just have been published."""

_TOPOLOGIES = 512

Topology = Mapping[str, Any]

T = TypeVar("T")


class PublishedWorkflows:
    """The workflows that Alien4Cloud's applications publish.

    Args:
        fresh: seconds for which it counts as fresh.
        ahead: where calls are made that a caller will wait for.
        kept: keeps the list for the next process, which may begin while Alien4Cloud is down.

    Attributes:
        problems: why applications publish nothing, as the last reading found it.
    """

    def __init__(
        self, client: Alien4CloudClient, fresh: float, run: Run, ahead: Executor, kept: KeptListing | None = None
    ) -> None:
        self._client = client
        self._fresh = fresh
        self._run = run
        self._ahead = ahead
        self._workflows: Cached[dict[str, Workflow]] = Cached("Alien4Cloud", self._fetch, run)
        self._kept = kept
        if kept is not None and (earlier := kept.load()) is not None:
            self._workflows.put(*earlier)
        self._topologies: LRUCache[tuple[str, str], Cached[Topology]] = LRUCache(_TOPOLOGIES)
        self._lock = threading.Lock()
        self.problems: Sequence[str] = ()

    def workflows(self) -> Sequence[Workflow]:
        """All of them, in order of their ids."""
        return list(self._held().value.values())

    def stale_since(self) -> datetime | None:
        """When what is served was read, if Alien4Cloud has been asked for newer since and didn't answer."""
        held = self._workflows.peek()
        if held is None or not (held.failed or held.age > self._fresh * _SERVED_WHILE_REFRESHED + PATIENCE):
            return None
        return datetime.now(UTC) - timedelta(seconds=held.age)

    def workflow(self, workflow_id: str, permitted: Permitted = everything) -> Workflow:
        """One of them that is permitted.

        Raises:
            NotFound: there is none of this id.
        """
        parse_workflow(workflow_id)
        held = self._held()
        found = held.value.get(workflow_id)
        # What isn't permitted is looked for once more, too: it takes the time of what is unknown.
        if (found is None or not permitted(found)) and held.age > _LOOK_AGAIN:
            found = self._workflows.get(_LOOK_AGAIN, _LOOK_AGAIN).value.get(workflow_id)
        if found is None or not permitted(found):
            raise NotFound("There is no such workflow.")
        return found

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
        tags = self._submit(lambda: _there(lambda: self._client.application(application)))
        listed = self._workflows.peek()
        known = listed is not None and (found := listed.value.get(workflow_id)) is not None and permitted(found)
        ahead = self._submit(lambda: self.topology(application, environment)) if known else None
        place = _there(lambda: self._client.environment(application, environment))
        publisher = tags.result()
        with reading("an application"):
            published = publisher is not None and place is not None and mapper.publishing(publisher)
            workflows = mapper.workflows(publisher, [place]) if published else ()
            workflow = next((it for it in workflows if it.id == workflow_id and permitted(it)), None)
        if workflow is None:
            raise NotFound("There is no such workflow.")
        return _details(workflow, ahead.result() if ahead else self.topology(application, environment))

    def topology(self, application: str, environment: str) -> Topology:
        """What is deployed in an environment.

        Raises:
            NotFound: nothing is.
        """
        with self._lock:
            cached = self._topologies.get((application, environment))
            if cached is None:
                cached = Cached("Alien4Cloud", lambda: self._topology(application, environment), self._run)
                self._topologies[application, environment] = cached
        held = cached.get(self._fresh, self._fresh)
        if isinstance(cached.failure, NotFound):  # what was there is gone, not just out of reach
            raise NotFound(cached.failure.detail)
        return held.value

    def _submit(self, function: Callable[[], T]) -> Future[T]:
        """Begins what the caller will wait for, as a part of the same call of a user."""
        return self._ahead.submit(copy_context().run, function)

    def _held(self) -> Held[dict[str, Workflow]]:
        return self._workflows.get(self._fresh, self._fresh * _SERVED_WHILE_REFRESHED)

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

    def _fetch(self) -> dict[str, Workflow]:
        began = time.perf_counter()
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
            environments = self._environments(list(published))
            with reading("environments"):
                for application, items in environments.items():
                    found.update((it.id, it) for it in mapper.workflows(published[application], items))
        for problem in sorted({*problems} - {*self.problems}):
            _LOGGER.warning("%s", problem)
        self.problems = problems
        _LOGGER.debug("read %s workflows in %.0f ms", len(found), (time.perf_counter() - began) * 1000)
        workflows = dict(sorted(found.items()))
        if self._kept is not None:
            self._run(partial(self._kept.save, workflows))  # nobody waits for that
        return workflows

    def _environments(self, applications: list[str]) -> dict[str, Any]:
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
                _LOGGER.warning(
                    "application %s is left out of the list: Alien4Cloud refuses to tell its environments",
                    applications[0],
                )
                return {}
            if len(named) == 1:
                return self._environments([name for name in applications if name != named[0]])
            middle = len(applications) // 2
            return self._environments(applications[:middle]) | self._environments(applications[middle:])
        with reading("environments"):
            return {name: found[name] for name in applications if name in found}


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
