"""Questions at a terminal for inputs that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from . import inputs, literals
from .errors import Interrupted, UsageError
from .examples import example
from .globs import is_pattern
from .local_paths import is_there, typed
from .planned import Tell, Upload
from .schemas import Schema, choices, fits, kinds, lists, options, properties, takes_only
from .text import clean
from .workflow_view import about, kind


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
    if (record := _record(own, root)) is not None:
        required = record.get("required") or ()
        return {
            member: _value(f"{name}.{member}", inner, root, upload, tell)
            for member, inner in properties(record).items()
            if member in required
        }
    several = bool(lists(own, root)) and "string" not in kinds(own, root)
    if several:
        _say("  One at a time; an empty line ends the list.")
    if any(map(_is_record, (option for each in (own, *lists(own, root)) for option in options(each, root)))):
        _say(f"  As JSON, such as {literals.dumps(_one(example(own, root)), ascii_only=True)}")
    texts: list[str] = []
    while True:
        text = _ask(f"{name}[{len(texts)}]" if several else name, hidden=own.get("format") == "password")
        try:
            if several and not text:
                return _understood(name, texts, own, root, upload, tell) if texts else []
            value = _understood(name, [*texts, text], own, root, upload, tell if not several else lambda _: None)
        except UsageError as mistake:
            _say(f"  {mistake.message.removeprefix('--inputs ')}")
            continue
        if not several:
            return value
        texts.append(text)


def _record(own: Schema, root: Schema) -> Schema | None:
    """The schema of a record where nothing else is taken."""
    found = [option for option in options(own, root) if option.get("type") != "null"]
    return found[0] if len(found) == 1 and _is_record(found[0]) else None


def _is_record(option: Schema) -> bool:
    return option.get("type") == "object" and bool(properties(option))


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _understood(name: str, texts: Sequence[str], own: Schema, root: Schema, upload: Upload, tell: Tell) -> Any:
    """The value that answers give.

    Raises:
        UsageError: they give none that fits.
    """
    given = [inputs.Given(name, _marked(text, own, root)) for text in texts]
    value = inputs.values(given, {**root, "properties": {name: own}}, upload, tell=tell)[name]
    _check(value, own, root, kind(own, root))
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
    # An id of an upload is one word without a dot.
    is_name = is_there(typed(text)) or is_pattern(text) or (bool({"/", "."} & set(text)) and ":" not in text)
    return f"@{text}" if is_name else text


def _ask(question: str, *, kind: Any = None, hidden: bool = False) -> Any:
    try:
        return click.prompt(
            clean(question), type=kind, default=None if kind else "", show_default=False, err=True, hide_input=hidden
        )
    except click.Abort:
        _say("")
        raise Interrupted("The command was interrupted. Nothing was sent.") from None


def _say(text: str) -> None:
    click.echo(clean(text), err=True)
