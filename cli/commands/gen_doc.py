"""`waas gen-doc`."""

from __future__ import annotations

from pathlib import Path

import click

from ..base import Command
from ..errors import UsageError
from ..gendoc import FORMS, pages


@click.command(cls=Command, name="gen-doc", hidden=True)
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("form", type=click.Choice(list(FORMS)))
@click.pass_context
def command(ctx: click.Context, directory: Path, form: str) -> None:
    """Write the documentation of all commands into a directory, one file for each command."""
    write, joint, suffix = FORMS[form]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for page in pages(ctx.find_root()):
            (directory / (page.path.replace(" ", joint) + suffix)).write_text(write(page), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"Can't write into {directory}: {error.strerror}.") from None
