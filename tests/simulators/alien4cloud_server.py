"""The whole simulated Alien4Cloud for one event loop, and the commands that it takes."""

from __future__ import annotations

from typing import Any, TypeAlias

from tests.simulators.alien4cloud_executions import Executions
from tests.simulators.alien4cloud_http import Alien4CloudApplication
from tests.simulators.alien4cloud_routes import Routes
from tests.simulators.alien4cloud_state import Sessions, World
from tests.simulators.alien4cloud_stomp import Broker
from tests.simulators.serving import Serving

JSON: TypeAlias = Any


class Alien4Cloud(Serving):
    """The whole simulation, for one event loop."""

    def __init__(
        self, world: World, *, port: int, delay: float, session_life: float, lag: float, cancel_time: float
    ) -> None:
        self.world = world
        self.sessions = Sessions(session_life)
        self.broker = Broker()
        self.executions = Executions(world, self.broker.publish, lag, cancel_time)
        self.routes = Routes(world, self.executions)
        super().__init__(Alien4CloudApplication(world, self.routes, self.broker, self.sessions, delay), port)

    async def do_heal(self) -> None:
        await super().do_heal()
        self.broker.loss = 0.0
        self.routes.orchestrator_down = False

    async def do_lose_events(self, probability: float) -> None:
        self.broker.loss = probability

    async def do_orchestrator_down(self) -> None:
        self.routes.orchestrator_down = True

    async def do_restart(self, down: float) -> None:
        self.sessions.clear()
        await super().do_restart(down)

    async def do_expire_sessions(self) -> None:
        self.sessions.clear()

    async def do_delete_application(self, application_id: str) -> None:
        self.world.remove(application_id)

    async def do_undeploy(self, environment_id: str) -> None:
        self.world.undeploy(environment_id)

    async def do_subscriptions(self) -> int:
        return self.broker.subscriptions

    async def do_launch(self, environment_id: str, workflow: str) -> str:
        deployment = self.world.active[environment_id]
        return self.executions.launch(deployment, deployment.application.require(workflow), {}).id

    async def do_remember(self, environment_id: str, workflow: str, ago: float) -> str:
        deployment = self.world.active[environment_id]
        return self.executions.remember(deployment, deployment.application.require(workflow), ago).id
