"""Moments as the API, the log and the record of acts write them."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """A moment in RFC 3339: UTC, with milliseconds, as existing clients read it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
