"""A simulated Alien4Cloud 3.8 on a real port, as a thread of a test or as a process of its own.

`python tests/simulators/alien4cloud.py --port 0 --applications 500 --delay 0.02` prints its address and serves until
it is ended. `Simulator` runs it in a thread, `SimulatorProcess` in a process; both are controlled alike.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path

import uvloop

if __name__ == "__main__":  # a script finds its own folder only
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.simulators.alien4cloud_controls import Alien4CloudControls
from tests.simulators.alien4cloud_server import Alien4Cloud
from tests.simulators.alien4cloud_state import Workflow, World
from tests.simulators.alien4cloud_worlds import many, original, recorded
from tests.simulators.controls import InProcess, InThread


class Simulator(InThread, Alien4CloudControls):
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
        inner = Alien4Cloud(world, port=port, delay=delay, session_life=session_life, lag=lag, cancel_time=cancel_time)
        super().__init__(inner)
        self.executions = inner.executions

    def hurry(self, reference: str) -> None:
        """Lets an execution do now what it would do later, its end included."""
        self._loop.call_soon_threadsafe(self.executions.all[reference.rpartition("@")[2]].hurry)


class SimulatorProcess(InProcess, Alien4CloudControls):
    """The simulator in a process of its own, for benchmarks.

    Args:
        arguments: of the command line.
    """

    def __init__(self, *arguments: str) -> None:
        super().__init__(__file__, *arguments)


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
