"""What the commands of `hpcwaas-api` have in common. Light: `--help` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcwaas.configuration.flags import FLAGS
from hpcwaas.errors import ConfigurationError, ServiceError

if TYPE_CHECKING:
    from hpcwaas.configuration.load import Effective
    from hpcwaas.configuration.settings import Settings
    from hpcwaas.store.audit import Audit

_F = TypeVar("_F", bound=Callable[..., Any])
_GIVEN = "hpcwaas.flags"


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Notes a flag for `read_settings`; they are accepted before and after the subcommand."""
    if value is not None and value is not False:
        context.meta.setdefault(_GIVEN, {})[f"--{parameter.name}"] = value


def settings_flags(command: _F) -> _F:
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


def given(name: str) -> str | None:
    """What a flag says, without reading any other setting."""
    value = click.get_current_context().meta.get(_GIVEN, {}).get(name)
    return None if value is None else str(value)


def read_settings() -> Effective:
    """The settings of file, environment and flags.

    Raises:
        ConfigurationError: the service can't start with them.
    """
    from hpcwaas.command.process_list import hide
    from hpcwaas.configuration.checks import contradictions
    from hpcwaas.configuration.load import read
    from hpcwaas.server import listening

    flags = dict(click.get_current_context().meta.get(_GIVEN, {}))
    hide(str(flags[flag.name]) for flag in FLAGS if flag.secret and flag.name in flags)
    found = read(
        flags.pop("--config", None),
        os.environ,
        flags,
        lambda settings: chain(listening.problems(settings), contradictions(settings)),
    )
    for warning in found.warnings:
        click.echo(f"hpcwaas-api: warning: {warning}", err=True)
    return found


def open_audit(settings: Settings) -> Audit:
    """The record of acts; to be closed.

    Raises:
        ConfigurationError: see `Audit`.
    """
    from hpcwaas.common.scrubbing import scrubber_of
    from hpcwaas.store.audit import Audit

    return Audit(settings.audit_file, settings.audit.syslog, scrubber_of(settings))


@contextmanager
def reporting() -> Iterator[None]:
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


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows below the names of their columns, as wide as they need to be."""
    cells = [[harmless(cell) for cell in line] for line in (columns, *rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def harmless(text: str) -> str:
    """A text without what steers a terminal: names come from elsewhere, too."""
    return "".join(it if it.isprintable() else "?" for it in text)
