"""Starting, finding and ending executions."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hpcwaas.common import calls, tracing
from hpcwaas.core import acts, closing, policy
from hpcwaas.core.companions import Companions
from hpcwaas.core.counted import STARTED
from hpcwaas.core.endings import Part, check_there
from hpcwaas.core.engines import Engines, inactive
from hpcwaas.core.models import JSON, Execution, ExecutionFilter, ExecutionState, Status
from hpcwaas.core.news import SILENT, with_times
from hpcwaas.core.outputs import Output, OutputValue
from hpcwaas.core.people import Principal
from hpcwaas.core.ports.engine import ExecutionLookup, NotingEngine
from hpcwaas.core.ports.records import ExecutionRecords
from hpcwaas.core.recent import RecentExecutions
from hpcwaas.core.settings import LimitsPerUser
from hpcwaas.core.site_models import AccountCheck, Placement
from hpcwaas.core.sites import Sites
from hpcwaas.core.start_requests import Checked, StartRequests, announces, fingerprint
from hpcwaas.core.starts_under_way import StartsUnderWay
from hpcwaas.errors import BadRequest, Conflict, NotFound, ServiceError, TooLarge, Unavailable, UncertainStart

_LOGGER = logging.getLogger(__name__)
_UNKNOWN = "There is no such execution."
_UNCERTAIN = timedelta(minutes=10)
"""Age up to which it is worth while to look for an execution that may have been started."""

_LOOKED_AT = 200
"""How many that haven't ended are asked for news before a list is shown; `openapi.yaml` names the number."""


class Executions:
    """The executions of all engines as those see them who may.

    Args:
        requests: checks what is to be started.
        limits: of each user.
    """

    def __init__(
        self, engines: Engines, records: ExecutionRecords, requests: StartRequests, sites: Sites, limits: LimitsPerUser
    ) -> None:
        self._engines = engines
        self._records = records
        self._requests = requests
        self._sites = sites
        self._limits = limits
        self._recent = RecentExecutions()
        self.under_way = StartsUnderWay(records)

    def dry_run(
        self, principal: Principal, workflow_id: str, inputs: Mapping[str, JSON], site: str | None = None
    ) -> tuple[Placement | None, AccountCheck | None]:
        """Checks everything that starting an execution needs, and starts nothing. Inputs may name files that are still
        to be uploaded; then the account isn't checked, which takes long.

        Returns:
            where it would run, if its engine has sites, and what a check of the user's account there has found, if one
            is needed.

        Raises:
            TooManyRequests: the user has as much stored as they may, or several accounts checked at this moment.
            ServiceError: as `trigger`.
        """
        checked = self._requests.check(principal, workflow_id, inputs, site, self._sources, announced=True)
        if self._limits.stored is not None:
            self._records.check_room(principal.subject, checked.masked, self._limits.stored)
        if announces(inputs):
            return checked.placement, None
        return checked.placement, self._sites.check_placement(principal, checked.engine, checked.placement)

    def _start(self, execution: Execution, checked: Checked) -> str:
        engine, own = self._engines.behind(checked.details)
        with tracing.span("start execution", {"hpcwaas.engine": engine.name, "hpcwaas.execution": execution.id}):
            return engine.start(execution.id, own, checked.prepared, execution.owner)

    @calls.one()
    def trigger(
        self,
        principal: Principal,
        workflow_id: str,
        inputs: Mapping[str, JSON],
        idempotency_key: str | None,
        site: str | None = None,
    ) -> Execution:
        """Starts an execution, or finds the one that was started with this key.

        Args:
            site: where it is to run; None for the only place that is possible.

        Raises:
            NotFound: no such workflow for this user.
            BadRequest: all that is wrong with the inputs, or with the site.
            Conflict: the key was used for another request, or nothing opens the user's account on the site.
            Unavailable: nothing new starts on the site for now.
            TooManyRequests: the user has as many that haven't ended, or as much stored, as they may.
        """
        idempotency = (idempotency_key, fingerprint(workflow_id, inputs, site)) if idempotency_key else None
        # Before the checks: what it was started with may have changed since.
        if idempotency and (earlier := self._records.of_key(principal.subject, *idempotency, datetime.now(UTC))):
            return earlier
        checked = self._requests.check(principal, workflow_id, inputs, site, self._sources)
        workflow, placement = checked.details.workflow, checked.placement
        if placement is not None and placement.user is not None:
            acts.note(site=placement.site, account=placement.user)
        execution, new = self._records.add(
            Execution(
                id=str(uuid.uuid4()),
                owner=principal.subject,
                workflow_id=workflow.id,
                workflow_name=workflow.name,
                workflow_version=checked.details.shown_version,
                engine=checked.engine.name,
                inputs=checked.masked,
                created_at=datetime.now(UTC),
                state=ExecutionState(Status.PENDING),
                placement=placement,
                inputs_from=tuple(checked.sources),
            ),
            idempotency,
            checked.ssh_keys,
            self._limits.executions,
            self._limits.stored,
            lasting=not isinstance(checked.engine, NotingEngine),  # whose note makes this last, too
        )
        if not new:
            return execution
        try:
            with self.under_way.held(execution.id):
                reference = self._start(execution, checked)
        except UncertainStart as error:
            # It may run: the record stays, and the keeper finds out, at once.
            _LOGGER.warning("execution %s may have been started: %s", execution.id, error.detail)
            self._records.postpone(execution.id, datetime.now(UTC))
            return execution
        except ServiceError:
            # The engine promises that nothing was started: the user sees the error, a retry begins anew.
            self._records.discard(execution.id)
            raise
        self._records.set_reference(execution.id, reference)
        STARTED.add(execution.engine)
        return replace(execution, reference=reference)

    def get(self, principal: Principal, execution_id: str) -> Execution:
        """An execution as it stands now: the user's own, one that is shared with them, or for an operator any.

        Raises:
            NotFound: unknown, or none that the user may see.
        """
        return self.refresh(self.find(principal, execution_id))

    def changing(self, principal: Principal, execution_id: str, act: policy.Act) -> Execution:
        """An execution as it is stored, for one who is about to change it.

        Raises:
            NotFound: unknown, or none that the user may see.
            Forbidden: the user may see it, and no more.
            Conflict: it is being removed.
        """
        execution = self.find(principal, execution_id)
        policy.require_act(principal, act, execution.owner)
        if execution.removing_since is not None:
            raise Conflict("The execution is being deleted.")
        return execution

    def stored(self, execution_id: str) -> Execution:
        """An execution as it is stored, whoever's. Raises `NotFound` when there is none."""
        return self._records.find_execution(execution_id, None)

    def forget(self, execution_id: str) -> None:
        """Asks the store again next time: something else than its state has changed."""
        self._recent.forget(execution_id)

    def find(self, principal: Principal, execution_id: str) -> Execution:
        """An execution as it was known last; see `get`."""
        execution = self._find(principal, execution_id)
        acts.note_owner(principal, execution.owner)
        return execution

    def _find(self, principal: Principal, execution_id: str) -> Execution:
        reach = policy.reach(principal)
        execution = self._recent.get(execution_id)
        # Others than the owner and operators always cost one query: nothing tells them whether it is kept here.
        if execution is None or reach not in (None, execution.owner):
            try:
                execution = self._records.find_execution(execution_id, reach, shared_with=principal)
            except NotFound:
                raise NotFound(_UNKNOWN) from None
            self._recent.put(execution)
        return execution

    def _sources(self, principal: Principal) -> ExecutionLookup:
        """The function by which an engine finds the executions whose outputs a user may see."""

        def find(execution_id: str) -> Execution | None:
            try:
                found = self.refresh(self._find(principal, execution_id))
            except NotFound:
                return None
            return None if found.removing_since else found

        return find

    def companions(self, principal: Principal, workflow_id: str, inputs: Mapping[str, JSON]) -> Sequence[Companions]:
        """What a workflow wants beside the files that inputs name; see `StartRequests.companions`."""
        return self._requests.companions(principal, workflow_id, inputs)

    def refresh(self, execution: Execution, news: ExecutionState | None = None) -> Execution:
        """Asks the engine for news of an execution and stores them. What is stored is given when the engine doesn't
        answer, or the store takes nothing just now, and said to be stale.

        Args:
            news: what the engine has just said of it; None to ask it.
        """
        if execution.settled:
            return execution
        engine = self._engines.get(execution.engine)
        if engine is None:
            return self._without_engine(execution)
        if execution.reference is None:
            return execution
        try:
            state = news or engine.state(execution.reference)
        except SILENT as error:
            stale_since = engine.silent_since() or datetime.now(UTC)
            _LOGGER.debug("no news of execution %s: %s", execution.id, error.detail)
            return replace(execution, state=replace(execution.state, stale_since=stale_since))
        if execution.closed is not None and not state.status.over:
            return execution
        if state != execution.state and (state := with_times(state, execution.state)) != execution.state:
            try:
                execution = self._records.save_state(execution.id, state)
            except Unavailable:  # reading goes on, and the next one who asks stores it
                return replace(execution, state=replace(execution.state, stale_since=datetime.now(UTC)))
            self._recent.put(execution)
        if state.stale_since is not None and not execution.state.status.over:
            execution = replace(execution, state=replace(execution.state, stale_since=state.stale_since))
        return execution

    def _without_engine(self, execution: Execution) -> Execution:
        """An execution of which nobody can tell how it goes on, until its engine is active again."""
        reason = inactive(execution)
        if execution.state.status.over or execution.state.reason == reason:
            return execution
        unknown = replace(execution.state, status=Status.UNKNOWN, reason=reason)
        execution = self._records.save_state(execution.id, unknown)
        self._recent.put(execution)
        return execution

    def page(
        self, principal: Principal, wanted: ExecutionFilter, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[Execution], str | None]:
        """Executions, newest first, and the cursor of the next page when there is one.

        Args:
            wanted: `owner` says whose, see `policy.whose`; `shared_with` is the user, for those that others share with
                them, in place of their own. The list of everybody's is as the keeper saw them last.

        Raises:
            Forbidden: a plain user asks for somebody else's.
            BadRequest: both `owner` and `shared_with`.
        """
        listed = policy.whose(principal, wanted.owner)
        if wanted.shared_with is not None and wanted.owner is not None:
            raise BadRequest("`owner` and `shared` can't be combined.")
        acts.note_owner(principal, wanted.owner)
        mine = wanted.shared_with is None
        wanted = replace(wanted, owner=listed) if mine else replace(wanted, shared_with=principal)
        if wanted.owner is not None or wanted.shared_with is not None:
            # So that the filter by status sees what is true now.
            self._engines.apart(self._records.unfinished(wanted.owner, wanted.shared_with, _LOOKED_AT), self.refresh)
        return self._records.page(wanted, limit, cursor)

    def cancel(self, principal: Principal, execution_id: str) -> Execution:
        """Asks for the end of an execution.

        Returns:
            it, with what is to be said of its end as its state's reason.

        Raises:
            NotFound: unknown, or none that the user may see.
            Forbidden: it is shared with them, and no more.
            Conflict: it has ended by itself.
        """
        execution = self.refresh(self.changing(principal, execution_id, policy.Act.CANCEL))
        if execution.state.status is Status.CANCELLED:
            return execution
        if execution.state.status.over:
            raise Conflict(f"The execution has {execution.state.status} already.")
        if execution.reference is None:
            raise Conflict("The execution is just being started. Try again in a moment.")
        self._engines.of(execution).cancel(execution.reference)
        return self.refresh(execution)

    def output(self, principal: Principal, execution_id: str, name: str, path: str | None, archive: str) -> Output:
        """An output of an execution, or a part of it.

        Args:
            path: the way into it; see `Engine.output`.
            archive: how a directory is packed, `zip` or `tar`.

        Raises:
            NotFound: unknown execution, output or part.
            Gone: it was removed.
            Conflict: the execution hasn't ended.
        """
        execution = self.get(principal, execution_id)
        if not execution.state.status.over:
            raise Conflict(f"The execution is {execution.state.status}; it has outputs when it has ended.")
        check_there(execution.removed, Part.OUTPUTS)
        outputs = execution.state.outputs or {}
        if execution.reference is None or name not in outputs:
            raise NotFound(f"The execution has no output `{name}`.")
        if path is None and not isinstance(outputs[name], Mapping | list):
            return OutputValue(outputs[name])
        return self._engines.of(execution).output(execution.reference, name, path, archive)

    def resume(self, principal: Principal, execution_id: str) -> None:
        """Lets a failed execution go on where it failed, where the engine can.

        Raises:
            NotFound: unknown, or none that the user may see.
            Forbidden: it isn't theirs.
            Conflict: it hasn't failed, or can't go on, or not where it ran.
            TooManyRequests: as for `trigger`.
        """
        execution = self.refresh(self.changing(principal, execution_id, policy.Act.RESUME))
        if execution.state.status is not Status.FAILED or execution.reference is None:
            raise Conflict(f"The execution is {execution.state.status}; only one that has FAILED can be resumed.")
        engine = self._engines.of(execution)
        if execution.placement and (problem := self._sites.against(principal, engine, execution.placement)):
            raise Conflict(problem)
        if self._limits.executions is not None:
            self._records.check_number(execution.owner, self._limits.executions)
        engine.resume(execution.reference)
        self._records.reopen(execution.id)
        self._recent.forget(execution.id)

    def close(self, principal: Principal, execution_id: str, reason: str) -> Execution:
        """Declares an execution ended of which its engine never will say so. What the engine says of it later, its end
        above all, is taken all the same.

        An operator may close any that hasn't ended. Its owner may when the engine has no trace of it, or refuses to
        cancel it; asking so cancels one that runs.

        Raises:
            NotFound: unknown, or none that the user may see.
            Forbidden: it is shared with them, and no more.
            Conflict: it has ended, is about to begin, or really runs.
        """
        execution = self.refresh(self.changing(principal, execution_id, policy.Act.CLOSE))
        stored = closing.close(self._engines.get(execution.engine), self._records, principal, execution, reason)
        self._recent.forget(execution.id)
        return stored

    @calls.one()
    def recover(self, execution: Execution) -> None:
        """Starts an execution of which only the intent is stored, as a crash between the two leaves it.

        An engine that was reached before the crash finds the execution under its id and starts no other.
        The record stays whatever happens: its user may have been told of it by a retry with the idempotency key. So it
        does while its engine isn't active.

        Raises:
            ServiceError: it can't be started just now.
        """
        if self._engines.get(execution.engine) is None:
            return
        try:
            # What was begun goes on, whatever has changed since: an input may be gone.
            reference = self._engines.recall(execution)
            reference = reference or self._start(execution, self._requests.check_again(execution, self._sources))
            self._records.set_reference(execution.id, reference)
        except UncertainStart as error:
            if datetime.now(UTC) - execution.created_at < _UNCERTAIN:
                raise
            reason = f"It is unknown whether the execution was started. {error.detail}"
        except (NotFound, Conflict, BadRequest, TooLarge) as error:  # never: the catalogue or uploads have changed
            reason = f"The service was restarted before the execution began, and then: {error.detail}"
        else:
            _LOGGER.info("started execution %s, which an earlier process had left behind", execution.id)
            return
        self._records.save_state(execution.id, ExecutionState(Status.FAILED, ended_at=datetime.now(UTC), reason=reason))
