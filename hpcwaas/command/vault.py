"""The commands `hpcwaas-api vault …`: the keys of the embedded vault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hpcwaas.command.common import open_audit, read_settings, reporting, settings_flags

# What the commands need is imported inside them: `--help` answers at once.
if TYPE_CHECKING:
    from hpcwaas.configuration.settings import Settings


@click.group(short_help="Manage the keys of the embedded vault.")
def vault() -> None:
    """Manage the keys with which the embedded vault seals private keys.

    To change the key, run `hpcwaas-api vault new-key` and then `hpcwaas-api vault rekey`, while the service runs.
    """


@vault.command("new-key")
@settings_flags
def new_key() -> None:
    """Put a new key before the others in the file `vault.key` of the data directory.

    From then on a running service seals with the new key, and opens with all keys.
    """
    with reporting(), _embedded() as settings:
        from hpcwaas.errors import ConfigurationError
        from hpcwaas.vault.keyring import add_key

        if settings.vault.key is not None:
            raise ConfigurationError(
                "vault.key",
                "is set, so there is no file of keys: move the present key to `vault.previous_keys`, and set "
                "`vault.key` to a new one, made with `openssl rand -base64 32`",
            )
        path = settings.vault_key_file
        ids = add_key(path).ids
        audit = open_audit(settings)
        audit.record_command("vault new-key", ids[0])
        audit.close()
        click.echo(
            f"{path}: key {ids[0]} seals from now on, and {len(ids)} keys open. Run `hpcwaas-api vault rekey` next."
        )


@vault.command()
@settings_flags
def rekey() -> None:
    """Seal all private keys with the newest key: the first one in the file `vault.key`, or the setting of that name.

    Services may run meanwhile. If the key is a setting, restart all of them with the new key first. You can interrupt
    the command at any time and repeat it. Exits with 1 if something is left to do.
    """
    with reporting(), _embedded() as settings:
        from hpcwaas.configuration.checks import OUTDATED, has_database
        from hpcwaas.errors import ConfigurationError
        from hpcwaas.store.database import Database
        from hpcwaas.store.secrets import SecretStore
        from hpcwaas.vault.embedded import EmbeddedVault
        from hpcwaas.vault.keyring import load_keys

        if not has_database(settings):
            raise ConfigurationError("store.url", "there is no database yet, so there is nothing to seal")
        keys = load_keys(settings.vault, settings.vault_key_file)
        database, audit = Database(settings.database_url), open_audit(settings)
        try:
            if not database.is_current():
                raise ConfigurationError("store.url", OUTDATED)
            embedded = EmbeddedVault(SecretStore(database), lambda: keys)
            done = embedded.reseal()
            # Again, for what services that seal with an older key have added.
            late = embedded.reseal()
            audit.record_command("vault rekey", keys.ids[0])
        finally:
            database.close()
            audit.close()
        click.echo(
            f"key {keys.ids[0]}: {done.anew + late.anew} private keys sealed anew, {done.already} were sealed with it "
            "before"
        )
        if late.unreadable:
            raise ConfigurationError(
                "vault.previous_keys",
                f"no key opens {', '.join(late.unreadable)}: restore the key that sealed them, or let their owners "
                "rotate or delete these SSH keys",
            )
        if late.anew:
            raise ConfigurationError(
                "vault.key",
                "a running service still seals with the older key: restart that service and repeat this command",
            )
        if len(keys.ids) > 1:
            click.echo(
                "The older keys are needed only for backups of the database: keep them with these backups, and remove "
                f"them from {_place(settings)}."
            )


def _place(settings: Settings) -> str:
    return (
        "vault.previous_keys"
        if settings.vault.key is not None
        else f"{settings.vault_key_file}, all lines but the first"
    )


@contextmanager
def _embedded() -> Iterator[Settings]:
    """The settings of a service with an embedded vault.

    Raises:
        ConfigurationError: it has none.
    """
    from hpcwaas.configuration.checks import make_data_dir
    from hpcwaas.errors import ConfigurationError

    settings = read_settings().settings
    if settings.vault_config is not None:
        raise ConfigurationError(
            "vault_config",
            "private keys are kept in HashiCorp Vault or OpenBao, which has keys of its own: run "
            "`vault operator rotate`",
        )
    make_data_dir(settings)
    yield settings
