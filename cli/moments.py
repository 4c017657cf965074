"""Moments as users write them: a date, a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

_AGO = re.compile(r"(\d{1,6})\s*(m|h|d|w)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(_: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """The value of an option as RFC 3339: `2h`, `3d`, `2026-11-23`, `2026-11-23T09:25`, with an offset or in UTC.

    Raises:
        BadParameter: it is nothing of that.
    """
    if text is None:
        return None
    try:
        if match := _AGO.fullmatch(text.strip()):
            found = datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        else:
            given = datetime.fromisoformat(text.strip())
            # Without an offset it is UTC, as in all times that the command shows.
            found = (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} isn't a moment. Give a date or time such as 2026-11-23 or 2026-11-23T09:25 (UTC), "
            "or how long ago: 30m, 2h, 3d, 1w.",
            param=parameter,
        ) from None
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")
