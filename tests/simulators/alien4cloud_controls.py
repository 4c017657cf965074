"""What a test or a benchmark does to a running simulated Alien4Cloud besides what it does to any."""

from __future__ import annotations

from tests.simulators.controls import Controls


class Alien4CloudControls(Controls):
    """What a test does to a running simulator."""

    def lose_events(self, probability: float = 1.0) -> None:
        """Loses events on their way to subscribers."""
        self._command("lose_events", probability=probability)

    def orchestrator_down(self) -> None:
        """Lets launches and cancellations fail because the orchestrator doesn't answer."""
        self._command("orchestrator_down")

    def expire_sessions(self) -> None:
        """Ends all sessions."""
        self._command("expire_sessions")

    def delete_application(self, application_id: str) -> None:
        """Deletes an application."""
        self._command("delete_application", application_id=application_id)

    def undeploy(self, environment_id: str) -> None:
        """Ends the deployment of an environment."""
        self._command("undeploy", environment_id=environment_id)

    def subscriptions(self) -> int:
        """How many STOMP subscriptions there are."""
        return int(self._command("subscriptions"))

    def launch(self, environment_id: str, workflow: str) -> str:
        """Starts an execution from elsewhere and returns its id."""
        return str(self._command("launch", environment_id=environment_id, workflow=workflow))

    def remember(self, environment_id: str, workflow: str, ago: float = 3600.0) -> str:
        """Puts an ended execution on record, with its whole log, and returns its id."""
        return str(self._command("remember", environment_id=environment_id, workflow=workflow, ago=ago))
