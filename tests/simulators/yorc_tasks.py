"""The simulated Yorc's tasks: it runs workflows, logs what happens, and is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import uuid4

from tests.simulators.yorc_state import Deployment, Inputs, Script, Step, Workflow
from tests.simulators.yorc_store import Store

JSON: TypeAlias = Any

ALIVE = ("INITIAL", "RUNNING")
TRACE = (
    "\n\tgithub.com/ystia/yorc/v4/tasks/workflow.(*worker).runWorkflowStep"
    "\n\t\t/opt/yorc/src/tasks/workflow/worker.go:768"
)


class StepFailed(Exception):
    """A step has failed; the text says why."""


@dataclass
class Task:
    """A task.

    Attributes:
        steps: statuses by name.
        goes_on: whether a Slurm job of it was left behind.
    """

    deployment: Deployment
    type: str
    workflow: Workflow
    inputs: Inputs = field(default_factory=dict)
    continue_on_error: bool = False
    id: str = field(default_factory=lambda: str(uuid4()))
    status: str = "INITIAL"
    error_message: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    goes_on: bool = False

    def __post_init__(self) -> None:
        self.steps = dict.fromkeys(self.workflow.steps, "INITIAL")
        self.hurried = asyncio.Event()
        self.cancelling = asyncio.Event()
        self.failed_step = ""

    def json(self) -> JSON:
        """As Yorc writes it; Go leaves out what is empty."""
        document: JSON = {"id": self.id, "target_id": self.deployment.id, "type": self.type, "status": self.status}
        if self.error_message:
            document["error_message"] = self.error_message
        return document | ({"outputs": dict(self.outputs)} if self.outputs else {})


class Tasks:
    """All tasks.

    Args:
        lag: seconds from a request to the beginning of its task.
        cancel_time: seconds from a request to cancel to the end of the task.

    Attributes:
        held: a status in which all that come to it stay.
    """

    def __init__(self, store: Store, lag: float, cancel_time: float) -> None:
        self.all: dict[str, Task] = {}
        self.held: str | None = None
        self._store = store
        self._lag = lag
        self._cancel_time = cancel_time
        self._running: set[asyncio.Task[None]] = set()

    def of(self, deployment: Deployment) -> list[Task]:
        """A deployment's tasks, in the order of their ids."""
        return sorted((one for one in self.all.values() if one.deployment is deployment), key=lambda one: one.id)

    def alive(self, deployment: Deployment, *types: str) -> Task | None:
        """A task of a deployment that hasn't ended, of one of these types if there are any."""
        for task in self.of(deployment):
            if task.status in ALIVE and (not types or task.type in types):
                return task
        return None

    def run(self, task: Task, finish: Callable[[], None] = lambda: None) -> Task:
        """Begins with a task.

        Args:
            finish: called when it is DONE.
        """
        self.all[task.id] = task
        self._say(task, "initial")
        self._spawn(self._run(task, finish))
        return task

    def ended(self, task: Task) -> Task:
        """Puts a task on record that ended long ago, without a word about it."""
        task.status = "DONE"
        task.steps = dict.fromkeys(task.steps, "DONE")
        self.all[task.id] = task
        return task

    def resume(self, task: Task) -> None:
        """Runs what has failed once more."""
        task.status, task.error_message = "INITIAL", None
        task.steps = {name: "DONE" if status == "DONE" else "INITIAL" for name, status in task.steps.items()}
        task.cancelling.clear()
        self._store.event(
            task.deployment.id, "Workflow", "initial", alienExecutionId=task.id, workflowId=task.workflow.name
        )
        self._spawn(self._run(task, lambda: None))

    def _spawn(self, work: Any) -> None:
        spawned = asyncio.get_running_loop().create_task(work)
        self._running.add(spawned)
        spawned.add_done_callback(self._running.discard)

    async def _run(self, task: Task, finish: Callable[[], None]) -> None:
        await asyncio.sleep(self._lag)
        await self._pass(task)
        if task.cancelling.is_set():
            self._finish(task, "CANCELED")
            return
        task.status = "RUNNING"
        self._say(task, "running")
        await self._pass(task)
        targets = {name for step in task.workflow.steps.values() for name in _after(step)}
        try:
            for name in sorted(task.workflow.steps.keys() - targets):
                await self._step(task, name)
        except StepFailed as error:
            if not task.cancelling.is_set():
                self._failed(task, str(error))
                self._finish(task, "FAILED")
                return
            self._failed(task, str(error))
        if task.cancelling.is_set():
            self._finish(task, "CANCELED")
            return
        self._log(task, "INFO", f'Workflow "{task.workflow.name}" ended successfully')
        task.outputs = self._resolved(task)
        task.status = "DONE"
        self._say(task, "done")
        finish()

    async def _pass(self, task: Task) -> None:
        while self.held == task.status and not task.cancelling.is_set():
            await asyncio.sleep(0.01)

    def _finish(self, task: Task, status: str) -> None:
        how = "ended in error" if status == "FAILED" else "canceled"
        self._log(task, "INFO", f'Workflow "{task.workflow.name}" {how}')
        task.outputs = self._resolved(task) if status == "FAILED" else {}
        task.status = status
        self._say(task, status.lower())

    def _failed(self, task: Task, why: str) -> None:
        name, step = task.workflow.name, task.failed_step
        task.error_message = f'Workflow "{name}" step "{step}" failed.'
        self._log(task, "ERROR", f"The workflow {name} step {step} ended on error: {why}")
        if not task.cancelling.is_set():
            about = {"alienTaskId": str(uuid4()), "nodeId": task.workflow.steps[step].target}
            self._log(task, "DEBUG", f'Step "{step}" finished before the end of the graceful period.', **about)
        self._log(task, "DEBUG", f"{why}\nThe workflow {name} step {step} ended on error{TRACE}")

    def _resolved(self, task: Task) -> Mapping[str, str]:
        """The outputs: attributes of nodes, whichever run has set them. The same holds when this one has failed."""
        found = {name: task.deployment.attributes.get(key, "") for name, key in task.workflow.outputs.items()}
        return {name: value for name, value in sorted(found.items()) if value}

    async def _step(self, task: Task, name: str) -> None:
        step = task.workflow.steps[name]
        if task.cancelling.is_set():
            return
        if task.steps[name] != "DONE":
            before = [other for other, one in task.workflow.steps.items() if name in one.on_success]
            if any(task.steps[other] != "DONE" for other in before):
                return  # it is begun by the last of those before it
            self._log(task, "INFO", f"Start processing workflow step {task.workflow.name}:{name}")
            try:
                await self._activity(task, name, step)
            except StepFailed as error:
                self._on_error(task, name, step, str(error))
                if not task.continue_on_error:
                    raise
            if task.steps[name] == "CANCELED":
                for after in step.on_cancel:
                    await self._on_cancel(task, after)
                return
            self._set(task, name, "DONE")
            ended = f'DeploymentID: "{task.deployment.id}", Workflow: "{task.workflow.name}", step: "{name}"'
            self._log(task, "INFO", f"{ended} ended successfully")
        for after in step.on_success:
            await self._step(task, after)

    async def _on_cancel(self, task: Task, name: str) -> None:
        self._log(task, "INFO", f"Start processing workflow step {task.workflow.name}:{name}")
        self._set(task, name, "RUNNING")
        task.goes_on = False
        self._set(task, name, "DONE")

    async def _activity(self, task: Task, name: str, step: Step) -> None:
        if step.operation is None:
            self._set(task, name, "RUNNING")
            self._state(task, step.target, str(step.state), f"{uuid4()}-0")
            return
        script = task.deployment.operations[step.operation]
        problem = _problem(task, script)
        if task.deployment.status == "UNDEPLOYED":
            problem = f'no instance of node "{step.target}"'
        if problem:
            task.failed_step = name
            self._set(task, name, "ERROR")
            raise StepFailed(problem)
        await self._operation(task, name, step, script)

    async def _operation(self, task: Task, name: str, step: Step, script: Script) -> None:
        assert step.operation is not None
        interface, _, operation = step.operation.rpartition(".")
        instance = str(uuid4())
        about = {"interfaceName": interface, "nodeId": step.target, "operationName": operation}
        whole = about | {"alienTaskId": instance}
        one = about | {"alienTaskId": f"{instance}-0", "instanceId": "0"}

        def say(status: str) -> None:
            self._operation_status(task, name, step, instance, status)

        say("INITIAL")
        say("RUNNING")
        self._set(task, name, "RUNNING")
        if not script.job:
            about_it = f"Start the ansible execution of: {step.target} with operation : {step.operation}"
            self._log(task, "INFO", about_it, **one)
            recipe = f'Ansible recipe for node "{step.target}": executing "{script.file}" on remote host(s)'
            self._log(task, "DEBUG", recipe, **whole)
        await self._work(task, step, script, one)
        if task.cancelling.is_set():
            await asyncio.sleep(self._cancel_time)
            if script.job:
                task.goes_on = True
                self._set(task, name, "CANCELED")
                say("CANCELED")
                return
            self._broken(task, name, step, one)
            say("ERROR")
            raise StepFailed("signal: killed")
        level = "ERROR" if script.fails else "INFO"
        host = f'Node "{step.target}", host "{step.target}_0"'
        if script.complains:
            self._log(task, "ERROR", f"{host}, stderr:\n{script.complains}", **one)
        if printed := script.output(task.inputs):
            self._log(task, level, f"{host}, stdout:\n{printed}", **one)
        if script.fails:
            self._log(task, "ERROR", f"{host}, msg:\nnon-zero return code", **one)
            self._broken(task, name, step, one)
            say("ERROR")
            raise StepFailed("exit status 2")
        for attribute, value in script.sets(task.inputs).items():
            self._attribute(task, step.target, attribute, value)
        say("DONE")

    def _broken(self, task: Task, name: str, step: Step, about: Mapping[str, str]) -> None:
        if not task.deployment.operations[str(step.operation)].job:
            what = f'Ansible execution for operation "{step.operation}" on node "{step.target}" failed'
            self._log(task, "ERROR", what, **about)
        task.failed_step = name
        self._set(task, name, "ERROR")

    async def _work(self, task: Task, step: Step, script: Script, about: Mapping[str, str]) -> None:
        """Waits until the script has ended, or was hurried or cancelled."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        ends = began + script.duration(task.inputs)
        written = 0
        pause = 1 / script.rate if script.rate else 3600.0
        while not task.hurried.is_set() and not task.cancelling.is_set() and (now := loop.time()) < ends:
            wake = min(ends, began + (written + 1) * pause)
            waiting = [asyncio.ensure_future(one.wait()) for one in (task.hurried, task.cancelling)]
            await asyncio.wait(waiting, timeout=max(wake - now, 0), return_when=asyncio.FIRST_COMPLETED)
            for one in waiting:
                one.cancel()
            if script.rate and loop.time() >= began + (written + 1) * pause and loop.time() < ends:
                written += 1
                self._log(task, "INFO", f"StdOut slurm-17.out:\nline {written}", **about)

    def _on_error(self, task: Task, name: str, step: Step, why: str) -> None:
        about = {"alienTaskId": str(uuid4()), "nodeId": step.target}
        self._state(task, step.target, "error", f"{uuid4()}-0")
        self._log(task, "DEBUG", f'TaskStep "{name}": error details: {why}', **about)
        if task.continue_on_error:
            bypassed = f'TaskStep "{name}": Bypassing error: {why} but workflow continue'
            self._log(task, "WARN", bypassed, **about)
        elif not task.cancelling.is_set():
            other = f'An error occurred on another step while step "{name}" is running: trying to gracefully finish it.'
            self._log(task, "DEBUG", other, **about)

    # What is written

    def _set(self, task: Task, name: str, status: str) -> None:
        task.steps[name] = status
        self._store.written()

    def _say(self, task: Task, status: str) -> None:
        """Tells the status of a task."""
        name = task.workflow.name
        self._store.event(task.deployment.id, "Workflow", status, alienExecutionId=task.id, workflowId=name)
        self._log(task, "INFO", f'Status for workflow "{name}" changed to "{status}"')
        self._store.written()

    def _log(self, task: Task, level: str, content: str, **more: str) -> None:
        about = {"executionId": task.id, "workflowId": task.workflow.name}
        self._store.log(task.deployment.id, level, content, **about, **more)

    def _operation_status(self, task: Task, name: str, step: Step, instance: str, status: str) -> None:
        assert step.operation is not None
        interface, _, operation = step.operation.rpartition(".")
        about = {"interfaceName": interface, "nodeId": step.target, "operationName": operation}
        event = {
            "alienExecutionId": task.id,
            "instanceId": "0",
            "nodeId": step.target,
            "operationName": step.operation,
            "stepId": name,
            "workflowId": task.workflow.name,
        }
        for kind, identifier, what in (
            ("WorkflowStep", instance, f'workflow step "{name}"'),
            ("AlienTask", f"{instance}-0", f'task execution "{instance}-0"'),
        ):
            self._store.event(task.deployment.id, kind, status.lower(), alienTaskId=identifier, **event)
            content = f'Status for {what} changed to "{status}"'
            self._log(task, "INFO", content, alienTaskId=instance, **about)

    def _state(self, task: Task, node: str, state: str, instance: str) -> None:
        self._state_of(task, node, state, instance)
        self._attribute(task, node, "state", state)

    def _state_of(self, task: Task, node: str, state: str, instance: str) -> None:
        about = {"alienTaskId": instance, "instanceId": "0", "nodeId": node}
        event = about | {"alienTaskId": instance.removesuffix("-0")}
        name = task.workflow.name
        self._store.event(task.deployment.id, "Instance", state, alienExecutionId=task.id, workflowId=name, **event)
        self._log(task, "INFO", f'Status for node "{node}", instance "0" changed to "{state}"', **about)

    def _attribute(self, task: Task, node: str, attribute: str, value: str) -> None:
        """An attribute's entries tell nothing of the task."""
        task.deployment.attributes[node, attribute] = value
        about = {"instanceId": "0", "nodeId": node}
        more = about | {"attribute": attribute, "value": value}
        self._store.event(task.deployment.id, "AttributeValue", "updated", **more)
        content = f'Attribute "{attribute}" value for node "{node}", instance "0" changed to "{value}"'
        self._store.log(task.deployment.id, "INFO", content, **about)


def _after(step: Step) -> tuple[str, ...]:
    return (*step.on_success, *step.on_failure, *step.on_cancel)


def _problem(task: Task, script: Script) -> str | None:
    """Why a script can't be begun with these inputs."""
    for name in sorted(script.reads):
        if name not in task.inputs:  # declared defaults aren't applied
            return f'Data "inputs/{name}" not found for task "{task.id}"'
        if not task.inputs[name]:
            return 'Failed to parse TOSCA function "" : Not a TOSCA function'
    return None
