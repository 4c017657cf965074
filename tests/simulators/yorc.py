"""A simulated Yorc 4.4 on a real port, as a thread of a test or as a process of its own.

`python tests/simulators/yorc.py --port 0 --deployments 500 --delay 0.02` prints its address and serves until it is
ended. `Simulator` runs it in a thread, `SimulatorProcess` in a process; both are controlled alike.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import uvloop

if __name__ == "__main__":  # a script finds its own folder only
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.simulators.controls import Controls, InProcess, InThread
from tests.simulators.serving import Serving
from tests.simulators.yorc_http import YorcApplication
from tests.simulators.yorc_state import Deployment, Script, Workflow
from tests.simulators.yorc_store import Store
from tests.simulators.yorc_tasks import Task, Tasks
from tests.simulators.yorc_worlds import demo, many

JSON: TypeAlias = Any


class YorcControls(Controls):
    """What a test does to a running Yorc besides what it does to any simulator."""

    def no_leader(self) -> None:
        """Lets Yorc's store have no leader until `heal`."""
        self._command("no_leader")

    def rebuild_store(self, *, keep: bool = True) -> None:
        """Makes the store anew: its indexes begin at the bottom again.

        Args:
            keep: with logs and events, as from a backup.
        """
        self._command("rebuild_store", keep=keep)

    def remove(self, deployment: str) -> None:
        """Takes a deployment away, with its tasks and logs, as if undeployed and purged."""
        self._command("remove", deployment=deployment)

    def undeploy(self, deployment: str) -> None:
        """Leaves a deployment UNDEPLOYED."""
        self._command("undeploy", deployment=deployment)

    def purge_task(self, task: str) -> None:
        """Takes a task away, with its log."""
        self._command("purge_task", task=task)

    def hold(self, status: str | None) -> None:
        """Lets tasks stay INITIAL or RUNNING once they are, until there is another word."""
        self._command("hold", status=status)

    def launch(self, deployment: str, workflow: str, **inputs: str) -> str:
        """Runs a workflow as somebody else would, and returns the task's id."""
        return str(self._command("launch", deployment=deployment, workflow=workflow, inputs=inputs))

    def hurry(self, reference: str) -> None:
        """Lets a task do now what it would do later.

        Args:
            reference: the task's id, or an execution's reference.
        """
        self._command("hurry", task=reference.rpartition("@")[2])

    def fail_script(self, deployment: str, operation: str, *, fails: bool = True) -> None:
        """Lets an operation fail from now on, or succeed."""
        self._command("fail_script", deployment=deployment, operation=operation, fails=fails)


class Yorc(Serving):
    """The whole simulation, for one event loop."""

    def __init__(
        self, deployments: Sequence[Deployment], *, port: int, delay: float, lag: float, cancel_time: float
    ) -> None:
        self.store = Store()
        self.tasks = Tasks(self.store, lag, cancel_time)
        self.yorc = YorcApplication(list(deployments), self.store, self.tasks, delay)
        super().__init__(self.yorc, port)
        for deployment in deployments:
            if deployment.status == "DEPLOYED":
                self._installed(deployment)

    async def do_heal(self) -> None:
        self.store.leaderless = False
        self.tasks.held = None
        await super().do_heal()

    async def do_no_leader(self) -> None:
        self.store.leaderless = True

    async def do_rebuild_store(self, *, keep: bool) -> None:
        self.store.rebuild(keep=keep)

    async def do_remove(self, deployment: str) -> None:
        self.yorc.forget(self.yorc.deployments[deployment])

    async def do_undeploy(self, deployment: str) -> None:
        self.yorc.deployments[deployment].status = "UNDEPLOYED"

    async def do_purge_task(self, task: str) -> None:
        del self.tasks.all[task]
        self.store.written()

    async def do_launch(self, deployment: str, workflow: str, inputs: dict[str, str]) -> str:
        found = self.yorc.deployments[deployment]
        return self.tasks.run(Task(found, "CustomWorkflow", found.workflows[workflow], inputs)).id

    async def do_hold(self, status: str | None) -> None:
        self.tasks.held = status

    async def do_hurry(self, task: str) -> None:
        self.tasks.all[task].hurried.set()

    async def do_fail_script(self, deployment: str, operation: str, *, fails: bool) -> None:
        found = self.yorc.deployments[deployment]
        found.operations = {**found.operations, operation: _failing(found.operations[operation], fails)}

    async def do_deploy(self, deployment: Deployment) -> Task:
        self.yorc.deployments[deployment.id] = deployment
        self.store.event(deployment.id, "Deployment", "initial")
        status, deployment.status = deployment.status, "INITIAL"
        if status != "DEPLOYED":
            deployment.status = status
            return Task(deployment, "Deploy", Workflow("install", {}))

        def finish() -> None:
            deployment.status = status

        return self.tasks.run(Task(deployment, "Deploy", deployment.workflows["install"]), finish)

    def _installed(self, deployment: Deployment) -> None:
        if (install := deployment.workflows.get("install")) is not None:
            self.tasks.ended(Task(deployment, "Deploy", install))


def _failing(script: Script, fails: bool) -> Script:
    return replace(script, fails=fails)


class Simulator(InThread, YorcControls):
    """The simulator in a thread: `with Simulator([demo()]) as yorc: … yorc.url`.

    Args:
        port: 0 for any that is free.
        delay: seconds that every call takes at least.
        lag: seconds from a request to the beginning of its task.
        cancel_time: seconds until a task that is cancelled has ended.

    Attributes:
        deployments: by their ids; to be read, or changed before it is asked.
        tasks: all of them by their ids, to be read.
    """

    def __init__(
        self,
        deployments: Sequence[Deployment] | None = None,
        *,
        port: int = 0,
        delay: float = 0.0,
        lag: float = 0.02,
        cancel_time: float = 0.2,
    ) -> None:
        found = [demo()] if deployments is None else deployments
        inner = Yorc(found, port=port, delay=delay, lag=lag, cancel_time=cancel_time)
        super().__init__(inner)
        self.deployments = inner.yorc.deployments
        self.tasks = inner.tasks.all

    def deploy(self, deployment: Deployment) -> Task:
        """Begins to deploy something more; what hasn't the status DEPLOYED is only put into the list."""
        task: Task = self._call(self._inner.do_deploy(deployment))
        return task


class SimulatorProcess(InProcess, YorcControls):
    """The simulator in a process of its own, for benchmarks.

    Args:
        arguments: of the command line.
    """

    def __init__(self, *arguments: str) -> None:
        super().__init__(__file__, *arguments)


def main() -> None:
    """Serves until it is interrupted or terminated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=8800)
    parser.add_argument("--world", choices=("many", "demo"), default="many")
    parser.add_argument("--deployments", type=int, default=50, help="how many, in the world `many`")
    parser.add_argument("--duration", type=float, default=4.0, help="seconds of a script")
    parser.add_argument("--log-rate", type=float, default=0.0, help="lines a second, in the world `many`")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that every call takes at least")
    options = parser.parse_args()
    script = Script(seconds=options.duration, rate=options.log_rate, says="over", job=True)
    worlds = {"many": lambda: many(options.deployments, script), "demo": lambda: [demo(seconds=options.duration)]}
    simulation = Yorc(worlds[options.world](), port=options.port, delay=options.delay, lag=0.02, cancel_time=0.2)
    address = f"http://127.0.0.1:{simulation.port}"
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(simulation.serve(lambda: print(address, flush=True)))  # noqa: T201 - what callers wait for


if __name__ == "__main__":
    main()
