"""What all commands are made of: options before and after the command, `_` and `-` alike, aliases, help."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import click

from . import commands
from .state import State

MOST_LISTED = 1000
"""The longest page that the service gives."""
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def normalise(token: str) -> str:
    """One spelling for `api_url` and `api-url`."""
    return token.replace("_", "-")


class GlobalOption(click.Option):
    """An option that every command takes; its value goes into the `State`."""


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE:
        context.ensure_object(State).given[str(parameter.name)] = value


def _option(*names: str, **attributes: Any) -> GlobalOption:
    return GlobalOption(names, expose_value=False, callback=_remember, **attributes)


_GLOBAL_OPTIONS = (
    _option(
        "-o",
        "--output",
        metavar="text|json|jsonl|yaml",
        help="Output format; `jsonl` is JSON with a line for each item of a list. [default: text]",
    ),
    _option(
        "--columns",
        metavar="NAMES",
        help="Show these columns of a list: headings, or members that `-o json` shows, such as `id,status`.",
    ),
    _option(
        "--sort",
        metavar="NAMES",
        help="Sort what is listed by these members, such as `status,-created_at`; `-` is downwards.",
    ),
    _option("--quiet", is_flag=True, help="Print nothing but ids, what was asked for, and errors."),
    _option("--config", metavar="FILE", help="Configuration file. [default: $HOME/.waas]"),
    _option("--profile", metavar="NAME", help="The profile to use, see `waas config`, in place of a file."),
    _option("--api_url", metavar="URL", help="Address of the service. [default: https://127.0.0.1:9090]"),
    _option(
        "-u",
        "--user",
        metavar="NAME[:PASSWORD]",
        help="Sign in with a password, which is asked for when it is missing. The name ends at the first colon.",
    ),
    _option("-t", "--access_token", metavar="TOKEN", help="Sign in with an access token."),
    _option("--ca_file", metavar="FILE", help="Trust the certificate authorities in this file, and no others."),
    _option("--ca_path", metavar="DIR", help="Trust the certificate authorities in this directory, and no others."),
    _option("--cert_file", metavar="FILE", help="TLS client certificate."),
    _option("--key_file", metavar="FILE", help="Private key of the TLS client certificate."),
    _option("--skip_tls_verify", is_flag=True, help="Don't check the service's certificate. This is dangerous."),
    _option("--debug", is_flag=True, help="Show the requests and answers on stderr, without secrets."),
)


def _keep_lines(text: str | None) -> str | None:
    """Marks paragraphs with indented lines, such as examples, so that click doesn't reflow them."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(f"\b\n{each}" if "\n " in each else each for each in paragraphs) or None


class Command(click.Command):
    """A command, which takes the options of all commands beside its own.

    Args:
        aliases: further names.
        params: its own options and arguments; those of all commands are added, but for names that it uses itself.
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
        taken = {name for parameter in own for name in parameter.opts}
        common = [option for option in _GLOBAL_OPTIONS if not taken.intersection(option.opts)]
        super().__init__(name, params=[*own, *common], help=_keep_lines(help), **attributes)
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


owner_option = click.option(
    "--owner", metavar="NAME", help="For operators: list what NAME owns, or everybody with `*`. [default: you]"
)
follow_option = click.option(
    "-f", "--follow", is_flag=True, help="Follow the execution until it ends; the exit code tells how it ended."
)
links_option = click.option(
    "--links",
    type=click.Choice(("files", "follow", "skip")),
    default="files",
    show_default=True,
    help="What becomes of symbolic links in a directory that is uploaded. `files`: the files that links lead to are "
    "sent, links to directories are refused; `follow`: directories are sent, too; `skip`: links are left out.",
)


def page_options(function: click.decorators.FC) -> click.decorators.FC:
    """Gives a command that lists page after page the options `--limit` and `--all`."""
    limit = click.IntRange(1, MOST_LISTED)
    for option in (
        click.option("--all", "everything", is_flag=True, help="List all of them."),
        click.option("--limit", metavar="N", type=limit, default=50, show_default=True, help="List at most N."),
    ):
        function = option(function)
    return function


class Group(Command, click.Group):
    """A group of commands. Called alone it shows its help, unless it has a callback."""

    command_class = Command

    def __init__(self, name: str | None, **attributes: Any) -> None:
        attributes.setdefault("callback", _explain)
        super().__init__(name, invoke_without_command=True, no_args_is_help=False, **attributes)

    def candidates(self, wanted: str = "") -> Iterator[click.Command]:
        """All commands of the group, possibly with the one named `wanted` first."""
        yield from self.commands.values()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, without aliases."""
        return sorted(str(command.name) for command in self.candidates())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name or alias, however it is spelt."""
        wanted = normalise(cmd_name)
        for command in self.candidates(wanted):
            if wanted in map(normalise, (str(command.name), *getattr(command, "aliases", ()))):
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command in the arguments, or suggests one whose name is similar."""
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            ctx.fail(f'"{ctx.command_path}" has no command "{args[0]}".{hint}')
        return (command.name if command else None), command, args[1:]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Puts the commands before the options."""
        rows = [(str(each.name), each.get_short_help_str(200)) for each in self.candidates() if not each.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))
        Command.format_options(self, ctx, formatter)


class Root(Group):
    """The group of all commands: every module of `commands` that has a member `command`."""

    def candidates(self, wanted: str = "") -> Iterator[click.Command]:
        """Imports one module after another, first the one named `wanted`, so that no other need be imported."""
        modules = [module.name for module in pkgutil.iter_modules(commands.__path__)]
        for module in sorted(modules, key=lambda name: normalise(name) != wanted):
            command = getattr(import_module(f"{commands.__name__}.{module}"), "command", None)
            if command is not None:
                yield command


@click.pass_context
def _explain(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
