"""The whole simulated Alien4Cloud for one event loop, and the commands that it takes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, TypeAlias

import uvicorn

from tests.ports import free_port
from tests.simulators.alien4cloud_executions import Executions
from tests.simulators.alien4cloud_faults import Fault
from tests.simulators.alien4cloud_http import Application, reset
from tests.simulators.alien4cloud_routes import Routes
from tests.simulators.alien4cloud_state import Sessions, World
from tests.simulators.alien4cloud_stomp import Broker

JSON: TypeAlias = Any


class Alien4Cloud:
    """The whole simulation, for one event loop. `do_<name>` carries out the command `<name>` of `Controls`."""

    def __init__(
        self, world: World, *, port: int, delay: float, session_life: float, lag: float, cancel_time: float
    ) -> None:
        self.world = world
        self.sessions = Sessions(session_life)
        self.broker = Broker()
        self.executions = Executions(world, self.broker.publish, lag, cancel_time)
        self.routes = Routes(world, self.executions)
        self.application = Application(
            world, self.routes, self.broker, self.sessions, delay, self.command, self._transport
        )
        self._socket = _listen(port or free_port())  # it may go down and up again
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.application,
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                http="httptools",
                ws="websockets-sansio",
                ws_ping_interval=None,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=1,
            )
        )

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serves until it is cancelled.

        Args:
            ready: called when it accepts connections.
        """
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))
        try:
            while not self._server.started:
                await asyncio.sleep(0.005)
            ready()
            await serving
        finally:
            await self.do_down()

    async def command(self, name: str, arguments: JSON) -> JSON:
        """Carries out a command by name."""
        return await getattr(self, f"do_{name}")(**arguments)

    async def do_fault(self, **fault: JSON) -> None:
        self.application.faults.append(Fault(**fault))

    async def do_heal(self) -> None:
        self.application.faults.clear()
        self.broker.loss = 0.0
        self.routes.orchestrator_down = False

    async def do_lose_events(self, probability: float) -> None:
        self.broker.loss = probability

    async def do_orchestrator_down(self) -> None:
        self.routes.orchestrator_down = True

    async def do_delay(self, seconds: float) -> None:
        self.application.delay = seconds

    async def do_down(self) -> None:
        for server in self._server.servers:
            server.close()
        self._drop_connections()

    async def do_up(self) -> None:
        await self._server.startup(sockets=[_listen(self.port)])

    async def do_restart(self, down: float) -> None:
        self.sessions.clear()
        await self.do_down()
        await asyncio.sleep(down)
        await self.do_up()

    async def do_expire_sessions(self) -> None:
        self.sessions.clear()

    async def do_disconnect(self) -> None:
        self._drop_connections()

    async def do_delete_application(self, application_id: str) -> None:
        self.world.remove(application_id)

    async def do_undeploy(self, environment_id: str) -> None:
        self.world.undeploy(environment_id)

    async def do_calls(self) -> JSON:
        return [[call.method, call.path, call.at, call.body.decode("latin-1")] for call in self.application.calls]

    async def do_call_count(self) -> int:
        return len(self.application.calls)

    async def do_forget_calls(self) -> None:
        self.application.calls.clear()

    async def do_subscriptions(self) -> int:
        return self.broker.subscriptions

    async def do_launch(self, environment_id: str, workflow: str) -> str:
        deployment = self.world.active[environment_id]
        return self.executions.launch(deployment, deployment.application.require(workflow), {}).id

    async def do_remember(self, environment_id: str, workflow: str, ago: float) -> str:
        deployment = self.world.active[environment_id]
        return self.executions.remember(deployment, deployment.application.require(workflow), ago).id

    def _transport(self, client: Any) -> Any:
        connections: Any = self._server.server_state.connections
        return next(one.transport for one in connections if one.client == tuple(client))

    def _drop_connections(self) -> None:
        connections: Any = self._server.server_state.connections
        for connection in list(connections):
            if connection.client != self.application.controlled_by:
                reset(connection.transport)


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(2048)
    return listener
