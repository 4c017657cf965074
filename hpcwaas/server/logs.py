"""The service's log: on stderr, for people on a terminal, else a JSON object a line; never with a secret in it."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO

from hpcwaas.common import about
from hpcwaas.common.metrics import Counter
from hpcwaas.common.moments import rfc3339
from hpcwaas.common.scrubbing import scrubber_of
from hpcwaas.configuration.settings import Settings

_ENTRIES = Counter("log_entries", "Entries of the log.", level=("INFO", "WARNING", "ERROR", "CRITICAL"))
_LOGGER = logging.getLogger(__name__)
_MASK = "********"
_REMEMBERED = 1000
_SHORT = 100
_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: " ", 10: "\\n", 13: "\\r"}
"""A user's text must not be able to begin a line of the log or to steer the terminal."""


def configure(settings: Settings, *more_secrets: str, stream: TextIO | None = None) -> None:
    """Sets up logging for this process; may be called again.

    Args:
        more_secrets: what to mask besides the secrets in the settings.
        stream: where to write; stderr unless given.
    """
    stream = stream or sys.stderr
    scrubber = scrubber_of(settings, *more_secrets)
    handler = logging.StreamHandler(stream)
    handler.addFilter(_count)
    handler.setFormatter(HumanFormatter(scrubber) if stream.isatty() else JSONFormatter(scrubber))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda end: _uncaught(end.exc_type, end.exc_value, end.exc_traceback)
    # They tell every small step; ours say what an operator needs to know.
    for name in ("alembic", "connexion", "gunicorn", "httpx", "urllib3", "uvicorn", "werkzeug"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _count(record: logging.LogRecord) -> bool:
    _ENTRIES.add(record.levelname)
    return True


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Python itself would print it as it is."""
    if issubclass(kind, KeyboardInterrupt | SystemExit) or error is None:
        sys.__excepthook__(kind, error or kind(), trace)
    else:
        _LOGGER.critical("unexpected error", exc_info=(kind, error, trace))


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message; id, user and operation of the request that it belongs to;
    what was given as `extra`, and the exception."""

    def __init__(self, scrub: Callable[[str], str]) -> None:
        super().__init__()
        self._scrub = scrub
        # Names of users and operations, addresses: the same few stand in nearly every entry.
        self._scrub_short = lru_cache(_REMEMBERED)(scrub)

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        entry = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": self._scrub(record.getMessage()),
            **{name: self._clean(value) for name, value in _extra(record)},
        }
        if record.exc_info:
            entry["exception"] = self._scrub(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)

    def _clean(self, value: object) -> object:
        if value is None or isinstance(value, int | float):
            return value
        text = str(value)
        return self._scrub_short(text) if len(text) <= _SHORT else self._scrub(text)


class HumanFormatter(logging.Formatter):
    """One line for an entry, and the exception below it."""

    def __init__(self, scrub: Callable[[str], str]) -> None:
        super().__init__()
        self._scrub = scrub

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        extra = "".join(f" {name}={value}" for name, value in _extra(record) if value is not None)
        text = f"{record.getMessage()}{extra}".translate(_ESCAPES)
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {text}"
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return self._scrub(line)


def _time(record: logging.LogRecord) -> str:
    return rfc3339(datetime.fromtimestamp(record.created, UTC))


def _extra(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    given = {name: value for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES}
    return iter({**about.request(), **given}.items())
