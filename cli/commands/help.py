"""`waas help`."""

from __future__ import annotations

import click

from ..base import Command, Group


@click.command(cls=Command, name="help")
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of a command.

    Examples:
      waas help
      waas help workflows trigger
    """
    context = ctx.find_root()
    for word in words:
        group = context.command
        found = group.get_command(context, word) if isinstance(group, Group) else None
        if found is None:
            raise click.UsageError(f'"{context.command_path}" has no command "{word}".', context)
        context = click.Context(found, context, info_name=found.name)
    click.echo(context.get_help())
