"""The service's log: on stderr, for people on a terminal, else a JSON object a line; never with a secret in it."""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TextIO
from urllib.parse import quote, urlsplit

from hpcwaas.configuration.settings import Settings

_MASK = "********"
_SHORTEST_SECRET = 4
"""Masking anything shorter would make the log unreadable and tell where it stands."""
_CREDENTIALS = re.compile(
    r"""(?P<header>authorization["']?\s*[:=,]\s*b?["']?(?:\w+\s+)?)[^\s"',;)]+  # also in a dict
      | (?P<scheme>\b(?:basic|bearer)\s+)[A-Za-z0-9+/=._~-]{16,}
      | (?P<user>://[^/\s:@]*:)[^/\s@]+(?=@)
      | (?P<token>hpcwaas_(?:pat|ses|ref)_)[A-Za-z0-9_-]+
      | (?P<encoded>aHBjd2Fhc19(?:wYXRf|zZXNf|yZWZf))[A-Za-z0-9+/_-]+  # the same in base64
    """,
    re.IGNORECASE | re.VERBOSE,
)
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
    handler.setFormatter(HumanFormatter(scrubber) if stream.isatty() else JSONFormatter(scrubber))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # They tell every small step; ours say what an operator needs to know.
    for name in ("alembic", "connexion", "gunicorn", "httpx", "urllib3", "uvicorn", "werkzeug"):
        logging.getLogger(name).setLevel(logging.WARNING)


def scrubber_of(settings: Settings, *more_secrets: str) -> Callable[[str], str]:
    """The function that masks secrets in a text: those of the settings, and whatever has the form of one of ours."""
    return _Scrubber([*_secrets(settings), *more_secrets])


def _secrets(settings: Settings) -> Iterator[str]:
    """Every secret of the settings, in the forms in which it travels."""
    if settings.auth is not None:
        for account in settings.auth.basic_auth.accounts:
            if account.password is not None:
                password = account.password.get_secret_value()
                yield password
                yield base64.b64encode(f"{account.username}:{password}".encode()).decode()
            if account.password_hash is not None:
                yield account.password_hash.get_secret_value()
        if settings.auth.client_secret is not None:
            yield settings.auth.client_secret.get_secret_value()
    if settings.vault.key is not None:
        yield settings.vault.key.get_secret_value()
    if settings.vault_config is not None:
        for secret in (settings.vault_config.secret_id, settings.vault_config.token):
            if secret is not None:
                yield secret.get_secret_value()
    if in_url := urlsplit(settings.store.url or "").password:
        yield in_url


class _Scrubber:
    """Masks secrets in text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= _SHORTEST_SECRET}
        # Longest first: a secret may be a part of another.
        ordered = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        if self._known:
            text = self._known.sub(_MASK, text)
        return _CREDENTIALS.sub(lambda found: f"{found[found.lastgroup or 0]}{_MASK}", text)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield base64.b64encode(secret.encode()).decode().rstrip("=")
    yield repr(secret)[1:-1]


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, what was given as `extra`, and the exception."""

    def __init__(self, scrub: Callable[[str], str]) -> None:
        super().__init__()
        self._scrub = scrub

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
        return value if isinstance(value, int | float | None) else self._scrub(str(value))


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
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES)
