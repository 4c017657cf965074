"""The command `hpcwaas-api`."""

from __future__ import annotations

import gc
import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import click

from hpcwaas import __version__
from hpcwaas.command.audit import audit
from hpcwaas.command.backup import backup, restore
from hpcwaas.command.catalogue import catalogue
from hpcwaas.command.common import read_settings, reporting, settings_flags
from hpcwaas.command.health import health
from hpcwaas.command.machines import machines
from hpcwaas.command.user import user
from hpcwaas.command.vault import vault

# What the commands need is imported inside them: `--help` answers at once.
if TYPE_CHECKING:
    from hpcwaas.configuration.load import Effective
    from hpcwaas.configuration.settings import Settings

_CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "token_normalize_func": lambda token: token.replace("_", "-"),
    "max_content_width": 100,
}


@click.group(invoke_without_command=True, context_settings=_CONTEXT)
@settings_flags
@click.version_option(__version__, "-V", "--version", prog_name="hpcwaas-api")
@click.pass_context
def main(context: click.Context) -> None:
    """Run and manage the Workflow Execution Service.

    Without a command, this runs the service. Without any configuration the service runs in local mode: for you alone,
    on the loopback interface. It prints its address and how to log in.

    All settings can be given in the configuration file or in variables HWA_...: see `hpcwaas-api config reference`.
    """
    if context.invoked_subcommand is None:
        gc.disable()  # until all is imported, of which nothing becomes garbage
        with reporting():
            effective = read_settings()
            _advise(effective)
            _run(effective.settings)


def _run(settings: Settings) -> None:
    from hpcwaas.app import create_app, measure, prepare_vault
    from hpcwaas.configuration.checks import preflight
    from hpcwaas.server.gunicorn import serve

    gc.freeze()  # forked workers share these pages as long as nobody touches them
    gc.enable()
    preflight(settings)
    made = partial(create_app, secret_ids=prepare_vault(settings), measured=True)
    serve(settings, lambda settings, counts: made(settings, requests=counts), partial(measure, settings))


def _advise(effective: Effective) -> None:
    from hpcwaas.configuration.advice import advice

    for sentence in advice(effective):
        click.echo(f"hpcwaas-api: {sentence}", err=True)


@main.group()
def config() -> None:
    """Check and show the configuration."""


@config.command()
@settings_flags
def check() -> None:
    """Find everything that would prevent the start, except a port in use.

    Exits with 0 and prints OK, or with 1 and names every problem.
    """
    from hpcwaas.configuration.checks import preflight

    with reporting():
        effective = read_settings()
        preflight(effective.settings)
        _advise(effective)
        click.echo("OK")


@config.command()
@settings_flags
def show() -> None:
    """Print the settings in effect and where each came from, secrets masked."""
    from hpcwaas.configuration.text import effective

    with reporting():
        click.echo(effective(read_settings()), nl=False)


@config.command()
def reference() -> None:
    """Print the description of all settings, in Markdown."""
    from hpcwaas.configuration.text import reference as text

    click.echo(text(), nl=False)


@main.command()
def metrics() -> None:
    """Print the description of all metrics, in Markdown."""
    import hpcwaas.app
    import hpcwaas.server.logs  # noqa: F401 # both declare what they count
    from hpcwaas.configuration.metrics import table

    click.echo(table(), nl=False)


@main.group()
def db() -> None:
    """Manage the database."""


@db.command()
@settings_flags
def upgrade() -> None:
    """Upgrade the schema of the database to this version. Does nothing if it is up to date.

    In local mode the service does this by itself. Otherwise it refuses to start until this is done.
    """
    from hpcwaas.configuration.checks import make_data_dir
    from hpcwaas.store.database import Database

    with reporting():
        settings = read_settings().settings
        make_data_dir(settings)
        with closing(Database(settings.database_url)) as database:
            before = database.current()
            database.upgrade()
            after = database.current()
        click.echo(f"{after}: was up to date" if before == after else f"{after}: upgraded from {before or 'nothing'}")


@db.command()
@settings_flags
def current() -> None:
    """Print the revision of the database's schema.

    Exits with 1 when this version needs another one, and says whether services of the version before can go on while it
    is upgraded.
    """
    from hpcwaas.configuration.checks import has_database
    from hpcwaas.store.database import Database

    revision, fits, todo = None, False, "run `hpcwaas-api db upgrade`"
    with reporting():
        settings = read_settings().settings
        if has_database(settings):
            with closing(Database(settings.database_url)) as database:
                revision, fits = database.current(), database.is_current()
                if database.needs_stop():
                    todo = f"stop all services, then {todo}"
                elif revision is not None:
                    todo += "; services of the version that it belongs to may go on"
    click.echo(f"{revision or 'none'}: {'up to date' if fits else todo}")
    sys.exit(0 if fits else 1)


main.add_command(catalogue)
main.add_command(user)
main.add_command(vault)
main.add_command(audit)
main.add_command(backup)
main.add_command(restore)
main.add_command(machines)
main.add_command(health)
