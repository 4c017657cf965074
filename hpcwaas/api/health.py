"""`/health`."""

from __future__ import annotations

from flask import Response

from hpcwaas.api import views
from hpcwaas.core.health import Health


class HealthHandlers:
    """Handlers of the probes."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def live(self) -> Response:
        """Answers."""
        return views.answer({"status": "ok"})

    def ready(self) -> Response:
        """Shows the state of everything that the service depends on."""
        status, checks = self._health.checks()
        failed = status == "failed"
        return views.answer(
            {"status": status, "checks": [views.check(check) for check in checks]},
            503 if failed else 200,
            {"Cache-Control": "no-store", **({"Retry-After": "5"} if failed else {})},
        )
