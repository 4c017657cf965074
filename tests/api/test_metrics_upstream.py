"""What metrics tell of the servers behind the service: calls, caches, the vault's token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.ports import free_port
from tests.service import IDLE, Client, as_user, make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_worlds import recorded
from tests.simulators.vault import vault_server
from tests.waiting import until

TOKEN = "the token of a Prometheus"


def figure(user: Client, name: str, **labels: str) -> float | None:
    """A figure; None when there is none."""
    answer = requests.get(f"{user.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    found = [one.value for family in families for one in family.samples if (one.name, one.labels) == (name, labels)]
    return found[0] if found else None


def calls(user: Client, upstream: str, result: str) -> float:
    found = figure(user, "hpcwaas_upstream_calls_total", upstream=upstream, result=result)
    assert found is not None
    return found


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Callable[[str], Client]]:
    """Starts a service before an Alien4Cloud and gives a user of it."""
    services = []

    def start(address: str) -> Client:
        alien_config = {"address": address, "connect_timeout": 1, "read_timeout": 5, "cache_seconds": 60}
        settings = make_settings(tmp_path, alien_config=alien_config, metrics={"token": TOKEN})
        services.append(serving(settings))
        return as_user(services[-1].__enter__(), "alice")

    yield start
    for service in services:
        service.__exit__(None, None, None)


def test_calls_of_an_engine_and_what_needs_none(user: Callable[[str], Client]) -> None:
    with Simulator(recorded(duration=1.0)) as simulator:
        alice = user(simulator.url)
        assert alice("GET", "/workflows").status_code == 200
        assert calls(alice, "alien4cloud", "ok") >= 2
        for _ in range(3):
            assert alice("GET", "/workflows").status_code == 200
        hits = figure(alice, "hpcwaas_cache_lookups_total", cache="alien4cloud", result="hit")
        assert hits is not None
        assert hits >= 3
        count = figure(alice, "hpcwaas_upstream_seconds_count", upstream="alien4cloud")
        assert count is not None
        assert count >= 2


def test_calls_without_an_answer(user: Callable[[str], Client]) -> None:
    alice = user(f"http://127.0.0.1:{free_port()}")
    assert alice("GET", "/workflows").status_code == 503
    assert calls(alice, "alien4cloud", "unavailable") >= 1
    assert calls(alice, "alien4cloud", "ok") == 0
    assert figure(alice, "hpcwaas_dependency_up", dependency="alien4cloud") in (0, None)


def test_the_end_of_the_vault_s_token_is_told_and_moves_on(tmp_path: Path) -> None:
    with vault_server() as vault:
        role = vault.role(ttl=6, longest=600)
        config = {"address": vault.url, "role_id": role.role_id, "secret_id": vault.secret_id(role)}
        settings = make_settings(tmp_path, cwl=IDLE, vault_config=config, metrics={"token": TOKEN})
        with serving(settings) as url:
            alice = as_user(url, "alice")

            def ends() -> float:
                found = figure(alice, "hpcwaas_vault_token_expires_timestamp_seconds", identity="service")
                return 0.0 if found is None else found

            until(lambda: ends() > 0)
            first = ends()
            assert -1 < first - time.time() <= 6
            until(lambda: ends() > first + 1)  # it was renewed
            assert figure(alice, "hpcwaas_vault_token_expires_timestamp_seconds", identity="key reader") is None
            assert calls(alice, "vault", "ok") >= 2
