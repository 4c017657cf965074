"""How all commands behave: options before and after the command, `_` and `-` alike, aliases, help."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import click

from .state import State

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def normalise(token: str) -> str:
    """One spelling for `api_url` and `api-url`."""
    return token.replace("_", "-")


class GlobalOption(click.Option):
    """An option that every command takes; what it says goes into the `State`."""


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE:
        context.ensure_object(State).given[str(parameter.name)] = value


def _global_options(own: Sequence[click.Parameter]) -> list[click.Parameter]:
    """The options that every command takes, without those whose names the command uses itself."""
    taken = {name for parameter in own for name in parameter.opts}

    def option(*names: str, **attributes: Any) -> GlobalOption:
        return GlobalOption(names, expose_value=False, callback=_remember, **attributes)

    options = [
        option("-o", "--output", metavar="text|json", help="Output format. [default: text]"),
        option("--config", metavar="FILE", help="Configuration file. [default: $HOME/.waas]"),
        option("--api_url", metavar="URL", help="Address of the service. [default: https://127.0.0.1:9090]"),
        option(
            "-u",
            "--user",
            metavar="NAME[:PASSWORD]",
            help="Sign in with a password; it is asked for when it is missing. The first colon splits.",
        ),
        option("-t", "--access_token", metavar="TOKEN", help="Sign in with a token."),
        option("--ca_file", metavar="FILE", help="Trust these certificate authorities."),
        option("--ca_path", metavar="DIR", help="Trust the certificate authorities in this directory."),
        option("--cert_file", metavar="FILE", help="TLS client certificate."),
        option("--key_file", metavar="FILE", help="Key of the TLS client certificate."),
        option("--skip_tls_verify", is_flag=True, help="Do not check the service's certificate. Dangerous."),
        option("--debug", is_flag=True, help="Trace the requests on stderr, without secrets."),
    ]
    return [option for option in options if not taken.intersection(option.opts)]


def _keep_lines(text: str | None) -> str | None:
    """Marks the paragraphs with indented lines, examples say, so that click doesn't fill them."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(f"\b\n{each}" if "\n " in each else each for each in paragraphs) or None


class _Behaviour(click.Command):
    """What commands and groups of this program share.

    Args:
        aliases: further names.
    """

    def __init__(
        self,
        name: str | None,
        *,
        aliases: Sequence[str] = (),
        params: list[click.Parameter] | None = None,
        help: str | None = None,  # noqa: A002 - click's name
        **attributes: Any,
    ) -> None:
        own = params or []
        super().__init__(name, params=[*own, *_global_options(own)], help=_keep_lines(help), **attributes)
        self.aliases = tuple(aliases)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes `--flag=true` and `-o=json` as well, which scripts may use."""
        flags = {
            normalise(name)
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and parameter.is_flag
            for name in parameter.opts
        }
        rewritten: list[str] = []
        for index, word in enumerate(args):
            if word == "--":
                rewritten += args[index:]
                break
            long = re.fullmatch(r"(--[\w-]+)=(true|false|1|0)", word)
            if long and normalise(long[1]) in flags:
                rewritten += [long[1]] if _BOOLEANS[long[2]] else []
            elif re.match(r"-[a-z]=", word):
                rewritten += [word[:2], word[3:]]
            else:
                rewritten.append(word)
        return super().parse_args(ctx, rewritten)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Adds the aliases."""
        super().format_help_text(ctx, formatter)
        if self.aliases:
            with formatter.section("Aliases"):
                formatter.write_text(", ".join([str(self.name), *self.aliases]))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Keeps the options of all commands apart from its own."""
        for title, common in (("Options", False), ("Global options", True)):
            records = [
                record
                for parameter in self.get_params(ctx)
                if isinstance(parameter, click.Option)
                and isinstance(parameter, GlobalOption) is common
                and (record := parameter.get_help_record(ctx))
            ]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Command(_Behaviour):
    """A command."""


owner_option = click.option(
    "--owner", metavar="NAME", help="For operators: whose to list, `*` for everybody's. [default: your own]"
)


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is imported when it is called.

    Attributes:
        module: of this package; the command is its member `command`.
    """

    module: str
    short_help: str
    aliases: tuple[str, ...] = ()
    hidden: bool = False


class Group(_Behaviour, click.Group):
    """A group of commands. Called alone it shows its help, or does what its callback does.

    Args:
        lazy: commands that are imported when they are called.
    """

    command_class = Command

    def __init__(self, name: str | None, *, lazy: dict[str, Lazy] | None = None, **attributes: Any) -> None:
        super().__init__(name, invoke_without_command=True, no_args_is_help=False, **attributes)
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, without aliases."""
        return sorted([*self.commands, *self.lazy])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name or alias, however it is spelt."""
        wanted = normalise(cmd_name)
        for name, command in self.commands.items():
            if wanted in (normalise(name), *map(normalise, getattr(command, "aliases", ()))):
                return command
        for name, entry in self.lazy.items():
            if wanted in (normalise(name), *map(normalise, entry.aliases)):
                return cast(click.Command, import_module(f".{entry.module}", __package__).command)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command in the arguments; says which one may be meant when there is none."""
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            ctx.fail(f'unknown command "{args[0]}" for "{ctx.command_path}".{hint}')
        return (command.name if command else None), command, args[1:]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Puts the commands before the options."""
        self.format_commands(ctx, formatter)
        _Behaviour.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without importing the lazy ones."""
        rows = [(name, entry.short_help) for name, entry in self.lazy.items() if not entry.hidden]
        rows += [
            (name, command.get_short_help_str(200)) for name, command in self.commands.items() if not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))
