"""The commands `hpcwaas-api audit …`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hpcwaas.command.common import read_settings, reporting, settings_flags


@click.group()
def audit() -> None:
    """Check the audit: the record of who did what."""


@audit.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--contains",
    metavar="DIGEST",
    help=(
        "Also find the record with this digest, which an earlier check printed for its last record: if it is there, "
        "nothing before it has changed."
    ),
)
@settings_flags
def verify(files: tuple[Path, ...], contains: str | None) -> None:
    """Find out whether records were changed, removed or added since they were written.

    FILES are files of one trail, the oldest first, those that end in .gz compressed; by default the file that the
    service writes to. Exits with 0 when the chain is whole, with 1 when it isn't.
    """
    from hpcwaas.common.chained import verify as follow

    with reporting():
        files = files or (read_settings().settings.audit_file,)
    try:
        found = follow(files, contains)
    except OSError as error:
        click.echo(f"hpcwaas-api: {error.filename or files[0]} can't be read: {error.strerror or error}", err=True)
        sys.exit(1)
    for fault in found.faults:
        click.echo(fault)
    if contains and not found.contains:
        click.echo(f"No record has the digest {contains}: it was changed or removed, or is in another file.")
    if found.unchained:
        click.echo(
            f"{found.unchained} records at the beginning are older than the chain, so changes of them can't be found."
        )
    if found.continues:
        click.echo("The first record continues a file that wasn't given.")
    if found.faults or (contains and not found.contains):
        sys.exit(1)
    click.echo(f"{found.records} records, none changed, removed or added between them.")
    if found.last:
        click.echo(
            f"The digest of the last one is {found.last}. Keep it on another machine: with --contains it shows later "
            "that nothing before it has changed."
        )
