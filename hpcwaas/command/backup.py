"""The commands `hpcwaas-api backup` and `hpcwaas-api restore`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from hpcwaas.command.common import harmless, open_audit, read_settings, reporting, settings_flags

# What the commands need is imported inside them: `--help` answers at once.
if TYPE_CHECKING:
    from hpcwaas.command.backing_up import Made
    from hpcwaas.command.restoring import Checked
    from hpcwaas.configuration.settings import Settings

_STDOUT = Path("-")
_COMPRESSED = (".tar.gz", ".tgz")
_SHOWN = 20


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@settings_flags
def backup(file: Path) -> None:
    """Write everything that the service keeps into FILE, while it runs.

    The name ends in .tar, .tar.gz or .tgz; the last two are compressed. With - it goes to stdout, as .tar. FILE appears
    when it is complete, readable for your account only.

    In it are the store, uploads, executions with their outputs and logs, and the audit. Not in it are the key of the
    embedded vault (without which its private keys can't be read), the configuration and the catalogue: keep these
    apart. Run this with the account and the configuration of the service.
    """
    with reporting():
        from hpcwaas.command.backing_up import make_backup
        from hpcwaas.configuration.checks import has_database
        from hpcwaas.errors import BadRequest, ConfigurationError

        settings = read_settings().settings
        if not has_database(settings) or not settings.data_dir.is_dir():
            raise ConfigurationError(
                "data_dir", f"there is nothing to back up: no service has run in {settings.data_dir}"
            )
        compressed = file.name.endswith(_COMPRESSED)
        if file != _STDOUT and not compressed and file.suffix != ".tar":
            raise BadRequest(f"{file} should end in .tar, .tar.gz or .tgz.")
        try:
            with _written(file) as stream:
                made = make_backup(settings, stream, compressed=compressed)
                stream.flush()
        except OSError as error:
            name = error.filename if error.filename not in (None, str(_part(file))) else file
            raise BadRequest(f"No backup was made: {name}: {error.strerror or error}.") from error
        audit = open_audit(settings)
        audit.record_command("backup", str(file))
        audit.close()
        _tell_made(settings, file, made)


def _tell_made(settings: Settings, file: Path, made: Made) -> None:
    _say(f"{file}: {made.rows} records and {made.files} files, {_size(made.bytes)}; {_size(made.written)} written")
    if made.gone:
        _say(f"{made.gone} executions and uploads were deleted while the backup was made; a restore leaves them out")
    for sentence in made.missing[:_SHOWN]:
        _say(f"warning: {harmless(sentence)}")
    if len(made.missing) > _SHOWN:
        _say(f"warning: and {len(made.missing) - _SHOWN} more")
    apart = ["the configuration"]
    if settings.vault_config is None and settings.vault.key is None:
        apart.append(f"{settings.vault_key_file}, without which no private key can be read")
    _say(f"not in it, keep apart: {'; '.join(apart)}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--check", is_flag=True, help="Only read all of it, and say what it is and whether it is whole.")
@settings_flags
def restore(file: Path, check: bool) -> None:
    """Bring a backup back, to an empty data directory and an empty database.

    The service must not run. The configuration may name another kind of database than the one that was backed up. Put
    the embedded vault's key into the data directory before: that is the one file that may be there.

    A backup of an earlier version of the service is upgraded. Nothing is touched before all of FILE was found whole. If
    this command is interrupted, give it again. It starts nothing: executions that waited or ran on this machine when
    the backup was made are FAILED, those on sites, Alien4Cloud and Yorc are looked after again.
    """
    with reporting():
        from hpcwaas.command.restoring import check_backup, restore_backup
        from hpcwaas.errors import BadRequest

        settings = None if check else read_settings().settings
        os.umask(0o077)
        try:
            with file.open("rb") as stream:
                checked = check_backup(stream)
                _tell_checked(file, checked)
                if settings is None:
                    return
                stream.seek(0)
                done = restore_backup(settings, stream, checked)
        except OSError as error:
            raise BadRequest(f"{error.filename or file}: {error.strerror or error}. Nothing was restored.") from error
        if done is None:
            _say("an earlier restore of it was killed when all was done: nothing is left to do")
        else:
            if done.anew:
                _say("an earlier restore had been broken off: this one has begun anew")
            _say(f"restored: {done.rows} records to the database, {done.files} files to {settings.data_dir}")
            if done.ended:
                _say(f"{done.ended} executions were about to begin when it was made, and are FAILED now")
            if done.without:
                _say(f"warning: {done.without} uploads aren't there any more: the backup has no content of them")
            if done.kept_audit:
                _say(f"{settings.audit_file} was there already and was left as it is; the backup's is not restored")
        audit = open_audit(settings)
        audit.record_command("restore", str(file))
        audit.close()
        _tell_key(settings)


def _tell_checked(file: Path, checked: Checked) -> None:
    head, told = checked.head, checked.told
    _say(
        f"{file}: whole; made at {harmless(str(head['made_at']))} by version {harmless(str(head['version']))} (schema "
        f"{harmless(str(head['schema']))}): {told.get('rows')} records and {told.get('files')} files, "
        f"{_size(checked.bytes)}"
    )
    for sentence in list(told.get("missing", ()))[:_SHOWN]:
        _say(f"warning: when it was made, {harmless(str(sentence))}")


def _tell_key(settings: Settings) -> None:
    """Says whether the embedded vault can open what was brought back."""
    if settings.vault_config is not None:
        return
    from contextlib import closing

    from hpcwaas.errors import ConfigurationError
    from hpcwaas.store.database import Database
    from hpcwaas.store.secrets import SecretStore
    from hpcwaas.vault.embedded import EmbeddedVault
    from hpcwaas.vault.keyring import load_keys

    if settings.vault.key is None and not settings.vault_key_file.exists():
        _say(f"now bring {settings.vault_key_file} back: without it the service doesn't start")
        return
    with closing(Database(settings.database_url)) as database:
        try:
            keys = load_keys(settings.vault, settings.vault_key_file)
            EmbeddedVault(SecretStore(database), lambda: keys)
        except ConfigurationError as error:
            _say(f"warning: {error}")


def _part(file: Path) -> Path:
    return file.with_name(f"{file.name}.part")


@contextmanager
def _written(file: Path) -> Iterator[IO[bytes]]:
    """A file that appears when the block ends well. What a killed one has left is written over.

    Raises:
        BadRequest: there is such a file, or another process writes it.
        OSError: it can't be written.
    """
    from hpcwaas.common import durable
    from hpcwaas.errors import BadRequest

    if file == _STDOUT:
        if sys.stdout.isatty():
            raise BadRequest("A backup doesn't go to a terminal: send stdout to a file or another command.")
        yield sys.stdout.buffer
        return
    if file.exists():
        raise BadRequest(f"{file} is there already: name another file.")
    part = _part(file)
    lock = durable.lock(part)
    if lock is None:
        raise BadRequest(f"Another process writes {part}.")
    try:
        os.fchmod(lock, 0o600)
        os.ftruncate(lock, 0)
        with os.fdopen(os.dup(lock), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(lock)
        part.rename(file)
        durable.sync_directory(file.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


def _size(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def _say(sentence: str) -> None:
    click.echo(f"hpcwaas-api: {sentence}", err=True)
