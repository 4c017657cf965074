"""Makes the settings of file, environment and flags, and refuses what can't be honoured.

A flag beats the environment, which beats the file, which beats the default. All problems are found at once.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hpcwaas.configuration import trust
from hpcwaas.configuration.checks import contradictions
from hpcwaas.configuration.file import Way, read_file
from hpcwaas.configuration.flags import FLAGS
from hpcwaas.configuration.leaves import PREFIX, Leaf, dotted, leaves, section_of
from hpcwaas.configuration.settings import Settings
from hpcwaas.engines.registry import registry
from hpcwaas.errors import ConfigurationError

SYSTEM_FILE = Path("/etc/hpcwaas-api/hpcwaas-api.yml")
USER_FILE = ".hpcwaas-api.yaml"
IN_FILE = "_FILE"
"""Ends a variable that names the file in which the value of a setting is."""


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings, for those that aren't defaults where they came from, and what should be otherwise."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def read(
    config_file: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    check: Callable[[Settings], Iterator[ConfigurationError]] = contradictions,
) -> Effective:
    """The settings to run with.

    Args:
        config_file: as `--config` gives it; None looks in the usual places.
        environ: variables; those that begin with `HWA_` are settings.
        flags: values of the flags that were given, by `Flag.name`.
        check: finds what can't be honoured.

    Raises:
        ConfigurationError: the service can't start with them. Names all problems, one a line.
    """
    sources = _Sources(problems=[(error.key, error.detail) for error in registry().problems])
    path = config_file or _usual_file(environ)
    if path:
        sources.add_file(path)
    sources.add_environment(environ)
    sources.add_flags(flags)
    settings = sources.validated()
    if settings is not None:
        for error in check(settings):
            # What `auth` would have allowed can't be judged when it is wrong itself.
            if not (error.key == "listen_address" and any(key.startswith("auth") for key, _ in sources.problems)):
                sources.refuse((*error.key.split("."),), error.detail)
    warnings: tuple[str, ...] = ()
    if settings is not None:
        found: list[tuple[Way, str]] = []
        if path:
            found += [(("--config",), text) for text in trust.problems(path, settings)]
        for name, site in settings.sites.items():
            if site.prologue is not None and os.access(site.prologue, os.R_OK):
                ways = trust.others_write(site.prologue, settings)
                found += [(("sites", name, "prologue"), text) for text in ways]
        warnings = tuple(trust.warnings(path, settings)) if path else ()
        if settings.local:  # for the one who started it
            warnings += tuple(text.replace("isn't read: ", "shouldn't be read: ") for _, text in found)
        else:
            for way, text in found:
                sources.refuse(way, text)
    if settings is None or sources.problems:
        # One error whose text has a line for each problem: "key: what is wrong (where it came from)".
        (key, detail), *others = sources.problems
        raise ConfigurationError(key, "\n".join([detail, *(f"{name}: {text}" for name, text in others)]))
    return Effective(settings, {dotted(way): origin for way, origin in sources.origins.items()}, warnings)


def _usual_file(environ: Mapping[str, str]) -> Path | None:
    home = environ.get("HOME")
    places = [*([Path(home, USER_FILE)] if home else []), SYSTEM_FILE]
    return next((path for path in places if os.access(path, os.F_OK)), None)


@dataclass(slots=True)
class _Sources:
    """What file, environment and flags say, laid over each other, and the problems found on the way."""

    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Way, str] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def refuse(self, path: Way, detail: str, origin: str | None = None) -> None:
        """Notes a problem with a setting."""
        # What is missing came from nowhere; the place of its section helps.
        ways = (path[:end] for end in range(len(path), 0, -1))
        origin = origin or next((self.origins[way] for way in ways if way in self.origins), None)
        self.problems.append((dotted(path), f"{detail} ({origin})" if origin else detail))

    def add_file(self, path: Path) -> None:
        """Takes a file."""
        file = read_file(path)
        self.tree = file.tree
        self.origins = {way: f"{path}:{line}" for way, line in file.lines.items()}
        for duplicate in file.duplicates:
            self.refuse(duplicate, "is given twice")
        if "auth" in self.tree and self.tree["auth"] is None:
            # Taking it for a missing section would open the service without authentication.
            self.refuse(("auth",), "is empty: fill it in, or remove it to serve one user on this machine only")
        _drop_empty_sections(Settings, self.tree)
        _anchor(Settings, self.tree, path.absolute().parent)

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """Takes the variables that begin with `HWA_`, and the files that some of them name."""
        known = {leaf.variable: leaf for leaf in leaves()}
        seen: dict[str, str] = {}
        for name in sorted(environ):
            if not name.startswith(PREFIX):
                continue
            origin, plain, text = f"variable {name}", name.replace(".", "_"), environ[name]
            if plain not in known and plain.removesuffix(IN_FILE) in known:
                plain = plain.removesuffix(IN_FILE)
                try:
                    text = Path(text).read_text(encoding="utf-8").rstrip("\r\n")
                except (OSError, ValueError) as error:  # not quoted: it may be the secret itself
                    reason = getattr(error, "strerror", None) or "it holds no text in UTF-8"
                    self.refuse((name,), f"should name the file with the value, which can't be read: {reason}")
                    continue
            if plain in seen:
                self.refuse((name,), f"is the same setting as {seen[plain]}: remove one of them")
            seen[plain] = name
            if plain in known:
                self._add_text(known[plain], text, origin)
            else:
                self.refuse((name,), f"there is no such setting{_suggestion(plain, known)}")

    def add_flags(self, flags: Mapping[str, object]) -> None:
        """Takes flags of the command line."""
        known = {leaf.key: leaf for leaf in leaves()}
        for flag in FLAGS:
            if flag.name in flags:
                if flag.setting in known:
                    self._add_text(known[flag.setting], str(flags[flag.name]), f"flag {flag.name}")
                else:
                    self._put((*flag.setting.split("."),), flags[flag.name], f"flag {flag.name}")

    def validated(self) -> Settings | None:
        """The settings; None when problems were noted."""
        try:
            return Settings.model_validate(self.tree)
        except ValidationError as error:
            for details in error.errors(include_input=False, include_url=False):
                way = tuple(part for part in details["loc"] if part != "[key]")  # Pydantic's word for a name itself
                self.refuse(way, _plain_words(details))
            return None

    def _add_text(self, leaf: Leaf, text: str, origin: str) -> None:
        value: Any = text
        if leaf.item is not None or leaf.member is not None:
            scalars = leaf.item is not None and not (isinstance(leaf.item, type) and issubclass(leaf.item, BaseModel))
            if scalars and not text.lstrip().startswith("["):
                value = [part for item in text.split(",") if (part := item.strip())]
            else:
                try:
                    value = yaml.safe_load(text)
                except yaml.YAMLError:  # its text may quote a secret
                    self.refuse(leaf.path, f"expected {'a list' if leaf.item else 'sections'} in YAML", origin)
                    return
        elif not text:
            self.refuse(leaf.path, "is empty: give it a value, or unset it", origin)
            return
        self._put(leaf.path, _anchored(leaf, value, Path.cwd()), origin)

    def _put(self, path: tuple[str, ...], value: Any, origin: str) -> None:
        holder = self.tree
        for part in path[:-1]:
            if not isinstance(holder.get(part), dict):
                holder[part] = {}
            holder = holder[part]
        holder[path[-1]] = value
        kept = {way: it for way, it in self.origins.items() if way[: len(path)] != path}
        self.origins = kept | dict.fromkeys(_ways(path, value), origin)


def _drop_empty_sections(model: type[BaseModel], tree: dict[str, Any]) -> None:
    """Removes sections with nothing but comments in them, which YAML reads as null."""
    for name, info in model.model_fields.items():
        section, member = section_of(info), Leaf((name,), info).member
        inner = section or member
        if inner is not None and name in tree:
            if tree[name] is None:
                del tree[name]
            elif isinstance(tree[name], dict):
                for part in [tree[name]] if section else tree[name].values():
                    if isinstance(part, dict):
                        _drop_empty_sections(inner, part)


def _ways(path: Way, value: Any) -> Iterator[Way]:
    """The way to a value, and those to what stands in it."""
    yield path
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _ways((*path, str(name)), member)


def _anchor(model: type[BaseModel], tree: dict[str, Any], base: Path) -> None:
    """Makes the relative paths among some settings absolute."""
    for leaf in leaves(model):
        holder: Any = tree
        for part in leaf.path[:-1]:
            holder = holder.get(part, {}) if isinstance(holder, dict) else {}
        if isinstance(holder, dict) and leaf.path[-1] in holder:
            holder[leaf.path[-1]] = _anchored(leaf, holder[leaf.path[-1]], base)


def _anchored(leaf: Leaf, value: Any, base: Path) -> Any:
    """Makes a relative path absolute; leaves anything else alone."""
    if leaf.member is not None and isinstance(value, dict):
        for section in value.values():
            if isinstance(section, dict):
                _anchor(leaf.member, section, base)
        return value
    if leaf.is_path and isinstance(value, str):
        return _place(base, value)
    if leaf.item is Path and isinstance(value, list):
        return [_place(base, item) if isinstance(item, str) else item for item in value]
    if leaf.is_command and isinstance(value, list) and value and isinstance(value[0], str):
        # Executions run in directories of their own. A bare name is looked up in PATH.
        return [str(base / value[0]) if os.sep in value[0] else value[0], *value[1:]]
    return value


def _place(base: Path, name: str) -> Path:
    return base / os.path.expanduser(name)  # noqa: PTH111 - Path makes `~data` of `./~data`, somebody's home


def _suggestion(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


_WORDS = {
    "missing": "is required",
    "tuple_type": "expected a list",
    "model_type": "expected a section with settings in it",
    "dict_type": "expected sections, each under its name",
    "mapping_type": "expected sections, each under its name",
    "too_short": "can't be empty",
    "string_too_short": "can't be empty",
}


def _plain_words(details: ErrorDetails) -> str:
    least = details.get("ctx", {}).get("min_length", 1)
    if details["type"] in ("too_short", "string_too_short") and least > 1:
        return f"is too short: expected at least {least} characters"
    if details["type"] == "extra_forbidden":
        *holder, name = details["loc"]
        siblings = {str(dotted([*holder, it])): it for it in _fields_at(holder)}
        elsewhere = {leaf.key: leaf for leaf in leaves() if leaf.path[-1] == name}
        hint = _suggestion(dotted(details["loc"]), siblings) or (
            f"; did you mean {next(iter(elsewhere))}?" if elsewhere else ""
        )
        return f"no such setting{hint}"
    return _WORDS.get(details["type"]) or (
        details["msg"].removeprefix("Value error, ").replace("Input should be", "should be", 1)
    )


def _fields_at(path: Sequence[str | int]) -> Sequence[str]:
    """Names of the settings in the section at a path."""
    model: Any = Settings
    named = False  # whether the next part is a name that the operator has given
    for part in path:
        if named or isinstance(part, int):
            named = False
            continue
        info = model.model_fields[part]
        leaf = Leaf((part,), info)
        model, named = section_of(info) or leaf.item or leaf.member, leaf.member is not None
    return list(model.model_fields)
