"""Whether the data that the settings point to is there and fits this version."""

from __future__ import annotations

import stat
from pathlib import Path

from sqlalchemy import make_url

from hpcwaas.configuration.settings import Settings
from hpcwaas.errors import ConfigurationError, Unavailable
from hpcwaas.store.database import Database
from hpcwaas.store.secrets import SecretStore
from hpcwaas.vault.embedded import EmbeddedVault
from hpcwaas.vault.keyring import KeySource

OUTDATED = "the database's schema isn't this version's: run `hpcwaas-api db upgrade`"


def make_data_dir(settings: Settings) -> None:
    """Makes the data directory, for the service's account only; closes one that is there to all others.

    Raises:
        ConfigurationError: it can't be made or closed.
    """
    directory = settings.data_dir
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(directory.stat().st_mode) != 0o700:
            directory.chmod(0o700)
    except OSError as error:
        what = "make" if not directory.is_dir() else "close to others"
        raise ConfigurationError("data_dir", f"can't {what} {directory}: {error.strerror}") from error


def has_database(settings: Settings) -> bool:
    """Whether there may be a database. Connecting to an SQLite file that isn't there would make it."""
    url = make_url(settings.database_url)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def preflight(settings: Settings) -> None:
    """Finds what would stop a start, and makes nothing.

    Raises:
        ConfigurationError: the service would not start.
    """
    embedded = settings.vault_config is None and (settings.vault.key or settings.vault_key_file.exists())
    opened = KeySource(settings.vault, settings.vault_key_file) if embedded else None
    if not has_database(settings):
        return  # the start makes it
    database = Database(settings.database_url)
    try:
        if not database.is_current():
            # The local mode upgrades by itself, and an empty database is filled in any mode.
            if not settings.local and database.current() is not None:
                raise ConfigurationError("store.url", OUTDATED)
            database.check_upgradable()
        elif opened:
            EmbeddedVault(SecretStore(database), opened)
    except Unavailable as error:
        raise ConfigurationError("store.url", error.detail) from error
    finally:
        database.close()
