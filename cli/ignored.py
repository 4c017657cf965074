"""The file `.waasignore` in a directory: what isn't uploaded of it, in the words of `.gitignore`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .errors import UsageError

NAME = ".waasignore"


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    keeps: bool
    directories_only: bool


class Ignore:
    """The rules of one directory.

    Args:
        lines: each a pattern. The last that matches decides; `!` before it keeps what it matches.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._rules = [rule for line in lines if (rule := _rule(line))]

    @classmethod
    def of(cls, directory: Path) -> Self:
        """The rules in the directory's own `.waasignore`.

        Raises:
            UsageError: it can't be read.
        """
        try:
            return cls((directory / NAME).read_text(encoding="utf-8-sig").splitlines())
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise UsageError(f"Can't read {directory / NAME}: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise UsageError(f"{directory / NAME} isn't text in UTF-8.") from None

    def matches(self, way: str, *, is_directory: bool) -> bool:
        """Whether a file or directory is left out.

        Args:
            way: to it from the directory, with `/` between names. A directory that is left out isn't looked into.
        """
        if way == NAME:
            return True
        for rule in reversed(self._rules):
            if (is_directory or not rule.directories_only) and rule.pattern.fullmatch(way):
                return not rule.keeps
        return False


def _rule(line: str) -> _Rule | None:
    text = re.sub(r"(?<!\\)\s+$", "", line)
    if not text or text.startswith("#"):
        return None
    keeps = text.startswith("!")
    text = text[keeps:]
    directories_only = text.endswith("/")
    text = text.rstrip("/")
    # As in .gitignore: a slash inside ties the pattern to the directory, without one it matches at any depth.
    begin = "" if "/" in text else "(?:.*/)?"
    return _Rule(re.compile(begin + _expression(text.lstrip("/")), re.DOTALL), keeps, directories_only)


_PARTS = re.compile(
    r"(?P<any>(?:(?<=/)|^)\*\*/)|(?P<rest>(?<=/)\*\*$)|(?P<star>\*+)|(?P<one>\?)|(?P<set>\[[!^]?\]?[^\]]*\])|\\(?P<escaped>.)"
)


def _expression(text: str) -> str:
    """A pattern of .gitignore as a regular expression."""
    found, last = "", 0
    for part in _PARTS.finditer(text):
        found += re.escape(text[last : part.start()])
        last = part.end()
        match part.lastgroup:
            case "any":
                found += "(?:.*/)?"
            case "rest":
                found += ".*"
            case "star":
                found += "[^/]*"
            case "one":
                found += "[^/]"
            case "set":
                found += _set(part["set"])
            case _:
                found += re.escape(part["escaped"])
    return found + re.escape(text[last:])


def _set(text: str) -> str:
    """`[a-z]` or `[!a-z]`."""
    negated = text[1] in "!^"
    members = re.sub(r"([\\\[\]&~|^])", r"\\\1", text[2 if negated else 1 : -1])
    made = f"[{'^/' if negated else ''}{members}]"
    try:
        re.compile(made)
    except re.error:  # `[z-a]` matches nothing
        return "(?!)"
    return f"(?!/){made}"
