"""How long to wait before another try."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({429, 502, 503, 504})


def pause(attempt: int, *, longest: float = 10.0) -> float:
    """Seconds to wait after so many tries, the first being 1: doubles from half a second."""
    return min(0.5 * 2.0 ** min(attempt - 1, 10), longest)


def retry_after(header: str | None) -> float | None:
    """Seconds that a `Retry-After` header (seconds or an HTTP date) asks for; None without a usable one."""
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
