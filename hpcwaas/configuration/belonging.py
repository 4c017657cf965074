"""Which directory belongs to a store: whoever comes with another one knows nothing of the uploads and executions that
are recorded, and would say that they are lost."""

from __future__ import annotations

import secrets
from pathlib import Path

from hpcwaas.common.durable import read_or_create_secret
from hpcwaas.configuration.settings import Settings
from hpcwaas.engines.registry import registry
from hpcwaas.errors import ConfigurationError
from hpcwaas.store.facts import FactStore

_FACT = "directory"


def claim(settings: Settings, facts: FactStore) -> None:
    """Notes the directory of the settings, unless one was noted before.

    Raises:
        ConfigurationError: it was another one.
    """
    if _matters(settings):
        mine = read_or_create_secret(_file(settings), lambda: secrets.token_hex(16), _setting(settings))
        _compare(settings, mine, facts.first(_FACT, mine))


def check(settings: Settings, facts: FactStore) -> None:
    """As `claim`, and changes nothing.

    Raises:
        ConfigurationError: another one was noted.
    """
    if _matters(settings) and (known := facts.known(_FACT)):
        file = _file(settings)
        _compare(settings, file.read_text().strip() if file.exists() else "", known)


def _matters(settings: Settings) -> bool:
    # An SQLite file is nobody else's anyway.
    return not settings.database_url.startswith("sqlite") and any(registry().shares(name) for name in settings.engines)


def _setting(settings: Settings) -> str:
    return "data_dir" if settings.shared_dir is None else "shared_dir"


def _file(settings: Settings) -> Path:
    return settings.shared / "directory-id"


def _compare(settings: Settings, mine: str, known: str) -> None:
    if mine != known:
        raise ConfigurationError(
            _setting(settings),
            f"{settings.shared} isn't the directory with the uploads and executions of this database. For several "
            "machines, mount one directory on all of them and name it in `shared_dir`. If this is that directory, "
            f"moved or restored, write {known} into {_file(settings)}; what isn't in it is lost then",
        )
