"""What several worker processes count is told as one, whichever is asked, and survives them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.processes import Service, eventually

TOKEN = "the-token-of-a-prometheus"
WORKERS = 3


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("measured")
    made = Service(home, HWA_METRICS_TOKEN=TOKEN, HWA_SERVER_WORKERS=str(WORKERS))
    yield made.start()
    made.end()


def figures(service: Service, name: str, **labels: str) -> list[float]:
    """The figures of this name and of these labels, of any others."""
    answer = requests.get(f"{service.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return [
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == f"hpcwaas_{name}" and labels.items() <= sample.labels.items()
    ]


def listed(service: Service) -> float:
    (count,) = figures(service, "requests_total", operation="listWorkflows", status="200")
    return count


def ask(service: Service, times: int) -> None:
    """Asks by as many connections, which the workers share."""
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: service.user("GET", "/workflows").status_code, range(times))
        assert set(answers) == {200}


def test_every_worker_tells_what_all_have_counted(service: Service) -> None:
    eventually(lambda: len(figures(service, "worker_threads")) == WORKERS)
    before = listed(service)
    ask(service, 60)
    assert [listed(service) - before for _ in range(12)] == [60] * 12
    assert figures(service, "requests_under_way") == [1]  # the one that asks


def test_what_was_counted_outlives_the_workers(service: Service) -> None:
    eventually(lambda: len(figures(service, "worker_threads")) == WORKERS)
    ask(service, 20)
    before = listed(service)
    killed = {process.pid for process in service.processes("worker")}
    service.kill("worker")
    eventually(lambda: len({process.pid for process in service.processes("worker")} - killed) == WORKERS)

    def answers() -> bool:
        try:
            return len(figures(service, "worker_threads")) == WORKERS
        except requests.ConnectionError:
            return False

    eventually(answers)
    assert listed(service) == before
    assert figures(service, "requests_under_way") == [1]
    ask(service, 5)
    assert listed(service) == before + 5


def test_the_token_is_shown_nowhere(service: Service) -> None:
    requests.get(f"{service.url}/metrics", headers={"Authorization": f"Bearer x{TOKEN}"}, timeout=60)
    shown = service.command("config", "show")
    assert shown.returncode == 0
    assert TOKEN not in shown.stdout + service.log.read_text() + service.printed.read_text()


def test_a_token_that_could_be_guessed_stops_the_start(service: Service) -> None:
    refused = Service(service.home, HWA_METRICS_TOKEN="short").command("config", "check")
    assert refused.returncode == 1
    assert "metrics.token" in refused.stderr
    assert "16" in refused.stderr
