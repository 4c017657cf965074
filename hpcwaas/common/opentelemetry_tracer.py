"""Keeps traces by OpenTelemetry, and sends them to a collector."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hpcwaas import __version__
from hpcwaas.common import tracing
from hpcwaas.common.repeats import Repeats
from hpcwaas.common.tracing import Attributes, Kind, Note

_LOGGER = logging.getLogger(__name__)
_FORM = TraceContextTextMapPropagator()
_KINDS = {"internal": trace.SpanKind.INTERNAL, "server": trace.SpanKind.SERVER, "client": trace.SpanKind.CLIENT}
_TIMEOUT = 2.0
"""Seconds that the collector may take; so long the end of the service is held up."""

T = TypeVar("T")


class OpenTelemetryTracer:
    """Obeys `Tracer`. To be made in the process that uses it: it has a thread.

    Which traces are kept, and headers for the collector, are told by OpenTelemetry's own variables of the environment.

    Args:
        endpoint: URL of the collector that takes OTLP by HTTP.
    """

    def __init__(self, endpoint: str) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # each failure again and again; see `_Exporter`
        resource = Resource.create({"service.name": "hpcwaas", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Exporter(endpoint)))
        self._tracer = self._provider.get_tracer("hpcwaas", __version__)

    @contextmanager
    def span(
        self, name: str, attributes: Attributes, kind: Kind, parent: str | None, link: str | None
    ) -> Iterator[Note]:
        """See `hpcwaas.common.tracing.span`. What the service does by itself, again and again, belongs to no trace."""
        if kind != "server" and parent is None and self.parent() is None:
            yield tracing.nothing
            return
        linked = trace.get_current_span(_read(link)).get_span_context() if link else trace.INVALID_SPAN_CONTEXT
        with self._tracer.start_as_current_span(
            name,
            _read(parent) if parent else None,
            _KINDS[kind],
            _known(attributes),
            [trace.Link(linked)] if linked.is_valid else (),
            record_exception=False,  # messages may quote what users sent
            set_status_on_exception=False,
        ) as span:
            try:
                yield partial(_note, span)
            except BaseException as error:
                _note(span, {"error.type": type(error).__name__}, failed=True)
                raise

    def parent(self) -> str | None:
        """See `hpcwaas.common.tracing.parent`."""
        carrier: dict[str, str] = {}
        _FORM.inject(carrier)
        return carrier.get("traceparent")

    def carried(self, task: Callable[[], T]) -> Callable[[], T]:
        """See `hpcwaas.common.tracing.carried`."""
        present = context.get_current()

        def run() -> T:
            token = context.attach(present)
            try:
                return task()
            finally:
                context.detach(token)

        return run

    def close(self) -> None:
        """Sends what hasn't been sent yet."""
        self._provider.shutdown()


class _Exporter(SpanExporter):
    """Tells the log when the collector can't be used, once a while."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._inner = OTLPSpanExporter(endpoint=endpoint, timeout=_TIMEOUT)
        self._repeats = Repeats()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends finished pieces of work."""
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS and self._repeats.due(self._endpoint) is not None:
            _LOGGER.warning("Traces are lost: %s (tracing.endpoint) doesn't take them.", self._endpoint)
        return result

    def shutdown(self) -> None:
        """Ends."""
        self._inner.shutdown()  # type: ignore[no-untyped-call]


def _read(parent: str) -> context.Context:
    return _FORM.extract({"traceparent": parent}, context.Context())


def _known(attributes: Attributes) -> dict[str, str | int]:
    return {name: value for name, value in attributes.items() if value is not None}


def _note(span: trace.Span, attributes: Attributes, *, name: str | None = None, failed: bool = False) -> None:
    span.set_attributes(_known(attributes))
    if name is not None:
        span.update_name(name)
    if failed:
        span.set_status(trace.StatusCode.ERROR)
