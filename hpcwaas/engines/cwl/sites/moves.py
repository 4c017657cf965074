"""What is done with the executions of one account, one after the other, by whoever holds its lock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcwaas.common import tracing
from hpcwaas.core.models import JSON, ExecutionState, Level, Status
from hpcwaas.engines.cwl.run.steps import finish
from hpcwaas.engines.cwl.run.turns import Turns
from hpcwaas.engines.cwl.sites import starting, transfer
from hpcwaas.engines.cwl.sites.around import Surroundings, Way
from hpcwaas.engines.cwl.sites.connection import SiteFailed
from hpcwaas.engines.cwl.sites.looking import Looking
from hpcwaas.engines.cwl.sites.mirror import ASKED, REMOVED, SENT, Account, Intent, Staged
from hpcwaas.engines.cwl.sites.sending import Sending
from hpcwaas.engines.cwl.storage import spool
from hpcwaas.engines.cwl.storage.log import LogWriter
from hpcwaas.engines.cwl.storage.spool import Spool

_BATCH = 50
"""Executions that one command starts or removes."""

_ASK_AGAIN = 30.0
"""Seconds after which what had no effect is sent once more."""

_TIDY_EVERY = 600.0
_DAY = 86400.0
_START_TIMEOUT = 600.0
"""Contents are verified before executions start, and sbatch may be slow."""

_UNBEGUN = "Cancelled on request before it began."
_UNREADABLE = (
    "The execution could not be started: another version of the service queued it, or its files were damaged. Trigger "
    "it again."
)


def age(now: float, marker: Path) -> float:
    """Days since a marker of an ended execution was put down; 0 when it is gone."""
    try:
        return (now - marker.stat().st_mtime) / _DAY
    except FileNotFoundError:
        return 0.0


class Moves:
    """The executions of one account."""

    def __init__(self, around: Surroundings, account: Account, way: Way) -> None:
        self._around = around
        self._mirror = around.mirror
        self._account = account
        self._way = way
        self._turns = Turns(around.mirror.owner)
        scheduler = around.scheduler(account.placement().user or "")
        self.looking = Looking(around.site, around.mirror, scheduler, self.prologue, self._ended, around.log)
        self.sending = Sending(
            around, way, lambda execution_id, why: self._end(execution_id, Status.FAILED, why), self._postpone
        )
        self._asked: dict[str, float] = {}
        self._later: dict[str, float] = {}
        self._followed: set[str] = set()
        self._next_tidying = 0.0
        self._removing: dict[str, float] = {}

    def prologue(self) -> str | None:
        """What is sourced on the site before its programs.

        Raises:
            SiteFailed: it can't be read here.
        """
        path = self._around.settings.prologue
        try:
            return path.read_text("utf-8") if path else None
        except (OSError, ValueError) as error:
            raise SiteFailed(
                f"The prologue of the site {self._around.site} can't be read on the service's machine. Ask an operator "
                "of the service (setting `prologue`).",
                lasting=True,
            ) from error

    def on_site(self) -> list[str]:
        """Executions that are known to be there, and not known to be over."""
        active = Spool.tickets(self._account.active)
        return [execution_id for _, execution_id in active if self._mirror.has(execution_id, SENT)]

    def free(self) -> bool:
        """Whether one that waits could go now."""
        room = len(Spool.tickets(self._account.active)) < self._around.settings.limits.executions
        return room and bool(Spool.tickets(self._account.queue))

    def turn(self) -> bool:
        """Does what is to be done. False when nothing waits or runs."""
        self._cancel_waiting()
        self._claim()
        active = Spool.tickets(self._account.active)
        unsent, sent = [], []
        for ticket, execution_id in active:
            if not self._mirror.execution(execution_id).is_dir():  # somebody removed it by hand
                (self._account.active / ticket).unlink(missing_ok=True)
            elif self._mirror.state(execution_id).status.over:  # a process was killed right there
                self._mirror.settle(self._account, ticket, execution_id, kept=self._mirror.has(execution_id, SENT))
            elif self._mirror.has(execution_id, SENT):
                sent.append(execution_id)
            elif not self.sending.busy_with(execution_id) and time.monotonic() >= self._later.get(execution_id, 0.0):
                unsent.append(execution_id)
        self._start(unsent)
        self._cancel(sent)
        self._bury()
        self._follow(sent)
        self._remove_unwanted()
        if not active:
            self._tidy()
        return bool(active) or bool(Spool.tickets(self._account.queue)) or bool(self._account.to_remove())

    def _cancel_waiting(self) -> None:
        for _, execution_id in Spool.tickets(self._account.queue):
            if self._mirror.has(execution_id, spool.CANCEL):
                self._end(execution_id, Status.CANCELLED, _UNBEGUN)

    def _claim(self) -> None:
        active = Spool.tickets(self._account.active)
        waiting = Spool.tickets(self._account.queue)
        self._turns.forget({execution_id for _, execution_id in active + waiting})
        free = self._around.settings.limits.executions - len(active)
        for ticket, execution_id in self._turns.order(waiting, active) if free > 0 else ():
            if self._mirror.intent(execution_id) is None:
                if self._mirror.execution(execution_id).is_dir():
                    self._finish(ticket, execution_id, Status.FAILED, _UNREADABLE)
                (self._account.queue / ticket).unlink(missing_ok=True)
                continue
            self._mirror.claim(self._account, ticket)
            free -= 1
            if free <= 0:
                break

    def _start(self, unsent: Sequence[str]) -> None:
        """Starts what waits for nothing here. Those of which it isn't known whether they were started are asked for."""
        orders: dict[str, list[dict[str, JSON]]] = {"start": [], "resume": []}
        traces: dict[str, str | None] = {}
        doubtful = []
        for execution_id in unsent:
            intent = self._mirror.intent(execution_id)
            if intent is None or not self._mirror.has(execution_id, spool.ORDER):
                self._end(execution_id, Status.FAILED, _UNREADABLE)
            elif self._mirror.has(execution_id, spool.CANCEL):
                if self._mirror.has(execution_id, ASKED):
                    doubtful.append(execution_id)
                else:
                    self._end(execution_id, Status.CANCELLED, _UNBEGUN)
            elif (attempt := self._mirror.attempt(execution_id)) > 1:
                orders["resume"].append({"id": execution_id, "attempt": attempt})
            elif (staged := transfer.downloaded(self._mirror, intent)) is None:
                self.sending.fetch(intent)
            else:
                orders["start"].append(self._order(intent, (*intent.staged, *staged)))
                traces[execution_id] = intent.trace
        if doubtful:
            self._find(doubtful)
        for first in range(0, len(orders["start"]), _BATCH):
            batch = orders["start"][first : first + _BATCH]
            accept = self.sending.arrived()
            body = {"accept": accept, "executions": batch}
            starts = [str(each["id"]) for each in batch]
            with contextlib.ExitStack() as spans:
                for execution_id in starts:
                    about = {"hpcwaas.site": self._around.site, "hpcwaas.execution": execution_id}
                    spans.enter_context(tracing.span("start on the site", about, parent=traces[execution_id]))
                answer = self._ask("start", body, starts[0], _START_TIMEOUT, starts)
            self.sending.accepted(accept, answer.get("wrong") or ())
            self._take_starts(answer)
        if orders["resume"]:
            attempts = {str(each["id"]): each["attempt"] for each in orders["resume"]}
            starts = list(attempts)
            answer = self._ask("resume", {"executions": attempts}, starts[0], _START_TIMEOUT, starts)
            for execution_id in attempts:
                self.looking.forget(execution_id)
            self._take_starts(answer)

    def _order(self, intent: Intent, staged: Sequence[Staged]) -> dict[str, JSON]:
        workflow, _ = self._around.packages.of(intent.root)
        order = starting.job(self._mirror, intent.id)
        asked = starting.request(
            self._around.settings, intent, workflow, staged, prologue=self.prologue(), log=self._around.log, order=order
        )
        return {"id": intent.id, "request": asked, "job": order}

    def _take_starts(self, answer: Mapping[str, Any]) -> None:
        for execution_id, told in (answer.get("executions") or {}).items():
            error = told.get("error")
            if error is not None and error.get("kind") == "later":  # nothing was refused
                self._postpone(
                    execution_id, f"Slurm on {self._around.site} takes no jobs at present: {error['detail']}"
                )
            elif error is not None:
                self._end(execution_id, Status.FAILED, starting.refused(self._around.site, error))
            elif "missing" in told and self._mirror.attempt(execution_id) > 1:
                self._end(
                    execution_id,
                    Status.FAILED,
                    f"The execution can't go on: its files on {self._around.site} are gone. Trigger a new one.",
                )
            elif "missing" in told:
                self.sending.bring(execution_id, told["missing"])
            else:
                self._mirror.mark(execution_id, SENT)
                self._way.look_again()
                self._mirror.tidy(execution_id)

    def _postpone(self, execution_id: str, reason: str) -> None:
        self._later[execution_id] = time.monotonic() + _ASK_AGAIN
        self._mirror.write_state(execution_id, replace(self._mirror.state(execution_id), reason=reason))

    def _find(self, doubtful: Sequence[str]) -> None:
        """Finds out whether executions that are to be cancelled were started: an answer may have been lost."""
        wanted = {execution_id: {"log": None, "have": None} for execution_id in doubtful}
        body = {"executions": wanted, "commands": {}, "wait": 0, "news": None, "settle": 0, "log_room": 0}
        answer = self._ask("look", body, doubtful[0])
        for execution_id, told in (answer.get("executions") or {}).items():
            if told.get("exists", True):
                self._mirror.mark(execution_id, SENT)
            else:
                self._end(execution_id, Status.CANCELLED, _UNBEGUN)

    def _cancel(self, sent: Sequence[str]) -> None:
        now = time.monotonic()
        wanted = [each for each in sent if self._mirror.has(each, spool.CANCEL)]
        due = [each for each in wanted if now - self._asked.get(each, -_ASK_AGAIN) >= _ASK_AGAIN]
        if due:
            self._ask("cancel", {"ids": due}, due[0])
        self._asked = {each: now if each in due else self._asked[each] for each in wanted}

    def _bury(self) -> None:
        dead = dict(self.looking.dead)
        if not dead:
            return
        ends = {each: {"status": end.status.value, "reason": end.reason} for each, end in dead.items()}
        answer = self._ask("bury", {"executions": ends}, next(iter(ends)), 120.0)
        told = answer.get("executions") or {}
        for execution_id, end in dead.items():
            answered = told.get(execution_id) or {}
            if answered.get("buried") and answered.get("exists", True):
                self.looking.forget(execution_id)  # a look brings its end, with its log and its outputs
                continue
            if answered.get("error"):  # what lives there all the same is to end
                self._ask("cancel", {"ids": [execution_id]}, execution_id)
            left = answered.get("jobs_left") or []
            reason = end.reason
            if left:
                reason += f" These are still there: {', '.join(map(str, left))}."
            self._end(execution_id, end.status, reason)
            self.looking.forget(execution_id)

    def _follow(self, sent: Sequence[str]) -> None:
        """Looks at once at what somebody has just begun to follow."""
        followed = {each for each in sent if self._mirror.followed(each)}
        if followed - self._followed:
            self._way.look_again()
        self._followed = followed

    def _tidy(self) -> None:
        """Removes from the site what has been kept long enough."""
        days = self._around.settings.limits.keep_days
        now = self._around.now()
        if days is None or now < self._next_tidying:
            return
        self._next_tidying = now + _TIDY_EVERY
        due = [
            (ticket, execution_id)
            for ticket, execution_id in Spool.tickets(self._account.kept)
            if age(now, self._account.kept / ticket) > days
        ]
        for first in range(0, len(due), _BATCH):
            self._remove(due[first : first + _BATCH], content_days=days)

    def _remove_unwanted(self) -> None:
        """Removes from the site what is to be removed there, with the uploads that nothing else uses."""
        now = time.monotonic()
        unwanted = self._account.to_remove()
        due = [each for each in unwanted if now >= self._removing.get(each[1], 0.0)][:_BATCH]
        if due:
            intents = [self._mirror.intent(execution_id) for _, execution_id in due]
            content = sorted({staged.sha256 for intent in intents if intent for staged in intent.staged})
            self._remove(due, content=content)
        # One that couldn't be removed, because something of it runs again, is left alone for a while.
        there = {execution_id for _, execution_id in self._account.to_remove()}
        tried = {execution_id for _, execution_id in due}
        self._removing = {each: now + _ASK_AGAIN if each in tried else self._removing.get(each, 0.0) for each in there}

    def _remove(self, batch: Sequence[tuple[str, str]], **more: JSON) -> None:
        body = {"ids": [execution_id for _, execution_id in batch], **more}
        answer = self._ask("remove", body, batch[0][1], 600.0)
        removed = set(answer.get("removed") or ())
        for ticket, execution_id in batch:
            if execution_id in removed:
                if self._mirror.execution(execution_id).is_dir():
                    self._mirror.mark(execution_id, REMOVED)
                (self._account.kept / ticket).unlink(missing_ok=True)
                (self._account.unwanted / ticket).unlink(missing_ok=True)

    def _ask(
        self,
        command: str,
        body: Mapping[str, JSON],
        execution_id: str,
        timeout: float = 60.0,
        starts: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Asks the agent something.

        Args:
            starts: executions that may have begun from now on.
        """
        with self._way.connection(f"execution {execution_id}") as connection:
            for each in starts:
                self._mirror.mark(each, ASKED)
            return self._way.call(connection, command, body, timeout)

    def _ended(self, execution_id: str, state: ExecutionState) -> None:
        """Takes the end that the site told."""
        intent = self._mirror.intent(execution_id)
        if intent is not None:
            self._mirror.finish(self._account, intent.ticket, execution_id, state, kept=True)

    def _end(self, execution_id: str, status: Status, reason: str) -> None:
        """Ends an execution here."""
        intent = self._mirror.intent(execution_id)
        ticket = intent.ticket if intent else ""
        self._finish(ticket, execution_id, status, reason)

    def _finish(self, ticket: str, execution_id: str, status: Status, reason: str) -> None:
        state, now = self._mirror.state(execution_id), datetime.now(UTC)
        log = LogWriter(self._mirror.execution(execution_id) / spool.LOG, self._around.log)
        log.end(Level.WARN if status is Status.CANCELLED else Level.ERROR, reason)
        log.close()
        end = replace(state, status=status, reason=reason, ended_at=now, steps=finish(state.steps, status, now))
        kept = self._mirror.has(execution_id, SENT) or self._mirror.attempt(execution_id) > 1
        self._mirror.finish(self._account, ticket, execution_id, end, kept=kept)
