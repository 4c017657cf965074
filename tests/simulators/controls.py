"""What a test or a benchmark does to a running simulated server, wherever it runs."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Coroutine
from dataclasses import asdict
from json import dumps, loads
from typing import Any, Self, TypeAlias, TypeVar

from tests.simulators.faults import Fault
from tests.simulators.serving import Call, Serving

JSON: TypeAlias = Any
T = TypeVar("T")


class Controls(abc.ABC):
    """What a test does to a running simulator.

    Attributes:
        url: where it serves.
    """

    url: str

    @abc.abstractmethod
    def _command(self, name: str, **arguments: JSON) -> Any:
        """Carries out a command of `Serving`."""

    def fault(self, fault: Fault) -> None:
        """Adds a rule by which requests go wrong; of several that match the first one counts."""
        settings = asdict(fault)
        del settings["matched"], settings["hits"]
        self._command("fault", **settings)

    def heal(self) -> None:
        """Ends all faults."""
        self._command("heal")

    def delay(self, seconds: float) -> None:
        """Lets every call take at least so long."""
        self._command("delay", seconds=seconds)

    def restart(self, down: float = 0.0) -> None:
        """Restarts the server: connections and what it has in its memory are lost, what runs goes on.

        Args:
            down: seconds during which connections are refused.
        """
        self._command("restart", down=down)

    def disconnect(self) -> None:
        """Resets all connections, those of subscribers too."""
        self._command("disconnect")

    def calls(self) -> list[Call]:
        """The calls so far, those of the control itself left out; a WebSocket's has the method `WEBSOCKET`."""
        found = self._command("calls")
        return [Call(method, path, at, body.encode("latin-1"), port) for method, path, at, body, port in found]

    def call_count(self) -> int:
        """How many calls there have been."""
        return int(self._command("call_count"))

    def forget_calls(self) -> None:
        """Starts counting anew."""
        self._command("forget_calls")


class InThread(Controls):
    """A simulator in a thread, while its context lasts."""

    def __init__(self, serving: Serving) -> None:
        self._inner: Any = serving
        self.url = f"http://127.0.0.1:{serving.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)
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


class InProcess(Controls):
    """A simulator in a process of its own, for benchmarks.

    Args:
        program: prints its address and serves until it is ended.
        arguments: of its command line.
    """

    def __init__(self, program: str, *arguments: str) -> None:
        self._program = program
        self._arguments = arguments

    def __enter__(self) -> Self:
        command = [sys.executable, self._program, *self._arguments]
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
