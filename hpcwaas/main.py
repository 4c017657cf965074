"""The command `hpcwaas-api`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcwaas import __version__
from hpcwaas.errors import ConfigurationError, ServiceError
from hpcwaas.flags import FLAGS

# What the commands need is imported inside them: `--help` answers at once.
if TYPE_CHECKING:
    from hpcwaas.configuration import Effective
    from hpcwaas.settings import Settings

_F = TypeVar("_F", bound=Callable[..., Any])
_GIVEN = "hpcwaas.flags"
_CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "token_normalize_func": lambda token: token.replace("_", "-"),
    "max_content_width": 100,
}


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Notes a flag for `_read`; they are accepted before and after the subcommand."""
    if value is not None and value is not False:
        context.meta.setdefault(_GIVEN, {})[f"--{parameter.name}"] = value


def _settings_flags(command: _F) -> _F:
    """Adds `--config` and the flags that are settings."""
    for flag in reversed(FLAGS):
        command = click.option(
            flag.name,
            *([flag.short] if flag.short else []),
            help=flag.help,
            hidden=flag.help is None,
            is_flag=flag.switch,
            default=None,
            expose_value=False,
            callback=_remember,
        )(command)
    return click.option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_remember,
        help="Configuration file. Default: $HOME/.hpcwaas-api.yaml, else /etc/hpcwaas-api/hpcwaas-api.yml.",
    )(command)


def _read() -> Effective:
    from hpcwaas.configuration import read

    flags = dict(click.get_current_context().meta.get(_GIVEN, {}))
    return read(flags.pop("--config", None), os.environ, flags)


@contextmanager
def _reporting() -> Iterator[None]:
    """Turns what stands in the way into plain lines on stderr and exit code 1."""
    try:
        yield
    except (ConfigurationError, ServiceError) as error:
        lines = str(error).splitlines()
        if len(lines) == 1:
            click.echo(f"hpcwaas-api: {lines[0]}", err=True)
        else:
            click.echo("\n  ".join([f"hpcwaas-api: {len(lines)} problems with the configuration:", *lines]), err=True)
        sys.exit(1)


@click.group(invoke_without_command=True, context_settings=_CONTEXT)
@_settings_flags
@click.version_option(__version__, "-V", "--version", prog_name="hpcwaas-api")
@click.pass_context
def main(context: click.Context) -> None:
    """Serve workflows: list what may be run, run it, follow it, fetch its outputs.

    Without a command it runs the service. With no configuration at all that is the local mode: for you alone, on the
    loopback interface; it prints the address and how to log in.

    Every setting can also stand in the configuration file or in a variable HWA_...: `hpcwaas-api config reference`.
    """
    if context.invoked_subcommand is None:
        with _reporting():
            _run(_read().settings)


def _run(settings: Settings) -> None:
    from hpcwaas.app import create_app, prepare_vault
    from hpcwaas.preflight import preflight
    from hpcwaas.serve import serve

    preflight(settings)
    serve(settings, partial(create_app, secret_id=prepare_vault(settings)))


@main.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@_settings_flags
def check() -> None:
    """Find everything that would stop the start, but for a port in use.

    Exits with 0 and prints OK, or with 1 and names every problem.
    """
    from hpcwaas.preflight import preflight

    with _reporting():
        preflight(_read().settings)
        click.echo("OK")


@config.command()
@_settings_flags
def show() -> None:
    """Print the settings in effect and where each came from, secrets masked."""
    from hpcwaas.configuration_text import effective

    with _reporting():
        click.echo(effective(_read()), nl=False)


@config.command()
def reference() -> None:
    """Print the description of all settings, in Markdown."""
    from hpcwaas.configuration_text import reference as text

    click.echo(text(), nl=False)


@main.group()
def db() -> None:
    """Look after the database."""


@db.command()
@_settings_flags
def upgrade() -> None:
    """Bring the database's schema to this version's. Harmless when it is already.

    The local mode does this by itself; any other refuses to start before it is done.
    """
    from hpcwaas.preflight import make_data_dir
    from hpcwaas.store.database import Database

    with _reporting():
        settings = _read().settings
        make_data_dir(settings)
        database = Database(settings.database_url)
        before = database.current()
        database.upgrade()
        after = database.current()
        click.echo(f"{after}: was up to date" if before == after else f"{after}: upgraded from {before or 'nothing'}")


@db.command()
@_settings_flags
def current() -> None:
    """Print the revision of the database's schema.

    Exits with 1 when this version needs another one.
    """
    from hpcwaas.preflight import has_database
    from hpcwaas.store.database import Database

    revision, fits = None, False
    with _reporting():
        settings = _read().settings
        if has_database(settings):
            database = Database(settings.database_url)
            revision, fits = database.current(), database.is_current()
    click.echo(f"{revision or 'none'}: {'up to date' if fits else 'run `hpcwaas-api db upgrade`'}")
    sys.exit(0 if fits else 1)
