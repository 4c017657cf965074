"""Profiles: configuration files with names, one for each service that somebody uses."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from .errors import UsageError, WaasError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
SECRETS = ("access_token", "user")
"""What may hold a secret: a password stands behind the name of a user."""


class Profiles:
    """The profiles of a user, and which one is used when none is named.

    Args:
        environment: variables of the process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        base = environment.get("XDG_CONFIG_HOME", "")
        # The XDG rules: what isn't absolute doesn't count.
        self.directory = (Path(base) if base.startswith("/") else Path.home() / ".config") / "waas"
        self._current = self.directory / "profile"

    def path(self, name: str) -> Path:
        """The file of a profile, which need not exist.

        Raises:
            UsageError: it can't be the name of one.
        """
        if not NAME.fullmatch(name):
            raise UsageError(f"{name!r} can't be the name of a profile: take letters, digits, and - _ . inside.")
        return self.directory / "profiles" / f"{name}.yaml"

    def names(self) -> list[str]:
        """Those that there are."""
        found = (self.directory / "profiles").glob("*.yaml")
        return sorted(each.stem for each in found if NAME.fullmatch(each.stem))

    def current(self) -> str | None:
        """The one that is used when none is named; None for the file ~/.waas.

        Raises:
            UsageError: it can't be read.
        """
        try:
            return self._current.read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            raise UsageError(f"{self._current} can't be read.", hint=f"Delete it: rm {self._current}") from None

    def use(self, name: str | None) -> None:
        """Makes a profile the one that is used when none is named; None for the file ~/.waas.

        Raises:
            UsageError: there is no such profile.
        """
        if name is not None and not self.path(name).is_file():
            raise UsageError(f'There is no profile "{name}".', hint=_how_to_make(name, self.names()))
        write_private(self._current, f"{name}\n" if name else "")

    def existing(self, name: str) -> Path:
        """The file of a profile that exists.

        Raises:
            UsageError: there is none.
        """
        path = self.path(name)
        if not path.is_file():
            raise UsageError(f'There is no profile "{name}".', hint=_how_to_make(name, self.names()))
        return path


def _how_to_make(name: str, names: list[str]) -> str:
    there_are = f"There are: {', '.join(names)}. " if names else ""
    return f"{there_are}To make it: waas config set --profile {name} api_url https://host:9090"


def changed(path: Path, changes: Mapping[str, str | None]) -> None:
    """Changes keys of a configuration file, and leaves all other lines as they are.

    Args:
        changes: new values; None removes the key.

    Raises:
        UsageError: the file is one that can't be changed line by line.
        WaasError: it can't be written.
    """
    from .plain_yaml import read_mapping

    what = f"The configuration file {path}"
    before = read_mapping(what, path, example="api_url: https://host:9090", secret=True) if path.is_file() else {}
    lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else []
    expected = {_key(key): value for key, value in before.items()}
    for key, value in changes.items():
        lines = [line for line in lines if _key(line.partition(":")[0]) != key or ":" not in line]
        expected.pop(key, None)
        if value is not None:
            # In double quotes JSON is YAML, and no value is taken for anything but text.
            lines.append(f"{key}: {json.dumps(value)}")
            expected[key] = value
    text = "".join(f"{line}\n" for line in lines)
    if _keys_of(text) != expected:
        raise UsageError(f"{what} has values over several lines, so it isn't changed. Change it with an editor.")
    write_private(path, text)


def _key(written: str) -> str:
    return written.strip().strip("\"'").lower().replace("-", "_")


def _keys_of(text: str) -> dict[str, object] | None:
    from .literals import Wrong
    from .plain_yaml import load

    try:
        found = load(text, secret=True) or {}
    except Wrong:
        return None
    return {_key(key): value for key, value in found.items()} if isinstance(found, dict) else None


def write_private(path: Path, text: str) -> None:
    """Writes a file as a whole that nobody else can read.

    Raises:
        WaasError: it can't be written.
    """
    from tempfile import NamedTemporaryFile

    written: Path | None = None
    target = path.resolve()  # a link into a repository of dot files stays one
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made with mode 0600.
        with NamedTemporaryFile("w", dir=target.parent, encoding="utf-8", delete=False) as stream:
            written = Path(stream.name)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        written.replace(target)
    except OSError as error:
        if written:
            written.unlink(missing_ok=True)
        raise WaasError(f"Can't write {path}: {error.strerror}.") from None


def check_private(path: Path, content: Mapping[str, object]) -> None:
    """Refuses a profile with secrets that others can read.

    Raises:
        UsageError: they can.
    """
    secret = content.get("access_token") or ":" in str(content.get("user") or "")
    if secret and path.stat().st_mode & 0o077:
        raise UsageError(
            f"Others can read {path}, which holds a password or a token.",
            hint=f"Run: chmod 600 {path}\nThen change the password or make another token: others may have seen it.",
        )
