"""`/metrics`: what the service counts, for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from hpcwaas.api.answers import answer, refuse
from hpcwaas.api.contract import Operation
from hpcwaas.common import metrics
from hpcwaas.common.metrics import OTHER, Family, Histogram, Read, Reading
from hpcwaas.errors import ServiceError

_PATH = "/metrics"

_OFTEN = ("400", "401", "403", "404", "409", "413", "429", "499", "500", "502", "503", "504", OTHER)
"""Statuses of refusals and failures that any operation may have; 499 is a client that has left."""


def combinations(operations: Iterable[Operation]) -> Iterator[tuple[str, str]]:
    """The operations with the statuses that they can have."""
    for one in operations:
        own = (status for status in map(str, one.content["responses"]) if status.isdecimal())
        yield from ((one.id, status) for status in dict.fromkeys((*own, *_OFTEN)))
    yield from ((OTHER, status) for status in ("200", "204", "307", "405", *_OFTEN))


class Metrics:
    """Answers `/metrics` to who has the token, whatever else goes on.

    Args:
        token: that Prometheus sends; None when there are no metrics.
        readings: what is found out when it asks.
    """

    def __init__(self, app: ASGIApp, token: SecretStr | None, readings: Sequence[Read]) -> None:
        self._app = app
        self._token = token.get_secret_value().encode() if token else None
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(readings))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or scope["path"] != _PATH:
            await self._app(scope, receive, send)
            return
        if self._token is None:
            await refuse(scope, send, 404, "No metrics are kept here: the setting `metrics.token` turns them on.", {})
            return
        headers = Headers(scope=scope)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            detail = "The token in `Authorization: Bearer …` has to be the one of the setting `metrics.token`."
            await refuse(scope, send, 401, detail, {"WWW-Authenticate": "Bearer"})
            return
        encode, kind = choose_encoder(headers.get("accept", ""))
        body = await asyncio.get_running_loop().run_in_executor(self._thread, encode, self._registry)
        await answer(send, 200, {"Content-Type": kind, "Cache-Control": "no-store"}, body)


class _Figures(Collector):
    """All that is counted, as Prometheus takes it."""

    def __init__(self, readings: Sequence[Read]) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        """Adds up what all processes have counted, and finds out what there is."""
        found: dict[Family, Metric] = {}
        for read in self._readings:
            with contextlib.suppress(ServiceError):  # it is left out, and `dependency_up` says what is the matter
                for reading, labels, value in read():
                    metric = found.setdefault(reading, Metric(reading.name, reading.text, reading.kind))
                    metric.add_sample(_name(reading), dict(zip(reading.labels, labels, strict=True)), value)
        for family in metrics.Family.all:
            if not isinstance(family, Reading):
                found[family] = _metric(family)
        yield from sorted(found.values(), key=lambda metric: metric.name)


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.text, family.kind)
    for labels, figures in metrics.values(family):
        named = dict(zip(family.labels, labels, strict=True))
        if isinstance(family, Histogram):
            total = 0.0
            for bound, count in zip((*family.bounds, float("inf")), figures, strict=False):
                total += count
                metric.add_sample(f"{family.name}_bucket", {**named, "le": _bound(bound)}, total)
            metric.add_sample(f"{family.name}_count", named, total)
            metric.add_sample(f"{family.name}_sum", named, figures[-1])
        else:
            metric.add_sample(_name(family), named, figures[0])
    return metric


def _name(family: Family) -> str:
    return family.name + ("_total" if family.kind == "counter" else "")


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == float("inf") else str(seconds)
