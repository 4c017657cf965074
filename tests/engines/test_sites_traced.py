"""A trace goes on to the site, whichever thread or process brings an execution there, and into its runner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.common import tracing
from hpcwaas.common.opentelemetry_tracer import OpenTelemetryTracer
from hpcwaas.core.models import Status
from tests.engines.site_bench import opened
from tests.simulators.collector import Collector, attributes


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")  # milliseconds
    with Collector() as made:
        tracer = OpenTelemetryTracer(made.endpoint)
        tracing.begin(tracer)
        yield made
        tracing.begin(None)
        tracer.close()


def test_what_is_done_on_a_site_belongs_to_the_request_that_asked_for_it(tmp_path: Path, collector: Collector) -> None:
    given = tmp_path / "given.txt"
    given.write_text("given")
    with opened(tmp_path) as bench:
        with tracing.span("request", {}, "server"):
            asked = tracing.parent()
            reference = bench.start("echo $TRACEPARENT > $HOME/trace; echo '{}'", given, execution_id="4f" * 16)
        assert asked is not None
        bench.again()  # another process brings it there
        assert bench.end(reference).status is Status.SUCCEEDED
        assert (bench.home / "trace").read_text().strip() == asked
        bench.wait(lambda: bool(collector.named("start on the site") and collector.named("send to the site")))
    _, trace, work, _ = asked.split("-")
    for name in ("start on the site", "send to the site"):
        for span in collector.named(name):
            assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, work)
            assert attributes(span).items() >= {"hpcwaas.site": "mare", "hpcwaas.execution": "4f" * 16}.items()


def test_what_nobody_asked_for_is_not_traced(tmp_path: Path, collector: Collector) -> None:
    with opened(tmp_path) as bench:
        assert bench.end(bench.start("echo '{}'")).status is Status.SUCCEEDED
    assert collector.spans == []
