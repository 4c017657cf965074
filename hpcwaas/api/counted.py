"""What is counted of requests."""

from __future__ import annotations

from hpcwaas.common.metrics import Counter, Gauge, Histogram

REQUESTS = Counter(
    "requests",
    "Requests that were answered, by the operation of the contract and the status. 499: the client left before.",
    operation=None,
    status=None,
)
SECONDS = Histogram(
    "request_seconds",
    "Time until an answer begins, without what was waited for: news of a log, and a body that the client sends.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    operation=None,
)
UNDER_WAY = Gauge("requests_under_way", "Requests that are being answered, followers included.")
STREAMS = Gauge("streams", "Event streams that are open. They hold no thread.")
FOLLOWERS = Gauge("followers", "Requests that wait for news, without a thread; without event streams.")
