"""Where the service is and who calls: options, environment, configuration file, sign-in, local profile."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from .credentials import Credentials, Login
from .errors import UsageError
from .literals import well_formed
from .local_paths import is_there, typed

DEFAULT_API_URL = "https://127.0.0.1:9090"
DEFAULT = "the default"
"""Said to be the source of a value that nobody gave."""
_COMMAND_LINE = "the command line"
FORMS = ("text", "json", "jsonl", "yaml")
KEYS = (
    "output",
    "api_url",
    "user",
    "access_token",
    "skip_tls_verify",
    "ca_file",
    "ca_path",
    "cert_file",
    "key_file",
    "debug",
)
_CREDENTIALS = ("user", "access_token")
_FLAGS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
_TOKEN = re.compile(r"[!-~]+")

Values: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Config:
    """The effective configuration.

    Attributes:
        api_url: address of the service, without a slash at its end.
        api_url_from: what the address was taken from, in words for an error message.
        user: `name[:password]`. At most one of `user`, `access_token` and `login` is set.
        local: address and token come from the profile of a service that runs in local mode on this machine.
        login: what `waas login` left for this address.
        state_directory: where that is kept.
        warnings: what was odd but did not matter.
    """

    api_url: str
    api_url_from: str
    user: str | None = field(repr=False)
    access_token: str | None = field(repr=False)
    output: str
    skip_tls_verify: bool
    ca_file: Path | None
    ca_path: Path | None
    cert_file: Path | None
    key_file: Path | None
    debug: bool
    state_directory: Path
    local: bool = False
    login: Login | None = None
    warnings: tuple[str, ...] = ()

    @property
    def for_programs(self) -> bool:
        """Whether the output is for programs."""
        return self.output != "text"

    @property
    def login_command(self) -> str:
        """What to type to sign in here."""
        return "waas login" + (f" --api_url {self.api_url}" if self.api_url_from == _COMMAND_LINE else "")


def load(given: Values, environment: Mapping[str, str]) -> Config:
    """Puts the configuration together: option beats environment beats file beats sign-in beats local profile.

    Args:
        given: options of the command line, by the names in `KEYS`, and `config`.
        environment: variables; those called `HW_…` count, empty ones don't.

    Raises:
        UsageError: a file is missing or broken, or a value is wrong; names the place.
    """
    variables = {
        key: environment[f"HW_{key.upper()}"] for key in (*KEYS, "config") if environment.get(f"HW_{key.upper()}")
    }
    content, path, warnings = _file(given.get("config") or variables.get("config"))
    sources: list[tuple[str, Values]] = [
        (_COMMAND_LINE, given),
        ("the environment", variables),
        (f"the file {path}", content),
    ]
    state_directory = _state_directory(environment)
    signed_in = Credentials(state_directory)
    local = False
    if not any(source.get("api_url") for _, source in sources):
        profile = state_directory / "local.yaml"
        if remembered := signed_in.default():
            sources.append((f"your sign-in in {signed_in.path}", {"api_url": remembered}))
        elif profile.is_file() and not any(source.get(key) for _, source in sources for key in _CREDENTIALS):
            # All or nothing: this token must never travel to an address that comes from somewhere else.
            sources.append((f"the local profile {profile}", _profile(profile)))
            local = True

    def find(key: str) -> tuple[object, str]:
        return next(
            ((source[key], name) for name, source in sources if source.get(key) not in (None, "")), (None, DEFAULT)
        )

    def path_of(key: str) -> Path | None:
        value, name = find(key)
        if value is None:
            return None
        found = typed(str(value))
        if not is_there(found):
            raise UsageError(f"{key} (from {name}) names {found}, which doesn't exist.")
        return found

    def flag(key: str) -> bool:
        value, name = find(key)
        parsed = _FLAGS.get(str(value or False).lower())
        if parsed is None:
            raise UsageError(f"{key} (from {name}) must be true or false, not {value!r}.")
        return parsed

    # Credentials are one setting with two forms: those of the strongest source count, and there a token beats a user.
    credentials, named_in = next(
        ((source, name) for name, source in sources if any(source.get(key) for key in _CREDENTIALS)), ({}, DEFAULT)
    )
    token = _token(credentials.get("access_token"), named_in)
    user = None if token else _user(credentials.get("user"), named_in)
    named, api_url_from = find("api_url")
    api_url = _address(str(named or DEFAULT_API_URL), api_url_from)
    cert_file, key_file = path_of("cert_file"), path_of("key_file")
    if key_file and not cert_file:
        raise UsageError("key_file is given without cert_file. Give both, or neither.")
    return Config(
        api_url=api_url,
        api_url_from=api_url_from,
        user=user,
        access_token=token,
        output=_output(*find("output")),
        skip_tls_verify=flag("skip_tls_verify"),
        ca_file=path_of("ca_file"),
        ca_path=path_of("ca_path"),
        cert_file=cert_file,
        key_file=key_file,
        debug=flag("debug"),
        state_directory=state_directory,
        local=local,
        # Its tokens never travel to another address than the one that gave them.
        login=None if credentials else signed_in.find(api_url),
        warnings=warnings,
    )


def _output(value: object, name: str) -> str:
    if value not in (None, *FORMS):
        raise UsageError(f"The output format is one of {', '.join(FORMS)}, not {value!r} (from {name}).")
    return str(value or "text")


def _token(value: object, name: str) -> str | None:
    """The token without the blanks around it. What can't travel in a header is refused, without being shown."""
    if value in (None, ""):
        return None
    text = str(value).strip()
    if not text:
        raise UsageError(f"access_token (from {name}) holds only blanks.")
    if not _TOKEN.fullmatch(text):
        raise UsageError(
            f"access_token (from {name}) holds blanks, line breaks or non-ASCII characters, which no token has.",
            hint="Copy the token again: it may have been cut or wrapped.",
        )
    return text


def _user(value: object, name: str) -> str | None:
    """`name[:password]` without the line breaks that a file leaves at its end. What HTTP can't carry is refused."""
    if value in (None, ""):
        return None
    text = str(value).rstrip("\r\n")
    if not text.partition(":")[0].strip():
        raise UsageError(f"user (from {name}) has no name. Give NAME or NAME:PASSWORD.")
    if not well_formed(text):
        raise UsageError(f"user (from {name}) isn't valid UTF-8.")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise UsageError(f"user (from {name}) holds line breaks or control characters, which HTTP can't carry.")
    return text


def _address(value: str, name: str) -> str:
    text = value.strip()
    url = text if "://" in text else f"https://{text}"
    # What comes before an @ may be a password, so it is never shown.
    shown = repr(value) if "@" not in value else "with an @ in it"
    if not well_formed(text) or any(character.isspace() or not character.isprintable() for character in text):
        raise UsageError(f"Malformed API URL {shown} (from {name}): it holds blanks or control characters.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        detail = f": {error}" if "@" not in value else ""
        raise UsageError(f"Malformed API URL {shown} (from {name}){detail}.") from None
    if "@" in parts.netloc:
        raise UsageError(f"The API URL (from {name}) holds credentials. Give them with --user or HW_USER instead.")
    plausible = host and port != 0 and all(character.isalnum() or character in "-._:%" for character in host)
    if parts.scheme not in ("http", "https") or not plausible or parts.query or parts.fragment:
        raise UsageError(
            f"Malformed API URL {shown} (from {name}).",
            hint="Give an address such as https://host:9090 or http://127.0.0.1:9090.",
        )
    return url.rstrip("/")


def _file(named: object) -> tuple[Values, Path, tuple[str, ...]]:
    """Content of the configuration file, its path, and warnings about it."""
    path = typed(str(named)) if named else Path.home() / ".waas"
    if not named and not path.is_file():
        return {}, path, ()
    content: dict[str, object] = {}
    for written, value in _mapping("configuration file", path).items():
        key = written.lower().replace("-", "_")
        if key in content:
            raise UsageError(f"The configuration file {path} gives {key} twice. Give it once.")
        if isinstance(value, dict | list):
            raise UsageError(f"{key} (from the file {path}) must be a single value.")
        content[key] = value
    unknown = sorted(set(content) - set(KEYS))
    return (content, path, tuple(f"{path}: the key {key!r} is unknown. It is ignored." for key in unknown))


def _state_directory(environment: Mapping[str, str]) -> Path:
    state = environment.get("XDG_STATE_HOME", "")
    # The XDG rules: what isn't absolute doesn't count.
    return (Path(state) if state.startswith("/") else Path.home() / ".local" / "state") / "waas"


def _profile(path: Path) -> Values:
    content = _mapping("local profile", path)
    if not (content.get("api_url") and content.get("access_token")):
        raise UsageError(
            f"The local profile {path} lacks api_url or access_token. Start the service again, or delete the file."
        )
    return {"api_url": content["api_url"], "access_token": content["access_token"]}


def _mapping(what: str, path: Path) -> dict[str, Any]:
    """The content of a file of ours. All values are texts: a password of digits is no number."""
    from .plain_yaml import read_mapping

    return read_mapping(f"The {what} {path}", path, example="api_url: https://host:9090", secret=True)


def from_process(given: Values) -> Config:
    """`load` with the environment of this process."""
    return load(given, os.environ)
