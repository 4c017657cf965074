"""Starts executions, and finds those whose start was asked for without an answer. None is started twice."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from hpcwaas.common.http import NoAnswer
from hpcwaas.core.models import JSON, Workflow
from hpcwaas.core.ports.records import StartRecords
from hpcwaas.engines.alien4cloud import faults, mapper
from hpcwaas.engines.alien4cloud.client import Alien4CloudClient
from hpcwaas.engines.alien4cloud.faults import Refusal, reading
from hpcwaas.engines.alien4cloud.references import Reference, parse_reference
from hpcwaas.engines.orchestrated.references import usable
from hpcwaas.errors import BadRequest, Conflict, NotFound, ServiceError, UncertainStart

_LOGGER = logging.getLogger(__name__)

_SEARCH = 8.0
"""Seconds for which a start without an answer is looked for: Alien4Cloud knows it after about one."""

_SEARCH_EVERY = 0.5

_SKEW = timedelta(seconds=3)
"""By which that clock may still differ."""

_LATEST = timedelta(minutes=2)
"""After which no start that was asked for can begin any more."""

_UNCERTAIN = (
    "Alien4Cloud didn't say whether it has started the execution. It may have been started: before you start it again, "
    "check whether it shows up in the list of executions."
)


class Starter:
    """Starts executions.

    Args:
        clock_ahead: seconds by which the clock that stamps executions is ahead of ours, about.
        starts: what was asked for: Alien4Cloud keeps no id of ours. All processes and replicas know it.
    """

    def __init__(self, client: Alien4CloudClient, clock_ahead: Callable[[], float], starts: StartRecords) -> None:
        self._client = client
        self._clock_ahead = clock_ahead
        self._starts = starts
        self._closing = threading.Event()

    def start(self, execution_id: str, workflow: Workflow, inputs: Mapping[str, JSON], *, secret: bool) -> Reference:
        """Starts an execution; one that was started before under this id is looked for and never started again.

        Args:
            secret: whether there are secrets among the inputs, which errors must not quote.

        Raises:
            UncertainStart: it may have been started.
            ServiceError: it hasn't.
        """
        asked_at = datetime.now(UTC)
        earlier = self._starts.begin(execution_id, _place(workflow), asked_at)
        if earlier is None:
            try:
                reference = self._launch(workflow, inputs, asked_at, secret=secret)
            except UncertainStart:
                raise
            except ServiceError:
                self._starts.drop(execution_id)
                raise
        else:
            asked_at, known = earlier
            if known is not None:
                return parse_reference(known)
            found = self._find(workflow, asked_at)
            if found is None:
                raise UncertainStart(_UNCERTAIN)
            reference = found
        if not self._starts.end(execution_id, str(reference)):
            raise UncertainStart(_UNCERTAIN)
        return reference

    def _launch(self, workflow: Workflow, inputs: Mapping[str, JSON], asked_at: datetime, *, secret: bool) -> Reference:
        failure: ServiceError
        try:
            execution = self._client.launch(workflow.application_id, workflow.environment_id, workflow.name, inputs)
        except NoAnswer as error:
            if not error.sent:
                raise error.error from error
            _LOGGER.warning("the start of %s has no answer; looking for it", workflow.id)
            failure = UncertainStart(_UNCERTAIN)
        except Refusal as error:
            refused = _refused(error, workflow, secret=secret)
            if refused is not None:
                raise refused from error
            failure = error
        else:
            if isinstance(execution, str) and usable(execution):
                return Reference(workflow.application_id, workflow.environment_id, execution)
            failure = UncertainStart("Alien4Cloud has started the execution without saying its id.")
        found = self._search(workflow, asked_at)
        if found is None:
            raise failure
        return found

    def _find(self, workflow: Workflow, asked_at: datetime) -> Reference | None:
        """The execution of a start that was asked for at about this time and has no known outcome.

        None when there is none, or when several could be it, or it could be another start's.
        """
        deployment = self._client.active_deployment(workflow.application_id, workflow.environment_id)
        if deployment is None:
            return None
        since = asked_at + timedelta(seconds=self._clock_ahead()) - _SKEW
        with reading("executions"):
            runs = [mapper.run(item) for item in self._client.executions(deployment["id"], 50)]
        candidates = [
            Reference(workflow.application_id, workflow.environment_id, run.id)
            for run in runs
            if run.workflow == workflow.name
            and run.started_at is not None
            and since <= run.started_at <= since + _LATEST
        ]
        # Counted before those with a known start are left out: one that gets its answer in between is in either.
        open_ = self._starts.open(_place(workflow), asked_at - _LATEST - _SKEW, asked_at + _LATEST + _SKEW)
        known = self._starts.known([str(candidate) for candidate in candidates])
        left = [candidate for candidate in candidates if str(candidate) not in known]
        return left[0] if len(left) == 1 and open_ == 1 else None

    def close(self) -> None:
        """Ends all searches."""
        self._closing.set()

    def _search(self, workflow: Workflow, asked_at: datetime) -> Reference | None:
        # A start that was waited for in vain has taken the time that its caller has; the keeper looks on.
        deadline = time.monotonic() + min(_SEARCH, self._client.transport.time_left())
        while not self._closing.wait(_SEARCH_EVERY) and time.monotonic() < deadline:
            try:
                if (found := self._find(workflow, asked_at)) is not None:
                    _LOGGER.info("found the start of %s that had no answer", workflow.id)
                    return found
            except ServiceError as error:
                _LOGGER.info("can't look for the start of %s: %s", workflow.id, error.detail)
        return None


def _place(workflow: Workflow) -> str:
    """Within it, a run that is found can be that of any start without an answer."""
    return f"{workflow.environment_id}@{workflow.name}"


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
