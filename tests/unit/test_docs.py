"""What the pages name exists: links and headings, files, commands with their options, targets of make, settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from waas_cli.main import cli

from hpcwaas.command.main import main
from hpcwaas.configuration.leaves import leaves

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(ROOT.glob("docs/**/*.md"))
COMMANDS: dict[str, click.Command] = {"hpcwaas-api": main, "waas": cli}
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Page and heading of each link inside of the repository."""
    for link in LINK.findall(FENCED.sub("", read(page))):
        if "://" not in link:
            path, _, heading = link.partition("#")
            yield (page.parent / path).resolve() if path else page, heading


def headings(page: Path) -> set[str]:
    """As the places that show Markdown name them in links."""
    found = re.findall(r"^#+ (.+)$", FENCED.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def code(page: Path) -> Iterator[str]:
    """What is typed or named literally: the lines of blocks, and what stands between backticks."""
    text = read(page)
    for block in FENCED.findall(text):
        yield from block.replace("\\\n", "").splitlines()
    yield from (" ".join(found.split()) for found in CODE.findall(FENCED.sub("", text)))


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    assert [
        f"{target}#{heading}"
        for target, heading in links(page)
        if not target.exists() or (heading and heading not in headings(target))
    ] == []


def test_the_index_leads_to_every_page() -> None:
    reached: set[Path] = set()
    ahead = {ROOT / "docs/README.md"}
    while ahead:
        page = ahead.pop()
        reached.add(page)
        ahead |= {target for target, _ in links(page) if target.suffix == ".md"} - reached
    assert set(PAGES) - reached == {ROOT / "README.md"}


def test_every_page_is_in_the_navigation_of_the_site_once() -> None:
    listed = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", read(ROOT / "mkdocs.yml"), re.MULTILINE)
    outside = {"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert sorted(listed) == sorted(pages | outside)


@each_page
def test_files_that_are_named_exist(page: Path) -> None:
    named = {word for text in code(page) for word in re.findall(r"^[\w.-]+(?:/[\w.-]+)+\.(?:py|md|hcl|mako)$", text)}
    assert [name for name in named if not any((ROOT / top / name).exists() for top in ("", "hpcwaas"))] == []


def wrong_in(line: str) -> Iterator[str]:
    """Of the commands in a line, words and options that there aren't."""
    for program, rest in re.findall(r"(?<![\w./-])(hpcwaas-api|waas)(?! on HOST)((?: [\w=.@/'\"-]+)*)", line):
        command = COMMANDS[program]
        # Commands keep the option --help that they make first: it has to be theirs.
        context = click.Context(command, **command.context_settings)
        for word in rest.split():
            if word.startswith("-") and word.strip("-"):
                option = word.partition("=")[0].replace("_", "-")
                known = [*command.get_params(context), *COMMANDS[program].get_params(context)]
                if option not in {name.replace("_", "-") for each in known for name in each.opts}:
                    yield f"{program} … {word}"
            elif isinstance(command, click.Group) and re.fullmatch(r"[a-z_-]+", word):
                found = command.get_command(context, word)
                if found is None:
                    yield f"{program} … {word}"
                    break
                command = found


@each_page
def test_commands_that_are_named_exist(page: Path) -> None:
    assert [wrong for line in code(page) for wrong in wrong_in(line)] == []


@each_page
def test_targets_of_make_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", read(ROOT / "Makefile"), re.MULTILINE))
    named = {word for text in code(page) for word in re.findall(r"\bmake ([a-z-]+)", text)}
    assert named - targets == set()


@each_page
def test_settings_that_are_named_exist(page: Path) -> None:
    settings = [leaf.path for leaf in leaves()]
    known = {".".join(path[:length]) for path in settings for length in range(1, len(path) + 1)}
    sections = {path[0] for path in settings if len(path) > 1}
    named = {text for text in code(page) if re.fullmatch(r"[a-z_]+(?:\.[a-z_]+)+(?<!\.jsonl)", text)}
    assert [name for name in named if name.partition(".")[0] in sections and name not in known] == []
