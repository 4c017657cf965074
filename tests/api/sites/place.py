"""A service whose engine has sites, and what its users do there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.service import IDLE, Client, as_user, make_settings, serving
from tests.simulators.site_engine import NAME, There

ACCOUNT = "/sites/mare/account"
FORMS = {NAME: "[^:@]+", "plain": None}


class Place:
    """A service, which may be started anew, and what is at its sites."""

    def __init__(self, directory: Path, there: There) -> None:
        self._directory = directory
        self.there = there

    @contextmanager
    def service(self) -> Iterator[Callable[[str], Client]]:
        settings = make_settings(self._directory, cwl=IDLE)
        self.audit = settings.audit_file
        with serving(settings) as url:
            yield lambda name: as_user(url, name)

    def acts(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


def new_key(user: Client) -> str:
    key: str = user("POST", "/ssh_keys", json={}).json()["id"]
    return key


def connect(user: Client, login: str = "u1", site: str = "mare") -> str:
    key = new_key(user)
    answer = user("PUT", f"/sites/{site}/account", json={"user": login, "ssh_key": key})
    assert answer.status_code == 201, answer.text
    return key


def trigger(user: Client, workflow: str = "anywhere", site: str | None = "mare", **headers: str) -> Any:
    return user("POST", f"/workflows/{workflow}", json={"inputs": {}, "site": site}, headers=headers)


def started(user: Client, workflow: str = "anywhere", site: str | None = "mare") -> str:
    answer = trigger(user, workflow, site)
    assert answer.status_code == 201, answer.text
    path: str = answer.headers["Location"]
    return path


def detail(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    text: str = answer.json()["detail"]
    return text
