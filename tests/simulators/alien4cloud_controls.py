"""What a test or a benchmark does to a running simulated Alien4Cloud, wherever it runs."""

from __future__ import annotations

import abc
from dataclasses import asdict
from typing import Any, TypeAlias

from tests.simulators.alien4cloud_faults import Fault
from tests.simulators.alien4cloud_http import Call

JSON: TypeAlias = Any


class Controls(abc.ABC):
    """What a test does to a running simulator.

    Attributes:
        url: where it serves.
    """

    url: str

    @abc.abstractmethod
    def _command(self, name: str, **arguments: JSON) -> Any:
        """Carries out a command of `Alien4Cloud`."""

    def fault(self, fault: Fault) -> None:
        """Adds a rule by which requests go wrong; of several that match the first one counts."""
        settings = asdict(fault)
        del settings["matched"], settings["hits"]
        self._command("fault", **settings)

    def heal(self) -> None:
        """Ends all faults."""
        self._command("heal")

    def lose_events(self, probability: float = 1.0) -> None:
        """Loses events on their way to subscribers."""
        self._command("lose_events", probability=probability)

    def orchestrator_down(self) -> None:
        """Lets launches and cancellations fail because the orchestrator doesn't answer."""
        self._command("orchestrator_down")

    def delay(self, seconds: float) -> None:
        """Lets every call take at least so long."""
        self._command("delay", seconds=seconds)

    def restart(self, down: float = 0.0) -> None:
        """Restarts Alien4Cloud: sessions and connections are lost, executions and logs aren't, what runs goes on.

        Args:
            down: seconds during which connections are refused.
        """
        self._command("restart", down=down)

    def expire_sessions(self) -> None:
        """Ends all sessions."""
        self._command("expire_sessions")

    def disconnect(self) -> None:
        """Resets all connections, those of subscribers too."""
        self._command("disconnect")

    def delete_application(self, application_id: str) -> None:
        """Deletes an application."""
        self._command("delete_application", application_id=application_id)

    def undeploy(self, environment_id: str) -> None:
        """Ends the deployment of an environment."""
        self._command("undeploy", environment_id=environment_id)

    def calls(self) -> list[Call]:
        """The calls so far, those of the control itself left out; a WebSocket's has the method `WEBSOCKET`."""
        return [Call(method, path, at, body.encode("latin-1")) for method, path, at, body in self._command("calls")]

    def call_count(self) -> int:
        """How many calls there have been."""
        return int(self._command("call_count"))

    def forget_calls(self) -> None:
        """Starts counting anew."""
        self._command("forget_calls")

    def subscriptions(self) -> int:
        """How many STOMP subscriptions there are."""
        return int(self._command("subscriptions"))

    def launch(self, environment_id: str, workflow: str) -> str:
        """Starts an execution from elsewhere and returns its id."""
        return str(self._command("launch", environment_id=environment_id, workflow=workflow))

    def remember(self, environment_id: str, workflow: str, ago: float = 3600.0) -> str:
        """Puts an ended execution on record, with its whole log, and returns its id."""
        return str(self._command("remember", environment_id=environment_id, workflow=workflow, ago=ago))
