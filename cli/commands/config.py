"""`waas config`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from .. import config, printing
from ..base import Group
from ..errors import NotFound, UsageError
from ..profiles import SECRETS, Profiles, changed
from ..shaping import Columns
from ..state import State, pass_state

command = Group(
    "config",
    help="""Show and change the configuration, and choose between several services.

    A profile is a configuration with a name, such as one for each service that you use. The option --profile or the
    variable HW_PROFILE names the one to use for a command; `waas config use` the one for all commands that name none.
    A profile takes the place of the file ~/.waas. Its password or token is never sent to another address than its own.

    Examples:
      waas config set --profile mare api_url=https://waas.example.org
      waas login --profile mare
      waas config use mare
      waas config profiles
    """,
)


@command.command("get")
@click.argument("key", metavar="[KEY]", required=False)
@pass_state
def get(state: State, key: str | None) -> None:
    """Show what the configuration says, and where each value comes from, or the value of one key alone.

    Passwords and tokens are never shown.

    Examples:
      waas config get
      waas config get api_url
    """
    effective = state.config.effective
    rows = [{"key": name, "value": _shown(name, value), "from": source} for name, (value, source) in effective.items()]
    if key is None:
        state.show_list(rows, {"Key": "key", "Value": "value", "From": "from"}, empty="")
        return
    wanted = _known(key)
    found = next((row for row in rows if row["key"] == wanted), None)
    if found is None:
        raise NotFound(f"{wanted} isn't set.")
    if not state.prints_json(found):
        printing.line(found["value"])


@command.command("set")
@click.argument("values", metavar="KEY=VALUE...", nargs=-1, required=True)
@pass_state
def set_values(state: State, values: tuple[str, ...]) -> None:
    """Set keys in the profile that is used, or in ~/.waas when none is. The keys are the names of the global options.

    `KEY=` without a value removes the key. `KEY` alone asks for the value, or reads it from stdin where there is no
    terminal: so no password or token stands in the list of processes or in the history of your shell. Only you can read
    the file.

    Examples:
      waas config set api_url=https://waas.example.org output=yaml
      waas config set access_token < token.txt
      waas config set --profile mare api_url=https://waas.example.org
    """
    # `config set api_url https://…` is what other commands of this kind take.
    if len(values) == 2 and "=" not in values[0] and "=" not in values[1].partition("/")[0]:
        values = (f"{values[0]}={values[1]}",)
    path, _ = config.chosen_file(state.given, os.environ)
    changes: dict[str, str | None] = {}
    for each in values:
        name, equals, value = each.partition("=")
        key = _known(name)
        if not equals:
            value = _asked(key)
        elif key == "access_token" and value:
            state.note(
                "WARNING: others could see the token in the list of processes. Better: waas config set access_token"
            )
        changes[key] = value or None
    config.checked(changes)
    changed(path, changes)
    state.line(f"SUCCESS: Changed {', '.join(changes)} in {path}")


def _asked(key: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(key, hide_input=key in SECRETS, err=True))
    return sys.stdin.readline().rstrip("\r\n")


@command.command("profiles")
@pass_state
def profiles(state: State) -> None:
    """List your profiles: name, address of the service, and which one is used.

    Examples:
      waas config profiles
      waas config profiles --quiet
    """
    kept = Profiles(os.environ)
    _, used = config.chosen_file(state.given, os.environ)
    rows: list[dict[str, Any]] = []
    for name in kept.names():
        content, _ = config.read_file(kept.path(name))
        rows.append({"name": name, "api_url": content.get("api_url"), "used": name == used})
    columns: Columns = {"Profile": "name", "Address": "api_url", "Used": lambda row: "yes" if row["used"] else ""}
    state.show_list(rows, columns, empty="No profiles found. To make one: waas config set --profile NAME api_url=URL")


@command.command("use")
@click.argument("name", metavar="[NAME]", required=False)
@pass_state
def use(state: State, name: str | None) -> None:
    """Use a profile for all commands that name none. Without NAME, the file ~/.waas is used again.

    Examples:
      waas config use mare
      waas config use
    """
    Profiles(os.environ).use(name)
    state.line(f"SUCCESS: {f'The profile {name}' if name else Path.home() / '.waas'} is used from now on.")
    for variable in ("HW_PROFILE", "HW_CONFIG"):
        if os.environ.get(variable):
            state.note(f"WARNING: the variable {variable} still beats that.")


def _known(key: str) -> str:
    wanted = key.lower().replace("-", "_")
    if wanted not in config.KEYS:
        raise UsageError(f'There is no key "{key}". There are: {", ".join(config.KEYS)}.')
    return wanted


def _shown(key: str, value: str) -> str:
    if key == "access_token":
        return "***"
    if key == "user" and ":" in value:
        return f"{value.partition(':')[0]}:***"
    return value
