"""Executions of the simulated Alien4Cloud: a plan of what happens when, carried out by the event loop.

What happens at the orchestrator at a moment is seen by Alien4Cloud, and so by its clients, some time (`lag`) later.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any, TypeAlias

from tests.simulators.alien4cloud_logs import Logs
from tests.simulators.alien4cloud_state import ORCHESTRATOR, Deployment, Step, Workflow, World

JSON: TypeAlias = Any
Action: TypeAlias = Callable[[float], None]
Publish: TypeAlias = Callable[[str, JSON], None]

OVER = ("SUCCEEDED", "FAILED", "CANCELLED")
TICK = 0.02
"""Seconds between two looks at a plan at least: many lines of one moment are written together."""


@dataclass
class Task:
    """One run of a step's operation, with the step's instance."""

    id: str
    step: Step
    instance: str
    scheduled: int
    status: str = "STARTED"


class Execution:
    """One run of a workflow.

    Attributes:
        known: whether Alien4Cloud has a record of it yet.
        resuming: whether that record is still the one before it was resumed.
        lost: whether the orchestrator has ended it and Alien4Cloud never heard of that.
        started, ended: in milliseconds.
    """

    def __init__(
        self, deployment: Deployment, workflow: Workflow, inputs: JSON, office: Executions, ago: float = 0.0
    ) -> None:
        self.id = str(uuid.uuid4())
        self.deployment = deployment
        self.workflow = workflow
        self.inputs = inputs
        self.status = "RUNNING"
        self.known = False
        self.started = 0
        self.ended: int | None = None
        self.tasks: dict[str, Task] = {}
        self._office = office
        self._begin = time.time() - ago
        self._number = count()
        self._plan: list[tuple[float, int, Action]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._outcome = workflow.outcome
        self._failures = 0
        self.resuming = False
        self.lost = False
        self._add(0.0, self._start)
        for moment, action in self._course(self._steps()):
            self._add(moment, action)

    @property
    def failed_tasks(self) -> bool:
        """Whether any task failed."""
        return any(task.status == "FAILED" for task in self.tasks.values())

    def json(self) -> JSON:
        """The execution as it is read."""
        return {
            "id": self.id,
            "deploymentId": self.deployment.id,
            "workflowId": self.workflow.name,
            "workflowName": self.workflow.name,
            "displayWorkflowName": self.workflow.name,
            "startDate": self.started,
            **({} if self.ended is None else {"endDate": self.ended}),
            "status": self.status,
            "hasFailedTasks": self.failed_tasks,
        }

    def task_json(self, task: Task) -> JSON:
        """A task as it is read."""
        return {
            "id": task.id,
            "deploymentId": self.deployment.id,
            "executionId": self.id,
            "workflowStepInstanceId": task.instance,
            "operationName": task.step.operation_name,
            "nodeId": task.step.node,
            "instanceId": "0",
            "scheduleDate": task.scheduled,
            "status": task.status,
        }

    def advance(self) -> None:
        """Does what is due by now, and comes back when the next thing is."""
        lag = self._office.lag
        while self._plan and self._plan[0][0] + lag <= time.time():
            moment, _, action = heapq.heappop(self._plan)
            action(moment)
        if self._plan:
            delay = max(self._plan[0][0] + lag - time.time(), TICK)
            self._timer = asyncio.get_running_loop().call_later(delay, self.advance)

    def finish(self) -> None:
        """Does all that is planned at once, with the dates of the plan."""
        while self._plan:
            moment, _, action = heapq.heappop(self._plan)
            action(moment)

    def hurry(self) -> None:
        """Does now what is planned for later."""
        now = time.time()
        plan = enumerate(sorted(self._plan))
        self._plan = [(min(moment, now + rank * 1e-6), number, action) for rank, (moment, number, action) in plan]
        self._reschedule()

    def cancel(self) -> None:
        """Is cancelled, at once in word, and in deed some seconds later."""
        self._plan = [entry for entry in self._plan if entry[2] == self._start]
        self.status = "CANCELLING"
        self._event("PaaSWorkflowMonitorEvent", 0.0, orchestratorId=None, date=0, workflowId=None, subworkflow=None)
        self._begin = time.time()
        for moment, action in ((0.6, self._cancel_tasks), (1.0, self._cancelled)):
            self._add(moment * self._office.cancel_time, action)
        self._reschedule()

    def resume(self) -> None:
        """Goes on with the steps that failed, as if it had been started anew."""
        self._failures += 1
        self.resuming = True
        self._begin = time.time()
        self._outcome = "FAILED" if self._failures < self.workflow.failures else "SUCCEEDED"
        self._add(0.0, self._start)
        for moment, action in self._course([[task.step for task in self.tasks.values() if task.status == "FAILED"]]):
            self._add(moment, action)
        self._reschedule()

    def _reschedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.advance()

    def _add(self, delay: float, action: Action) -> None:
        # A microsecond more for each keeps the raw timestamps of one moment in the order of the plan.
        number = next(self._number)
        heapq.heappush(self._plan, (self._begin + delay + number * 1e-6, number, action))

    def _steps(self) -> list[list[Step]]:
        """The steps in rows: those of a row run at the same time, after the row before."""
        rows: list[list[Step]] = []
        done: set[str] = set()
        silent = {step.name: step.after for step in self.workflow.steps if step.state is not None}
        waiting = [step for step in self.workflow.steps if step.state is None and not step.after_failure]
        while waiting:
            row = [step for step in waiting if done.issuperset(_heard_of(step.after, silent))]
            rows.append(row)
            done.update(step.name for step in row)
            waiting = [step for step in waiting if step not in row]
        return rows

    def _course(self, rows: list[list[Step]]) -> Iterator[tuple[float, Action]]:
        workflow = self.workflow
        begin = workflow.duration / 4
        slot = (workflow.duration - begin) / max(len(rows), 1)
        if workflow.frame:
            inputs = f"Start processing workflow {workflow.name} with inputs {json.dumps(self.inputs)}"
            yield begin, partial(self._log, "INFO", inputs, None)
        for index, row in enumerate(rows):
            for step in row:
                fails = self._outcome == "FAILED" and step is rows[-1][-1]
                yield begin + index * slot, partial(self._start_step, step)
                yield begin + (index + 1) * slot, partial(self._end_step, step, "FAILED" if fails else "SUCCEEDED")
        for index in range(int(workflow.duration * workflow.log_rate)):
            yield index / workflow.log_rate, partial(self._line, index)
        yield workflow.duration, self._end

    def _start(self, moment: float) -> None:
        self.known, self.resuming, self.ended = True, False, None
        self.status = self.status if self.status == "CANCELLING" else "RUNNING"
        self.started = self._office.world.millis(moment)
        self._event("PaaSWorkflowStartedEvent", moment, workflowName=self.workflow.name)
        if self.workflow.frame:
            self._log("INFO", f'Status for workflow "{self.workflow.name}" changed to "initial"', None, moment)

    def _start_step(self, step: Step, moment: float) -> None:
        scheduled = self._office.world.millis(moment)
        task = self.tasks[step.name] = Task(str(uuid.uuid4()), step, str(uuid.uuid4()), scheduled)
        self._step_event("WorkflowStepStartedEvent", step, moment)
        self._task_event("TaskSentEvent", task, moment)
        self._task_event("TaskStartedEvent", task, moment)
        if self.workflow.frame:
            self._log("DEBUG", f"executing operation {step.operation_name}", task, moment)

    def _end_step(self, step: Step, status: str, moment: float) -> None:
        task = self.tasks[step.name]
        task.status = status
        failed = status == "FAILED"
        if failed:
            self._log("ERROR", f"operation {step.operation_name} failed: exit status 1", task, moment)
            self._task_event("TaskFailedEvent", task, moment, errorCauses=None)
        else:
            if self.workflow.frame:
                self._log("INFO", f"operation {step.operation_name} stdout: hello from {step.node}", task, moment)
            self._task_event("TaskSucceededEvent", task, moment)
        self._step_event("WorkflowStepCompletedEvent", step, moment)

    def _end(self, moment: float) -> None:
        if self._outcome == "SUCCEEDED":
            for values in self.deployment.attributes.values():
                values.update(dict.fromkeys(values, f"result-of-{self.workflow.name}"))
            if self.workflow.frame:
                self._log("INFO", f"workflow {self.workflow.name} ended without error", None, moment)
        self._close(self._outcome, f"PaaSWorkflow{self._outcome.capitalize()}Event", moment)

    def _cancel_tasks(self, moment: float) -> None:
        for task in self.tasks.values():
            if task.status == "STARTED":
                failed = self.workflow.cancelled_as == "FAILED"
                task.status = self.workflow.cancelled_as
                kind, members = ("TaskFailedEvent", {"errorCauses": None}) if failed else ("TaskCancelledEvent", {})
                self._task_event(kind, task, moment, **members)
                self._step_event("WorkflowStepCompletedEvent", task.step, moment)

    def _cancelled(self, moment: float) -> None:
        if self.workflow.frame:
            self._log("WARN", f"workflow {self.workflow.name} cancelled", None, moment)
        self._close("CANCELLED", "PaaSWorkflowCancelledEvent", moment)

    def _close(self, status: str, event: str, moment: float) -> None:
        self.status = status
        self.ended = self._office.world.millis(moment)
        self._event(event, moment)

    def _line(self, index: int, moment: float) -> None:
        workflow = self.workflow
        level = workflow.levels[index % len(workflow.levels)]
        task = next(reversed(self.tasks.values()), None) if workflow.frame else None
        self._log(level, workflow.line.format(index=index, workflow=workflow.name), task, moment)

    def _log(self, level: str, content: str, task: Task | None, moment: float) -> None:
        raw = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        line: JSON = {
            "id": None,
            "deploymentId": self.deployment.id,
            "deploymentPaaSId": self.deployment.paas_id,
            "level": level,
            "type": "log",
            "timestamp": self._office.world.millis(moment),
            "rawtimestamp": f"{raw}Z",
            "workflowId": self.workflow.name,
            "executionId": self.id,
        }
        if task is not None:
            line["taskId"] = task.id
            line["nodeId"] = task.step.node
            line["instanceId"] = "0"
            line["interfaceName"] = task.step.interface
            line["operationName"] = task.step.operation_name
        line["content"] = content
        self._office.logs.append(line)

    def _event(self, kind: str, moment: float, **members: JSON) -> None:
        event = {
            "eventType": kind,
            "deploymentId": self.deployment.id,
            "orchestratorId": ORCHESTRATOR,
            "date": self._office.world.millis(moment),
            "workflowId": self.workflow.name,
            "executionId": self.id,
            **members,
        }
        self._office.publish(f"/topic/deployment-events/{self.deployment.id}/paasworkflowmonitorevent", event)

    def _step_event(self, kind: str, step: Step, moment: float) -> None:
        node = {"nodeId": step.node, "instanceId": "0", "stepId": step.name, "operationName": step.operation_name}
        self._event(kind, moment, **node, targetNodeId=None, targetInstanceId=None)

    def _task_event(self, kind: str, task: Task, moment: float, **members: JSON) -> None:
        node = {"taskId": task.id, "nodeId": task.step.node, "instanceId": "0"}
        target = {"targetNodeId": None, "targetInstanceId": None}
        operation = {"operationName": task.step.operation_name, "workflowStepId": task.step.name}
        self._event(kind, moment, **node, **target, **operation, **members)


def _heard_of(names: tuple[str, ...], silent: dict[str, tuple[str, ...]]) -> set[str]:
    """These steps, with those before them in place of those that only set a state."""
    found: set[str] = set()
    for name in names:
        found |= _heard_of(silent[name], silent) if name in silent else {name}
    return found


class Executions:
    """All executions and their log. Survives a restart of Alien4Cloud.

    Args:
        lag: seconds from something happening at the orchestrator to Alien4Cloud knowing of it.
        cancel_time: seconds that the orchestrator takes to cancel an execution.
    """

    def __init__(self, world: World, publish: Publish, lag: float, cancel_time: float) -> None:
        self.world = world
        self.publish = publish
        self.lag = lag
        self.cancel_time = cancel_time
        self.logs = Logs()
        self.all: dict[str, Execution] = {}

    def launch(self, deployment: Deployment, workflow: Workflow, inputs: JSON) -> Execution:
        """Starts an execution at the orchestrator."""
        execution = Execution(deployment, workflow, inputs, self)
        self.all[execution.id] = execution
        deployment.last_inputs[workflow.name] = inputs
        execution.advance()
        return execution

    def remember(self, deployment: Deployment, workflow: Workflow, ago: float) -> Execution:
        """Puts an execution on record that began some seconds ago and has ended since."""
        execution = Execution(deployment, workflow, {}, self, ago)
        self.all[execution.id] = execution
        execution.finish()
        return execution

    def known(self) -> list[Execution]:
        """What Alien4Cloud has a record of, newest first."""
        newest = reversed(self.all.values())
        return sorted((one for one in newest if one.known), key=lambda one: one.started, reverse=True)

    def find(self, execution_id: str) -> Execution | None:
        """An execution that Alien4Cloud has a record of."""
        execution = self.all.get(execution_id)
        return execution if execution is not None and execution.known else None
