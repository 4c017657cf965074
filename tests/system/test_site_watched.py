"""What metrics and traces tell of a real SSH server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpcwaas.common import metrics, tracing
from hpcwaas.common.metrics import Family
from hpcwaas.common.opentelemetry_tracer import OpenTelemetryTracer
from hpcwaas.engines.cwl.sites.connection import (
    COMMAND_SECONDS,
    COMMANDS,
    CONNECTIONS,
    SIGN_IN_SECONDS,
    SIGN_INS,
    SiteFailed,
)
from tests.simulators.collector import Collector, attributes
from tests.system.ssh_server import EXECUTION, PLACEMENT, Server

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def _counting() -> Iterator[None]:
    metrics.share({"site": [PLACEMENT.site]}, 1)
    metrics.begin(0)
    yield
    metrics.share({}, 0)


def told(family: Family, *labels: str) -> float:
    return dict(metrics.values(family))[PLACEMENT.site, *labels][0]


def observed(family: Family) -> tuple[float, float]:
    """How often, and for how many seconds."""
    *counts, seconds = dict(metrics.values(family))[(PLACEMENT.site,)]
    return sum(counts), seconds


def test_connections_and_commands_are_counted(server: Server) -> None:
    with server.connections() as connections:
        for _ in range(2):
            with connections.of(PLACEMENT, EXECUTION) as connection:
                assert connection.run("sleep 0.1; exit 3").status == 3  # it answered
        assert (told(CONNECTIONS), told(SIGN_INS, "ok"), told(COMMANDS, "ok")) == (1, 1, 2)
        with connections.of(PLACEMENT, EXECUTION) as connection, pytest.raises(SiteFailed):
            connection.run("sleep 60", timeout=0.1)
    assert (told(CONNECTIONS), told(COMMANDS, "ok"), told(COMMANDS, "failed")) == (0, 2, 1)
    assert observed(SIGN_IN_SECONDS)[0] == 1
    count, seconds = observed(COMMAND_SECONDS)
    assert (count, seconds > 0.2) == (3, True)


def test_an_account_that_is_not_let_in_is_refused(restored: Server) -> None:
    restored.authorize("")
    with restored.connections() as connections, pytest.raises(SiteFailed), connections.of(PLACEMENT, EXECUTION):
        pass
    assert (told(SIGN_INS, "refused"), told(SIGN_INS, "ok"), told(CONNECTIONS)) == (1, 0, 0)


def test_signing_in_and_commands_belong_to_the_request(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")  # milliseconds
    with Collector() as collector:
        tracer = OpenTelemetryTracer(collector.endpoint)
        tracing.begin(tracer)
        try:
            with (
                server.connections() as connections,
                tracing.span("request", {}, "server"),
                connections.of(PLACEMENT, EXECUTION) as connection,
            ):
                connection.run("true")
        finally:
            tracing.begin(None)
            tracer.close()
        (request,) = collector.named("request")
        for name in ("sign in to a site", "command on a site"):
            (span,) = collector.named(name)
            assert (span.trace_id, span.parent_span_id) == (request.trace_id, request.span_id)
            assert attributes(span) == {"hpcwaas.site": PLACEMENT.site}
