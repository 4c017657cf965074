"""Questions at a terminal for inputs that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from . import inputs
from .errors import Interrupted, UsageError
from .globs import is_pattern
from .local_paths import is_there, typed
from .mistakes import Mistakes
from .planned import Tell, Upload
from .schemas import Schema, choices, fits, kinds, lists, properties, takes_only
from .text import clean
from .workflow_view import about, kind

_JSON = {"array", "object"}


def missing_values(names: Iterable[str], schema: Schema, upload: Upload, tell: Tell) -> dict[str, Any]:
    """Asks for the values of inputs, again and again until each has one that fits.

    Raises:
        Interrupted: the user wants no more questions.
    """
    return {name: _value(name, properties(schema).get(name, {}), schema, upload, tell) for name in names}


def choice(question: str, words: Sequence[str]) -> str:
    """Asks for one of some words."""
    for number, word in enumerate(words, 1):
        _say(f"  {number}. {word}")
    number = int(_ask(f"{question} (1-{len(words)})", kind=click.IntRange(1, len(words))))
    return words[number - 1]


def _value(name: str, own: Schema, root: Schema, upload: Upload, tell: Tell) -> Any:
    _say(f"{name}: {kind(own, root)}" + (f". {about(own)}" if about(own) else ""))
    several = bool(lists(own, root)) and "string" not in kinds(own, root)
    if several:
        _say("  One at a time; an empty line ends the list.")
    elif "object" in kinds(own, root) and not _files_only(own, root):
        _say('  As JSON, such as {"member": "value"}.')
    texts: list[str] = []
    while True:
        text = _ask(f"{name}[{len(texts)}]" if several else name, hidden=own.get("format") == "password")
        if several and not text:
            if texts:
                return _understood(name, texts, own, root, upload, tell)
            return []
        try:
            value = _understood(name, [text], own, root, upload, tell if not several else lambda _: None)
        except UsageError as mistake:
            _say(f"  {mistake.message.removeprefix('--inputs ')}")
            continue
        if not several:
            return value
        texts.append(text)


def _understood(name: str, texts: Sequence[str], own: Schema, root: Schema, upload: Upload, tell: Tell) -> Any:
    """The value that answers give.

    Raises:
        UsageError: they give none that fits.
    """
    given = [inputs.Given(name, _marked(text, own, root)) for text in texts]
    value = inputs.values(given, root, upload, tell=tell)[name]
    mistakes = Mistakes()
    with mistakes.of(name):
        _check(value, own, root, kind(own, root))
    mistakes.throw()
    return value


def _check(value: Any, own: Schema, root: Schema, expected: str) -> None:
    if isinstance(value, list) and lists(own, root):
        for item in value:
            _check(item, {"anyOf": lists(own, root)}, root, expected)
        return
    words = [word for each in choices(own, root) for word in each.get("enum") or ()]
    others = [each for each in choices(own, root) if "enum" not in each and each.get("type") != "null"]
    if not fits(value, own, root) or (words and not others and value is not None and value not in words):
        raise UsageError(f"Expected {expected}.")


def _files_only(own: Schema, root: Schema) -> bool:
    return takes_only({"File", "Directory"}, own, root)


def _marked(text: str, own: Schema, root: Schema) -> str:
    """An answer with the `@` that a local file needs: where files alone are asked for, nobody types it."""
    if text.startswith("@") or not text or not _files_only(own, root):
        return text
    return f"@{text}" if is_there(typed(text)) or is_pattern(text) or ("/" in text and ":" not in text) else text


def _ask(question: str, *, kind: Any = None, hidden: bool = False) -> Any:
    try:
        return click.prompt(
            clean(question), type=kind, default=None if kind else "", show_default=False, err=True, hide_input=hidden
        )
    except click.Abort:
        raise Interrupted("The command was interrupted. Nothing was sent.") from None


def _say(text: str) -> None:
    click.echo(clean(text), err=True)
