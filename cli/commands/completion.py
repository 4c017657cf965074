"""`waas completion`."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from ..base import Command
from ..errors import UsageError, WaasError
from ..state import State, pass_state

_SHELLS = ("bash", "zsh", "fish", "powershell")


@click.command(cls=Command, name="completion")
@click.argument("shell", type=click.Choice([*_SHELLS, "install"]))
@click.argument("for_shell", metavar="[SHELL]", type=click.Choice(_SHELLS), required=False)
@pass_state
@click.pass_context
def command(ctx: click.Context, state: State, shell: str, for_shell: str | None) -> None:
    """Print a script that makes your shell complete commands, options and ids, or install it.

    To complete ids, the service is asked for them. `install` writes the script to where bash, zsh or fish look for it;
    without SHELL it is for the one that you use. Nothing else is changed.

    Example:
      waas completion install

    In this shell alone:
      source <(waas completion bash)
      source <(waas completion zsh)
      waas completion fish | source
      waas completion powershell | Out-String | Invoke-Expression

    PowerShell, permanently:
      waas completion powershell >> $PROFILE
    """
    if shell == "install":
        _install(ctx, state, for_shell or Path(os.environ.get("SHELL", "")).name)
        return
    if for_shell is not None:
        raise UsageError("Give one shell.")
    click.echo(_script(ctx, shell))


def _script(ctx: click.Context, shell: str) -> str:
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"Completion for {shell} needs click 8.5 or later. Run: pip install --upgrade click")
    root = ctx.find_root()
    # Not `source()`: it starts the shell to look at its version, and what is printed here may be for another machine.
    completer = kind(root.command, {}, str(root.info_name), "_WAAS_COMPLETE")
    return str(completer.source_template % completer.source_vars())


def _install(ctx: click.Context, state: State, shell: str) -> None:
    data = _base("XDG_DATA_HOME", ".local/share")
    places = {
        "bash": data / "bash-completion" / "completions" / "waas",
        "zsh": data / "zsh" / "site-functions" / "_waas",
        "fish": _base("XDG_CONFIG_HOME", ".config") / "fish" / "completions" / "waas.fish",
    }
    if shell not in places:
        which = f'the shell "{shell}"' if shell else "a shell that isn't named by the variable SHELL"
        raise UsageError(
            f"Completion for {which} can't be installed.",
            hint=f"There are: {', '.join(places)}. To see the script for PowerShell: waas completion powershell",
        )
    path = places[shell]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_script(ctx, shell) + "\n", encoding="utf-8")
    except OSError as error:
        raise WaasError(f"Can't write {path}: {error.strerror}.") from None
    state.line(f"SUCCESS: Installed completion for {shell}: {path}. It works in shells that you start from now on.")
    if shell == "bash":
        state.note("It needs the package bash-completion, which most systems have.")
    elif shell == "zsh":
        state.note(f"If ~/.zshrc doesn't say so yet, put in before compinit: fpath=({path.parent} $fpath)")


def _base(variable: str, usual: str) -> Path:
    """A directory of the XDG rules, by which what isn't absolute doesn't count."""
    named = os.environ.get(variable, "")
    return Path(named) if named.startswith("/") else Path.home() / usual
