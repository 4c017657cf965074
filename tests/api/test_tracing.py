"""Traces: what a request has the service and the servers behind it do, as a collector gets it."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from hpcwaas.common import tracing
from tests.ports import free_port
from tests.service import IDLE, Client, as_user, make_settings, serving
from tests.simulators.collector import Collector, attributes
from tests.waiting import until

STRANGE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


@pytest.fixture(scope="module")
def user(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")  # milliseconds
        settings = make_settings(tmp_path_factory.mktemp("traced"), cwl=IDLE, tracing={"endpoint": collector.endpoint})
        with serving(settings) as url:
            yield as_user(url, "alice")


def test_a_request_and_the_start_that_it_asks_for_are_one_trace(user: Client, collector: Collector) -> None:
    path = user.trigger("echo", message="traced")
    until(lambda: bool(collector.named("triggerWorkflow")))
    (request,), (start,) = collector.named("triggerWorkflow"), collector.named("start execution")
    assert (start.trace_id, start.parent_span_id) == (request.trace_id, request.span_id)
    assert (request.kind, request.parent_span_id) == (Span.SPAN_KIND_SERVER, b"")
    assert attributes(request)["http.response.status_code"] == 201
    assert attributes(start) == {"hpcwaas.engine": "cwl", "hpcwaas.execution": path.rpartition("/")[2]}


def test_a_client_s_own_trace_is_linked_and_gets_nothing_traced_that_would_not_be(
    user: Client, collector: Collector
) -> None:
    user("GET", "/whoami", headers={"traceparent": STRANGE})
    until(lambda: bool(collector.named("whoami")))
    (span,) = collector.named("whoami")
    assert span.trace_id.hex() != STRANGE.split("-")[1]
    assert [link.trace_id.hex() for link in span.links] == [STRANGE.split("-")[1]]


def test_probes_are_not_traced_and_failures_are_marked(user: Client, collector: Collector) -> None:
    user("GET", "/health/live")
    user("GET", "/nothing", headers={"traceparent": "nonsense"})
    until(lambda: bool(collector.named("other")))
    (span,) = collector.named("other")
    assert (attributes(span)["http.response.status_code"], len(span.links), span.status.code) == (404, 0, 0)
    assert collector.named("getLiveness") == []


def test_the_log_names_the_trace(user: Client, collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hpcwaas.access"):
        user("GET", "/ssh_keys")
    (record,) = [one for one in caplog.records if getattr(one, "operation", None) == "listSshKeys"]
    until(lambda: bool(collector.named("listSshKeys")))
    (span,) = collector.named("listSshKeys")
    assert record.__dict__["trace_id"] == span.trace_id.hex()


def test_without_a_collector_requests_go_on_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    endpoint = f"http://127.0.0.1:{free_port()}/v1/traces"
    with serving(make_settings(tmp_path, cwl=IDLE, tracing={"endpoint": endpoint})) as url:
        assert as_user(url, "alice")("GET", "/workflows").status_code == 200
        until(lambda: any("Traces are lost" in message for message in caplog.messages))
        assert as_user(url, "alice")("GET", "/workflows").status_code == 200
    assert tracing.parent() is None


def test_without_the_extra_the_start_is_refused_with_what_to_install(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None  # as if it weren't installed
from hpcwaas.app import create_app
from hpcwaas.errors import ConfigurationError
from tests.service import IDLE, make_settings
from pathlib import Path
try:
    create_app(make_settings(Path(sys.argv[1]), cwl=IDLE, tracing={"endpoint": "http://127.0.0.1:1/v1/traces"}))
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert "tracing.endpoint" in done.stdout, done.stderr
    assert "hpcwaas[tracing]" in done.stdout
