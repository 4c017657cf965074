"""A simulated Alien4Cloud 3.8 on a real port, as a thread of a test or as a process of its own.

`python tests/simulators/alien4cloud.py --port 0 --applications 500 --delay 0.02` prints its address and serves until
it is ended. `Simulator` runs it in a thread, `SimulatorProcess` in a process; both are controlled alike (`Controls`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Coroutine
from json import dumps, loads
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

import uvloop

if __name__ == "__main__":  # a script finds its own folder only
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.simulators.alien4cloud_controls import Controls
from tests.simulators.alien4cloud_server import Alien4Cloud
from tests.simulators.alien4cloud_state import Workflow, World
from tests.simulators.alien4cloud_worlds import many, original, recorded

JSON: TypeAlias = Any
T = TypeVar("T")


class Simulator(Controls):
    """The simulator in a thread: `with Simulator(original()) as alien4cloud: … alien4cloud.url`.

    Args:
        port: 0 for any that is free.
        delay: seconds that every call takes at least.
        session_life: idle seconds after which a session is over.
        lag: seconds from something happening at the orchestrator to Alien4Cloud knowing of it.
        cancel_time: seconds that the orchestrator takes to cancel an execution.

    Attributes:
        world: what it holds; to be read, or changed before it is asked.
        executions: all of them, to be read.
    """

    def __init__(
        self,
        world: World,
        *,
        port: int = 0,
        delay: float = 0.0,
        session_life: float = 1800.0,
        lag: float = 0.4,
        cancel_time: float = 2.0,
    ) -> None:
        self.world = world
        self._inner = Alien4Cloud(
            world, port=port, delay=delay, session_life=session_life, lag=lag, cancel_time=cancel_time
        )
        self.executions = self._inner.executions
        self.url = f"http://127.0.0.1:{self._inner.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="alien4cloud simulator", daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(60):
            raise TimeoutError("the simulator doesn't start")
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._serving.cancel)
        self._thread.join(60)

    def down(self) -> None:
        """Refuses connections until `up`."""
        self._command("down")

    def up(self) -> None:
        """Serves again after `down`."""
        self._command("up")

    def hurry(self, reference: str) -> None:
        """Lets an execution do now what it would do later, its end included."""
        self._loop.call_soon_threadsafe(self.executions.all[reference.rpartition("@")[2]].hurry)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner, contextlib.suppress(asyncio.CancelledError):
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._serving = asyncio.ensure_future(self._inner.serve(self._ready.set))
        await self._serving

    def _command(self, name: str, **arguments: JSON) -> Any:
        return self._call(self._inner.command(name, arguments))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


class SimulatorProcess(Controls):
    """The simulator in a process of its own, for benchmarks.

    Args:
        arguments: of the command line.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments

    def __enter__(self) -> Self:
        command = [sys.executable, __file__, *self._arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)

    def _command(self, name: str, **arguments: JSON) -> Any:
        request = urllib.request.Request(f"{self.url}/simulator/{name}", dumps(arguments).encode())  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own process
            return loads(answer.read())


def main() -> None:
    """Serves until it is interrupted or terminated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=8088)
    parser.add_argument("--world", choices=("many", "original", "recorded"), default="many")
    parser.add_argument("--applications", type=int, default=50, help="how many, in the world `many`")
    parser.add_argument("--duration", type=float, default=4.0, help="seconds of an execution, in the world `many`")
    parser.add_argument("--log-rate", type=float, default=0.0, help="lines a second, in the world `many`")
    parser.add_argument("--outcome", choices=("SUCCEEDED", "FAILED"), default="SUCCEEDED", help="in the world `many`")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that every call takes at least")
    parser.add_argument("--lag", type=float, default=0.4, help="seconds until Alien4Cloud knows what happened")
    parser.add_argument("--session-life", type=float, default=1800.0, help="idle seconds of a session")
    options = parser.parse_args()
    workflow = Workflow(name="exec_job", duration=options.duration, log_rate=options.log_rate, outcome=options.outcome)
    worlds = {"original": original, "recorded": recorded, "many": lambda: many(options.applications, workflow)}
    simulation = Alien4Cloud(
        worlds[options.world](),
        port=options.port,
        delay=options.delay,
        session_life=options.session_life,
        lag=options.lag,
        cancel_time=2.0,
    )
    address = f"http://127.0.0.1:{simulation.port}"
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(simulation.serve(lambda: print(address, flush=True)))  # noqa: T201 - what callers wait for


if __name__ == "__main__":
    main()
