"""`/metrics`: who may read it, and what it tells of what happens here."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from hpcwaas.api import contract
from tests.service import Client, as_user, make_settings, serving
from tests.waiting import until

TOKEN = "the token of a Prometheus"

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(make_settings(tmp_path_factory.mktemp("measured"), metrics={"token": TOKEN})) as address:
        yield address


@pytest.fixture
def user(url: str) -> Client:
    return as_user(url, "alice")


def scrape(url: str) -> Samples:
    answer = requests.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"hpcwaas_{name}", frozenset(labels.items())]


@contextlib.contextmanager
def growth(url: str, grown: dict[str, float], name: str, **labels: str) -> Iterator[None]:
    """Tells by how much a figure grows in the block, when the figures are final."""
    before = value(scrape(url), name, **labels)
    yield
    grown[name] = value(scrape(url), name, **labels) - before


def test_metrics_are_off_unless_they_are_turned_on(service: Callable[[str], Client]) -> None:
    for name in ("alice", "root"):
        answer = service(name)("GET", "/metrics")
        assert answer.status_code == 404
        assert "`metrics.token`" in answer.json()["detail"]


@pytest.mark.parametrize("given", [None, "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"])
def test_the_token_alone_opens_them(url: str, given: str | None) -> None:
    answer = requests.get(f"{url}/metrics", headers={"Authorization": given.encode()} if given else {}, timeout=60)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert TOKEN not in answer.text


def test_no_user_s_credentials_open_them(url: str) -> None:
    assert as_user(url, "root")("GET", "/metrics").status_code == 401


def test_requests_count_by_operation_and_status(url: str, user: Client) -> None:
    asked = [
        ("GET", "/workflows", "listWorkflows", "200"),
        ("HEAD", "/workflows", "listWorkflows", "200"),
        ("GET", "/executions/none", "getExecution", "404"),
        ("POST", "/workflows/none", "triggerWorkflow", "400"),
        ("GET", "/health/live", "getLiveness", "200"),
        ("GET", "/nothing/here", "other", "404"),
        ("DELETE", "/workflows", "other", "405"),
        ("GET", "/ui/", "other", "200"),
    ]
    for method, path, operation, status in asked:
        grown: dict[str, float] = {}
        with (
            growth(url, grown, "requests_total", operation=operation, status=status),
            growth(url, grown, "request_seconds_count", operation=operation),
        ):
            assert str(user(method, path, data=b"{" if method == "POST" else None).status_code) == status, path
        assert grown == {"requests_total": 1, "request_seconds_count": 1}, path


def test_what_is_refused_before_its_turn_counts_for_its_operation(url: str) -> None:
    grown: dict[str, float] = {}
    with growth(url, grown, "requests_total", operation="listWorkflows", status="401"):
        assert requests.get(f"{url}/workflows", timeout=60).status_code == 401
    assert grown == {"requests_total": 1}


def test_whatever_strangers_ask_for_there_are_no_more_figures(url: str, user: Client) -> None:
    user("GET", "/workflows")
    before = scrape(url).keys()
    for number in range(20):
        requests.request(f"M{number}", f"{url}/made-up/{number}", timeout=60)
        user("GET", f"/executions/{number}")
    assert scrape(url).keys() == before


def test_every_operation_is_there_from_the_start(url: str) -> None:
    samples = scrape(url)
    for operation in contract.operations(contract.read()):
        for status in ("404", "429", "500", "503", "other"):
            assert value(samples, "requests_total", operation=operation.id, status=status) >= 0
        for status in operation.content["responses"]:
            if status.isdecimal():
                assert value(samples, "requests_total", operation=operation.id, status=status) >= 0
    for engine in ("cwl", "other"):
        assert value(samples, "executions", engine=engine, status="UNKNOWN") == 0


def test_executions_count_while_they_last_and_when_they_end(url: str, user: Client) -> None:
    grown: dict[str, float] = {}
    with (
        growth(url, grown, "executions_started_total", engine="cwl"),
        growth(url, grown, "executions_ended_total", engine="cwl", status="SUCCEEDED"),
    ):
        path = user.trigger("echo", message="counted")
        assert user.finished(path)["status"] == "SUCCEEDED"
    assert grown == {"executions_started_total": 1, "executions_ended_total": 1}
    samples = scrape(url)
    assert value(samples, "executions", engine="cwl", status="RUNNING") == 0
    assert value(samples, "queue_limit", engine="cwl") == 4
    assert value(samples, "queue_waiting", engine="cwl") == value(samples, "queue_running", engine="cwl") == 0


def test_what_the_service_depends_on_and_who_works_is_told(url: str) -> None:
    samples = scrape(url)
    assert value(samples, "dependency_up", dependency="store") == 1
    assert value(samples, "worker_memory_bytes", worker="0") > 1e6
    assert value(samples, "ssh_keys", type="ed25519") == 0


def test_keys_and_looks_into_caches_are_counted(url: str, user: Client) -> None:
    grown: dict[str, float] = {}
    with (
        growth(url, grown, "ssh_keys", type="ed25519"),
        growth(url, grown, "cache_lookups_total", cache="credentials", result="hit"),
    ):
        for _ in range(2):
            assert user("POST", "/ssh_keys", json={}).status_code == 201
    assert grown["ssh_keys"] == 2
    assert grown["cache_lookups_total"] >= 1


def test_followers_count_and_their_waiting_makes_no_request_slow(
    url: str, user: Client, caplog: pytest.LogCaptureFixture
) -> None:
    path = user.trigger("slow", seconds=30)
    answers: list[requests.Response] = []
    follower = threading.Thread(target=lambda: answers.append(user("GET", f"{path}/logs?from=1000&timeout=2s")))
    before = value(scrape(url), "request_seconds_sum", operation="getExecutionLogs")
    with caplog.at_level(logging.INFO, "hpcwaas.access"):
        follower.start()
        until(lambda: value(scrape(url), "followers") == 1 or not follower.is_alive())
        follower.join()
    assert value(scrape(url), "followers") == 0
    assert answers[0].status_code == 200
    user("DELETE", path)
    record = next(one for one in caplog.records if getattr(one, "operation", None) == "getExecutionLogs")
    waited = record.__dict__["duration_ms"] - record.__dict__["own_ms"]
    assert waited > 0
    spent = value(scrape(url), "request_seconds_sum", operation="getExecutionLogs") - before
    assert spent == pytest.approx(record.__dict__["own_ms"] / 1000, abs=0.001)
