"""What tests look at where the server behind an engine fails."""

from __future__ import annotations

from typing import Any

import requests

from tests.service import Client
from tests.simulators.controls import Controls

_LEAKS = (
    *("html", "nginx", "Traceback", "127.0.0.1", "urllib3"),
    *("elasticsearch", "\\tat", "JSESSIONID"),  # Alien4Cloud
    *("goroutine", "PANIC", ":8500"),  # Yorc
)


def launches(simulator: Controls) -> int:
    """How often a server was asked to run a workflow."""
    return sum(call.method == "POST" and "/workflows/" in call.path for call in simulator.calls())


def problem(answer: requests.Response, status: int, identifier: str) -> str:
    """Checks an error and that it says nothing from behind the service; gives its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["id"] == identifier
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert [leak for leak in _LEAKS if leak in answer.text] == [], answer.text
    return str(error["detail"])


def executions(user: Client) -> list[dict[str, Any]]:
    """A user's executions."""
    found: list[dict[str, Any]] = user("GET", "/executions").json()["executions"]
    return found
