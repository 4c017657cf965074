"""`waas completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .commands import Command
from .errors import UsageError


@click.command(cls=Command, name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish", "powershell"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a completion script for your shell: commands, options, and ids, which the service is asked for.

    Bash:
      source <(waas completion bash)
      waas completion bash > ~/.local/share/bash-completion/completions/waas   # for ever

    Zsh:
      source <(waas completion zsh)
      waas completion zsh > "${fpath[1]}/_waas"                                # for ever

    Fish:
      waas completion fish | source
      waas completion fish > ~/.config/fish/completions/waas.fish              # for ever

    PowerShell:
      waas completion powershell | Out-String | Invoke-Expression
      waas completion powershell >> $PROFILE                                   # for ever
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"Completion for {shell} needs click 8.5 or later: pip install --upgrade click")
    root = ctx.find_root()
    # Not `source()`: it starts the shell to look at its version, and what is printed here may be for another machine.
    completer = kind(root.command, {}, str(root.info_name), "_WAAS_COMPLETE")
    click.echo(completer.source_template % completer.source_vars())
