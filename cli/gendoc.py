"""The documentation of all commands, as pages and as one."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from .base import GlobalOption, Group


@dataclass(frozen=True, slots=True)
class Page:
    """The documentation of one command.

    Attributes:
        path: `waas workflows list`.
        text: paragraphs; those whose lines are to stay as they are begin with two spaces or hold such lines.
        options, global_options: forms and meaning of each.
        commands: names and meaning of the commands of a group.
    """

    path: str
    usage: str
    text: tuple[str, ...]
    aliases: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    global_options: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]

    @property
    def lists(self) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
        """What is listed below the text, by titles, without empty lists."""
        found = (("Commands", self.commands), ("Options", self.options), ("Global options", self.global_options))
        return tuple((title, rows) for title, rows in found if rows)

    @property
    def summary(self) -> str:
        """The first sentence."""
        return self.text[0].split("\n")[0] if self.text else ""


def pages(context: click.Context) -> Iterator[Page]:
    """The pages of a command and all below it, hidden ones left out."""
    command = context.command
    root = context.find_root().command
    of_the_root = [] if command is root else [it.opts for it in root.params if not isinstance(it, GlobalOption)]
    options: list[tuple[str, str]] = []
    common: list[tuple[str, str]] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record:
            shared = isinstance(parameter, GlobalOption) or parameter.opts in of_the_root
            (common if shared else options).append(record)
    below: list[tuple[str, click.Command]] = []
    if isinstance(command, click.Group):
        known = command.candidates() if isinstance(command, Group) else command.commands.values()
        below = sorted((str(each.name), each) for each in known if not each.hidden)
    yield Page(
        path=context.command_path,
        usage=" ".join([context.command_path, *command.collect_usage_pieces(context)]),
        text=tuple(inspect.cleandoc(command.help or "").replace("\b\n", "\b").split("\n\n")),
        aliases=getattr(command, "aliases", ()),
        options=tuple(options),
        global_options=tuple(common),
        commands=tuple((name, each.get_short_help_str(200)) for name, each in below),
    )
    for name, each in below:
        yield from pages(click.Context(each, context, info_name=name))


def _preformatted(paragraph: str) -> tuple[str, str] | None:
    """Title and body of a paragraph whose lines stay as they are; None for flowing text."""
    if not paragraph.startswith("\b"):
        return None
    title, _, body = paragraph[1:].partition("\n")
    return (title, body) if title.endswith(":") else ("", paragraph[1:])


def _flow(paragraph: str) -> str:
    return " ".join(paragraph.split())


def markdown(page: Page, *, with_global: bool = True) -> str:
    """A page in Markdown."""
    parts = [f"## {page.path}"]
    for paragraph in page.text:
        block = _preformatted(paragraph)
        if block is None:
            parts.append(_flow(paragraph))
        else:
            parts += [*([block[0]] if block[0] else []), f"```\n{textwrap.dedent(block[1])}\n```"]
    parts.append(f"```\n{page.usage}\n```")
    if page.aliases:
        parts.append("Aliases: " + ", ".join(f"`{alias}`" for alias in page.aliases))
    for title, rows in page.lists:
        if rows is not page.global_options or with_global:
            lines = [f"| `{name.replace('|', chr(92) + '|')}` | {text} |" for name, text in rows]
            parts.append("\n".join([f"| {title.removesuffix('s')} | |", "| --- | --- |", *lines]))
    return "\n\n".join(parts) + "\n"


def rst(page: Page) -> str:
    """A page in reStructuredText."""
    parts = [f"{page.path}\n{'-' * len(page.path)}"]
    for paragraph in page.text:
        block = _preformatted(paragraph)
        parts.append(_flow(paragraph) if block is None else f"{block[0]}:\n\n{_indent(block[1])}".lstrip(":\n"))
    parts.append(f"::\n\n  {page.usage}")
    if page.aliases:
        parts.append("Aliases: " + ", ".join(page.aliases))
    for title, rows in page.lists:
        parts.append(f"{title}\n{'~' * len(title)}")
        parts.append("\n".join(f"``{name}``\n  {text}" for name, text in rows))
    return "\n\n".join(parts) + "\n"


def _indent(body: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in textwrap.dedent(body).splitlines())


def man(page: Page) -> str:
    """A page for `man`, section 1."""
    name = page.path.replace(" ", "-")

    def plain(text: str) -> str:
        escaped = text.replace("\\", "\\e").replace("-", "\\-")
        return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in escaped.splitlines())

    parts = [f'.TH "{name.upper()}" 1', f".SH NAME\n{plain(name)} \\- {plain(page.summary)}"]
    parts += [f".SH SYNOPSIS\n{plain(page.usage)}", ".SH DESCRIPTION"]
    for paragraph in page.text:
        block = _preformatted(paragraph)
        if block is None:
            parts.append(f".PP\n{plain(_flow(paragraph))}")
        else:
            parts.append(f".PP\n{plain(block[0])}\n.PP\n.nf\n{plain(block[1])}\n.fi")
    if page.aliases:
        parts.append(f".SH ALIASES\n{plain(', '.join(page.aliases))}")
    for title, rows in page.lists:
        parts.append(f".SH {title.upper()}")
        parts += [f".TP\n\\fB{plain(option)}\\fR\n{plain(text)}" for option, text in rows]
    return "\n".join(parts) + "\n"


def yaml(page: Page) -> str:
    """A page as data."""
    from yaml import safe_dump

    def options(rows: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
        return [{"name": name, "usage": text} for name, text in rows]

    content = {
        "name": page.path,
        "synopsis": page.summary,
        "description": "\n\n".join(page.text).replace("\b", ""),
        "usage": page.usage,
        "aliases": list(page.aliases),
        "options": options(page.options),
        "inherited_options": options(page.global_options),
        "commands": [name for name, _ in page.commands],
    }
    return safe_dump(
        {key: value for key, value in content.items() if value}, sort_keys=False, allow_unicode=True, width=100_000
    )


def reference(root: click.Command, name: str = "waas") -> str:
    """All commands on one page, in Markdown."""
    found = list(pages(click.Context(root, info_name=name, **root.context_settings)))
    head = f"# The command `{name}`\n\n<!-- Made from the commands by `make references`. -->\n"
    return "\n".join([head, *(markdown(page, with_global=index == 0) for index, page in enumerate(found))])


FORMS: dict[str, tuple[Callable[[Page], str], str, str]] = {
    "man": (man, "-", ".1"),
    "rst": (rst, "_", ".rst"),
    "yaml": (yaml, "_", ".yaml"),
    "md": (markdown, "_", ".md"),
}
"""How a page is written, what stands between the words of its file's name, and the name's suffix."""


if __name__ == "__main__":
    from .main import cli

    sys.stdout.write(reference(cli))
