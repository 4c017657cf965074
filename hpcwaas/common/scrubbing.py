"""Masks secrets in texts: whatever form they are written in."""

from __future__ import annotations

import base64
import json
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from pydantic import BaseModel, SecretBytes, SecretStr

from hpcwaas.common.setting_types import SECRET_PARAMETER

MASK = "********"
"""Stands where a secret was."""
_SHORTEST_SECRET = 4
"""Masking anything shorter would make the log unreadable and tell where it stands."""
_BASE64 = frozenset(string.ascii_letters + string.digits + "+/-_=")
_SHORTEST_CORE = 6
"""Shorter parts of base64 may stand in any id."""
_CREDENTIALS = re.compile(
    r"""(?P<header>authorization["']?\s*[:=,]\s*b?["']?(?:\w+\s+)?)[^\s"',;)]+  # also in a dict
      | (?P<scheme>\b(?:basic|bearer)\s+)[A-Za-z0-9+/=._~-]{16,}
      | (?P<user>://[^/\s:@]*:)[^/\s@]+(?=@)
      | (?P<token>hpcwaas_(?:pat|ses|ref)_)[A-Za-z0-9_-]+
      | (?P<encoded>aHBjd2Fhc19(?:wYXRf|zZXNf|yZWZf))[A-Za-z0-9+/_-]+  # the same in base64
    """,
    re.IGNORECASE | re.VERBOSE,
)


def scrubber_of(settings: BaseModel, *more_secrets: str) -> Callable[[str], str]:
    """The function that masks secrets in a text: those of the settings, and whatever has the form of one of ours."""
    return _Scrubber([*secrets_in(settings), *more_secrets])


def secrets_in(section: BaseModel) -> Iterator[str]:
    """Every secret of the settings: what has the type of one, and passwords in URLs. A default is none: it is known."""
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if value != info.default:
            yield from _secrets_in(value)


def _secrets_in(value: object) -> Iterator[str]:
    match value:
        case SecretStr() | SecretBytes():
            secret = value.get_secret_value()
            yield secret if isinstance(secret, str) else secret.decode(errors="replace")
        case BaseModel():
            yield from secrets_in(value)
        case str():
            yield from _secrets_of_url(value)
        case Mapping():
            for member in value.values():
                yield from _secrets_in(member)
        case tuple() | list() | set() | frozenset():
            for member in value:
                yield from _secrets_in(member)


def _secrets_of_url(text: str) -> Iterator[str]:
    if "://" not in text:
        return
    try:
        parts = urlsplit(text)
    except ValueError:
        return
    if parts.password:
        yield from {parts.password, unquote(parts.password)}
    # Drivers of databases take it so, too.
    for name, value in parse_qsl(parts.query):
        if SECRET_PARAMETER.search(name):
            yield value


class _Scrubber:
    """Masks secrets in text. By plain searches: there may be hundreds of secrets, and long texts of strangers."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        # Longest first: a secret may be a part of another.
        self._forms = sorted({form for secret in known for form in _forms(secret)}, key=len, reverse=True)
        self._cores = sorted({core for secret in known for core in _cores(secret)}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for core in self._cores:
            if core in text:
                text = _without_words_around(text, core)
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return _CREDENTIALS.sub(lambda found: f"{found[found.lastgroup or 0]}{MASK}", text)


def _without_words_around(text: str, core: str) -> str:
    """The text with each word of base64 masked that a part stands in: it holds what else was encoded, a name say."""
    kept, done = [], 0
    while (found := text.find(core, done)) >= 0:
        first, last = found, found + len(core)
        while first > done and text[first - 1] in _BASE64:
            first -= 1
        while last < len(text) and text[last] in _BASE64:
            last += 1
        kept += [text[done:first], MASK]
        done = last
    return "".join([*kept, text[done:]])


def _forms(secret: str) -> Iterator[str]:
    """How a secret is written: plainly, in a URL, in a form, as a JSON or Python string, in base64."""
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield re.sub("%..", lambda code: code[0].lower(), quote(secret, safe=""))
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield base64.b64encode(secret.encode(errors="replace")).decode().rstrip("=")
    yield secret.encode(errors="replace").hex()


def _cores(secret: str) -> Iterator[str]:
    """What base64 makes of a secret that stands in something longer, whatever stands before and behind it."""
    for form in {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}:
        content = form.encode(errors="replace")
        for shift in range(3):
            encoded = base64.b64encode(bytes(shift) + content)
            # Without the letters that what stands before it and behind it has a part in.
            core = encoded[-(-shift * 8 // 6) : (shift + len(content)) * 8 // 6].decode()
            if len(core) >= _SHORTEST_CORE:
                yield from {core, core.replace("+", "-").replace("/", "_")}
