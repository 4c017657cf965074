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
from .profiles import Profiles, check_private

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
        effective: the values that count, by their keys, each with what it was taken from.
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
    effective: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)

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
        given: options of the command line, by the names in `KEYS`, and `config` and `profile`.
        environment: variables; those called `HW_…` count, empty ones don't.

    Raises:
        UsageError: a file is missing or broken, or a value is wrong; names the place.
    """
    variables = {key: environment[f"HW_{key.upper()}"] for key in KEYS if environment.get(f"HW_{key.upper()}")}
    path, profile = chosen_file(given, environment)
    content, warnings = _content(path, profile)
    sources: list[tuple[str, Values]] = [
        (_COMMAND_LINE, given),
        ("the environment", variables),
        (f"the file {path}", content),
    ]
    state_directory = _state_directory(environment)
    signed_in = Credentials(state_directory)
    local = False
    if not any(source.get("api_url") for _, source in sources):
        left = state_directory / "local.yaml"
        if remembered := signed_in.default():
            sources.append((f"your sign-in in {signed_in.path}", {"api_url": remembered}))
        elif left.is_file() and not any(source.get(key) for _, source in sources for key in _CREDENTIALS):
            # All or nothing: this token must never travel to an address that comes from somewhere else.
            sources.append((f"the local profile {left}", _profile(left)))
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
    named, api_url_from = find("api_url")
    api_url = _address(str(named or DEFAULT_API_URL), api_url_from)
    if profile is not None and credentials is content and not _is_for(content, api_url):
        credentials = {}
        warnings += (f"The credentials of the profile {profile} aren't used: they are not for {api_url}.",)
    token = _token(credentials.get("access_token"), named_in)
    user = None if token else _user(credentials.get("user"), named_in)
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
        effective={
            key: (str(value), name)
            for key in KEYS
            for value, name in [find(key) if key not in _CREDENTIALS else (credentials.get(key), named_in)]
            if value not in (None, "") and not (key == "user" and token)
        },
    )


def _content(path: Path, profile: str | None) -> tuple[Values, tuple[str, ...]]:
    """Content of the file that counts, and warnings about it. The usual one need not exist."""
    if path == _usual() and not path.is_file():
        return {}, ()
    found, warnings = read_file(path)
    if profile is not None:
        check_private(path, found)
    return found, warnings


def _is_for(content: Values, api_url: str) -> bool:
    """Whether the credentials in a profile were given for an address."""
    own = content.get("api_url")
    return bool(own) and _address(str(own), "the profile") == api_url


def chosen_file(given: Values, environment: Mapping[str, str]) -> tuple[Path, str | None]:
    """The configuration file that counts, which need not exist, and the profile that it is, if it is one.

    Raises:
        UsageError: both a file and a profile are named, or the profile that is named for all commands is gone.
    """
    for source, named, profile in (
        (_COMMAND_LINE, given.get("config"), given.get("profile")),
        ("the environment", environment.get("HW_CONFIG"), environment.get("HW_PROFILE")),
    ):
        if named and profile:
            raise UsageError(f"Both a configuration file and a profile are given by {source}. Give one of them.")
        if named:
            return typed(str(named)), None
        if profile:
            return Profiles(environment).path(str(profile)), str(profile)
    profiles = Profiles(environment)
    if current := profiles.current():
        return profiles.existing(current), current
    return _usual(), None


def _usual() -> Path:
    return Path.home() / ".waas"


def checked(values: Mapping[str, str | None]) -> None:
    """Checks values that are to be kept in a file.

    Raises:
        UsageError: one of them is wrong.
    """
    for key, value in values.items():
        match key:
            case _ if value is None:
                continue
            case "api_url":
                _address(value, _COMMAND_LINE)
            case "access_token":
                _token(value, _COMMAND_LINE)
            case "user":
                _user(value, _COMMAND_LINE)
            case "output":
                _output(value, _COMMAND_LINE)
            case "debug" | "skip_tls_verify" if value.lower() not in _FLAGS:
                raise UsageError(f"{key} must be true or false, not {value!r}.")


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


def read_file(path: Path) -> tuple[Values, tuple[str, ...]]:
    """Content of a configuration file, and warnings about it.

    Raises:
        UsageError: it is missing or broken.
    """
    content: dict[str, object] = {}
    for written, value in _mapping("configuration file", path).items():
        key = written.lower().replace("-", "_")
        if key in content:
            raise UsageError(f"The configuration file {path} gives {key} twice. Give it once.")
        if isinstance(value, dict | list):
            raise UsageError(f"{key} (from the file {path}) must be a single value.")
        content[key] = value
    unknown = sorted(set(content) - set(KEYS))
    return (content, tuple(f"{path}: the key {key!r} is unknown. It is ignored." for key in unknown))


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
