"""What tests need to talk to the simulated Alien4Cloud themselves."""

from __future__ import annotations

import time
from collections.abc import Callable

import requests


def login(url: str, user: str = "admin") -> str:
    """The cookie of a new session of a user, whose password is their name."""
    form = {"username": user, "password": user}
    answer = requests.post(f"{url}/login", data=form, allow_redirects=False, timeout=60)
    assert answer.headers["Location"] == f"{url}/rest/auth/status"
    return answer.cookies["JSESSIONID"]


def wait_for(condition: Callable[[], object], within: float = 60.0) -> None:
    """Returns as soon as the condition holds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
