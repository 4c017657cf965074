"""`waas completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ..base import Command
from ..errors import UsageError


@click.command(cls=Command, name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish", "powershell"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a script that makes your shell complete commands, options and ids.

    To complete ids, the service is asked for them.

    Bash:
      source <(waas completion bash)
      waas completion bash > ~/.local/share/bash-completion/completions/waas   # permanently

    Zsh:
      source <(waas completion zsh)
      waas completion zsh > "${fpath[1]}/_waas"                                # permanently

    Fish:
      waas completion fish | source
      waas completion fish > ~/.config/fish/completions/waas.fish              # permanently

    PowerShell:
      waas completion powershell | Out-String | Invoke-Expression
      waas completion powershell >> $PROFILE                                   # permanently
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"Completion for {shell} needs click 8.5 or later. Run: pip install --upgrade click")
    root = ctx.find_root()
    # Not `source()`: it starts the shell to look at its version, and what is printed here may be for another machine.
    completer = kind(root.command, {}, str(root.info_name), "_WAAS_COMPLETE")
    click.echo(completer.source_template % completer.source_vars())
