"""The points of the check of an account."""

from __future__ import annotations

from hpcwaas.core.site_models import Point, PointStatus

TITLES = {
    "name": "The name of the login node is known",
    "port": "An SSH server answers there",
    "host_key": "It is the server that the service's operators know",
    "sign_in": "The account lets the service in",
    "quiet": "Commands run, and nothing else is printed",
    "work_dir": "Files can be written",
    "room": "There is room for them",
    "python": "There is a Python",
    "runner": "There is a runner of workflows",
    "containers": "Tools get their containers",
    "scheduler": "The scheduler answers",
    "partition": "The partition takes jobs",
    "project": "A project pays for them",
}
"""Of all points, in their order."""


def ok(point: str, detail: str) -> Point:
    """A point that is as it should be."""
    return Point(point, TITLES[point], PointStatus.OK, detail)


def warned(point: str, detail: str, advice: str) -> Point:
    """A point that may spoil executions, or not."""
    return Point(point, TITLES[point], PointStatus.WARNING, detail, advice)


def failed(point: str, detail: str, advice: str) -> Point:
    """A point that keeps executions from running."""
    return Point(point, TITLES[point], PointStatus.FAILED, detail, advice)


def skipped(point: str, detail: str) -> Point:
    """A point that wasn't looked at."""
    return Point(point, TITLES[point], PointStatus.SKIPPED, detail)
