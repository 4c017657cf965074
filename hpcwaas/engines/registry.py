"""The engines that there are: those of this package, and those that other packages add by an entry point."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from hpcwaas.common.flags import Flag
from hpcwaas.errors import ConfigurationError

# What an entry names is imported when it is needed: the help of the command needs the flags alone.
if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path, PurePosixPath

    from hpcwaas.core.ports.engine import Engine
    from hpcwaas.core.ports.records import ListingRecords, StartRecords
    from hpcwaas.core.ports.sites import Credentials
    from hpcwaas.core.publication_models import Access, Update
    from hpcwaas.engines.settings import EngineSettings
    from hpcwaas.engines.site_settings import SiteSettings

GROUP = "hpcwaas.engines"
"""Of entry points that add an engine."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_SECTION = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """What the service has to know of an engine before it is made.

    Attributes:
        name: stands in workflows, in executions and in the store, so it never changes.
        summary: a line for people.
        settings: `module:name` of its section's class, an `EngineSettings`.
        factory: `module:name` of what makes the engine of its section and an `EngineContext`.
        section: name of its section in the configuration; the engine's own unless said otherwise.
        form: a regular expression that the ids of its workflows match, and those of no other engine. Without one its
            workflows are known as `NAME:ID`.
        shares: whether its executions are in the directory that machines share, and not in the data directory of each.
        access: `module:name` of what tells operators who may run what, of its section and the directory that it uses.
        kept: `module:name` of what gives the files and directories of an execution that lie on this machine and are its
            user's, by their names, of the directory that it uses and the execution's reference.
        update: `module:name` of what fetches the repositories that it publishes from, of the same.
        problems: `module:name` of what finds out what stands in the way of a start and changes nothing, of its section
            and whether the service runs for the one user who started it. It gives names of settings inside the section
            (`runner.command`), each with what is wrong with it.
        backed_up: `module:name` of what says which things in a folder of the engine's directory belong in a backup, and
            in which order, of the folder's relative path, the names in it, and the ids of the executions in the backup.
            By default all do.
        restored: `module:name` of what puts right what a backup has brought back, of the engine's directory and the
            time, so that nothing starts again.
        flags: settings that have flags on the command line.
    """

    name: str
    summary: str
    settings: str
    factory: str
    section: str = ""
    form: str | None = None
    shares: bool = False
    access: str | None = None
    kept: str | None = None
    update: str | None = None
    problems: str | None = None
    backed_up: str | None = None
    restored: str | None = None
    flags: tuple[Flag, ...] = ()

    def __post_init__(self) -> None:
        if not self.section:
            object.__setattr__(self, "section", self.name.replace("-", "_"))


@dataclass(frozen=True, slots=True)
class EngineContext:
    """What the service gives to every engine.

    Attributes:
        data_dir: of the service; an engine keeps its own things in the directory of its name there.
        secrets: files of the service that nothing may read that runs for a user.
        starts: records of what was started, for an engine behind which nothing knows the service's ids.
        listings: records of what was published last.
        sites: those of the settings, by their ids.
        credentials: what opens accounts on them; None where nothing does.
        shared_dir: where several machines keep what all of them need; that of the data directory where there is one
            machine only.
        machine: the name of this one; None where it is the only one.
    """

    data_dir: Path
    secrets: Sequence[Path]
    starts: StartRecords
    listings: ListingRecords
    sites: Mapping[str, SiteSettings] = field(default_factory=dict)
    credentials: Credentials | None = None
    shared_dir: Path | None = None
    machine: str | None = None


BUILT_IN = (
    EngineEntry(
        "cwl",
        "The embedded engine: runs CWL workflows on this machine. It is active without any engine's section, too.",
        settings="hpcwaas.engines.cwl.settings:CWLSettings",
        factory="hpcwaas.engines.cwl.engine:make",
        form=r"[^@:]+",
        shares=True,
        access="hpcwaas.engines.cwl.workflows.access:read_access",
        kept="hpcwaas.engines.cwl.storage.kept:kept",
        backed_up="hpcwaas.engines.cwl.storage.backed_up:backed_up",
        restored="hpcwaas.engines.cwl.sites.restored:restored",
        update="hpcwaas.engines.cwl.workflows.repositories.updating:update_repositories",
        problems="hpcwaas.engines.cwl.checks:problems",
        flags=(Flag("--cwl_catalogue", "cwl.catalogue", "Directory whose CWL workflows are published."),),
    ),
    EngineEntry(
        "alien4cloud",
        "Alien4Cloud: runs the workflows that its applications publish.",
        settings="hpcwaas.engines.alien4cloud.settings:Alien4CloudSettings",
        factory="hpcwaas.engines.alien4cloud.engine:make",
        section="alien_config",
        form=r"[^@]+@[^@]+@[^@]+",
        access="hpcwaas.engines.alien4cloud.access:read_access",
        kept="hpcwaas.engines.alien4cloud.log_file:kept",
        flags=(
            Flag("--a4c_address", "alien_config.address", "URL of Alien4Cloud."),
            Flag("--a4c_user", "alien_config.user", "Account of this service in Alien4Cloud."),
            Flag(
                "--a4c_password",
                "alien_config.password",
                "Password of that account. Better given in a variable: other users can list processes.",
                secret=True,
            ),
            Flag("--a4c_ca_file", "alien_config.ca_file", "Certificates to trust for Alien4Cloud."),
            Flag(
                "--a4c_skip_secure", "alien_config.skip_secure", "Accept any certificate of Alien4Cloud.", switch=True
            ),
        ),
    ),
    EngineEntry(
        "yorc",
        "Yorc: runs the workflows of its deployments that the settings publish.",
        settings="hpcwaas.engines.yorc.settings:YorcSettings",
        factory="hpcwaas.engines.yorc.engine:make",
        form=r"[-_0-9A-Za-z]+@[^@]+",
        access="hpcwaas.engines.yorc.access:read_access",
        kept="hpcwaas.engines.yorc.kept_logs:kept",
        problems="hpcwaas.engines.yorc.checks:problems",
    ),
)
"""The first one is active when no engine's section is there."""


class Registry:
    """All engines, in the order in which they are shown and in which overlapping forms of ids belong to them.

    Args:
        found: entry points of other packages. What can't be used is left out, and stops the start by `problems`.

    Attributes:
        entries: that can be used.
        problems: what is wrong with entry points.
    """

    def __init__(self, found: Iterable[EntryPoint] = ()) -> None:
        self.entries: Sequence[EngineEntry] = BUILT_IN
        self.problems: list[ConfigurationError] = []
        self._points: dict[str, str] = {}
        for point in sorted(found, key=lambda point: (point.name, point.value)):
            self._add(point)

    def _add(self, point: EntryPoint) -> None:
        package = f" of the package {point.dist.name}" if point.dist else ""
        where = f"the entry point `{point.name} = {point.value}` in the group {GROUP}{package}"
        try:
            entry = point.load()
        except Exception as error:  # other people's code may raise anything while it is imported
            self._refuse(point.name, f"{where} can't be loaded: {type(error).__name__}: {error}")
            return
        if (problem := self._problem(point, entry)) is not None:
            self._refuse(point.name, f"{where} {problem}")
            return
        self._points[entry.name] = where
        self.entries = [*self.entries, entry]

    def _problem(self, point: EntryPoint, entry: Any) -> str | None:
        if not isinstance(entry, EngineEntry):
            return "names no `EngineEntry` of `hpcwaas.engines.registry`"
        if entry.name != point.name:
            return f"names an engine that calls itself `{entry.name}`: both names have to be the same"
        if not _NAME.fullmatch(entry.name):
            return "has a name that isn't made of at most 32 lower-case letters, digits and hyphens"
        if not _SECTION.fullmatch(entry.section):
            return f"has a section `{entry.section}` that isn't made of lower-case letters, digits and underscores"
        for other in self.entries:
            if other.name == entry.name:
                return f"adds an engine that there is already{self._by(other)}"
            if mistakable(other.section, entry.section):
                return f"has a section `{entry.section}` that can be taken for `{other.section}` of `{other.name}`"
            if both := {flag.name for flag in other.flags} & {flag.name for flag in entry.flags}:
                return f"has a flag {', '.join(sorted(both))} that `{other.name}` has already"
        if entry.form is not None:
            try:
                re.compile(entry.form)
            except re.error as error:
                return f"has a `form` that is no regular expression: {error}"
        return None

    def _by(self, entry: EngineEntry) -> str:
        return f", by {where}" if (where := self._points.get(entry.name)) else ""

    def _refuse(self, name: str, detail: str) -> None:
        self.problems.append(ConfigurationError(f"engine {name}", f"{detail}. Correct or uninstall that package"))

    def drop(self, entry: EngineEntry, problem: str) -> None:
        """Leaves an engine out that was found to be unusable.

        Args:
            problem: what is wrong with it, after the words `the entry point …`.
        """
        self.entries = [other for other in self.entries if other is not entry]
        self._refuse(entry.name, f"{self._points[entry.name]} {problem}")

    @cached_property
    def sections(self) -> Mapping[str, type[EngineSettings]]:
        """The classes of the engines' sections, by the sections' names. Engines without a usable one are left out."""
        from hpcwaas.engines.settings import EngineSettings

        found: dict[str, type[EngineSettings]] = {}
        for entry in self.entries:
            try:
                section = resolve_name(entry.settings)
            except Exception as error:  # as above
                if entry in BUILT_IN:
                    raise
                self.drop(entry, f"has settings that can't be loaded: {type(error).__name__}: {error}")
                continue
            if isinstance(section, type) and issubclass(section, EngineSettings):
                found[entry.section] = section
            else:
                self.drop(entry, f"has settings, `{entry.settings}`, that are no `EngineSettings`")
        return found

    @property
    def forms(self) -> Mapping[str, str | None]:
        """Of the ids of each engine's workflows, by the engine's name."""
        return {entry.name: entry.form for entry in self.entries}

    def load(self, name: str) -> object:
        """Imports an engine, and gives what makes it."""
        return resolve_name(self._entry(name).factory)

    def make(self, name: str, settings: EngineSettings, context: EngineContext) -> Engine:
        """Makes an engine.

        Raises:
            ConfigurationError: it can't be made with these settings, or isn't what the service can use.
        """
        from hpcwaas.core.ports.engine import Engine

        entry = self._entry(name)
        try:
            engine: Engine = resolve_name(entry.factory)(settings, context)
        except ConfigurationError:
            raise
        except Exception as error:
            if entry in BUILT_IN:
                raise
            raise ConfigurationError(
                f"engine {name}", f"`{entry.factory}` can't make it: {type(error).__name__}: {error}"
            ) from error
        missing = [member for member in ("name", *vars(Engine)) if member[0] != "_" and not hasattr(engine, member)]
        if missing:
            engine_class = f"`{type(engine).__module__}.{type(engine).__qualname__}`"
            raise ConfigurationError(f"engine {name}", f"{engine_class} is no `Engine`: it lacks {', '.join(missing)}")
        if engine.name != name:
            raise ConfigurationError(f"engine {name}", f"the engine calls itself `{engine.name}`")
        return engine

    def found_wrong(self, name: str, settings: EngineSettings, *, local: bool) -> Iterator[ConfigurationError]:
        """What stands in the way of an engine, without making it. Changes nothing."""
        entry = self._entry(name)
        if entry.problems is not None:
            for setting, detail in resolve_name(entry.problems)(settings, local):
                yield ConfigurationError(f"{entry.section}.{setting}", detail)

    def access(self, name: str, settings: EngineSettings, data_dir: Path) -> Sequence[Access] | None:
        """Who may run what an engine publishes; None when it doesn't tell.

        Raises:
            Unavailable, UpstreamFailed, UpstreamTimeout: it can't be told just now.
        """
        entry = self._entry(name)
        if entry.access is None:
            return None
        found: Sequence[Access] = resolve_name(entry.access)(settings, data_dir)
        return found

    def kept(self, name: str, data_dir: Path, shared_dir: Path, reference: str) -> Mapping[str, Path]:
        """What lies on this machine of an execution; nothing where its engine doesn't tell, or isn't known."""
        entry = next((entry for entry in self.entries if entry.name == name), None)
        if entry is None or entry.kept is None:
            return {}
        found: Mapping[str, Path] = resolve_name(entry.kept)(shared_dir if entry.shares else data_dir, reference)
        return found

    def backed_up(self, name: str, folder: PurePosixPath, names: Sequence[str], ids: Container[str]) -> Sequence[str]:
        """Which things in a folder of an engine's directory belong in a backup, in the order in which they are read:
        all, where the engine doesn't say.

        Args:
            folder: relative to that directory.
            ids: of the executions whose records are in it.
        """
        entry = next((entry for entry in self.entries if entry.name == name), None)
        if entry is None or entry.backed_up is None:
            return sorted(names)
        found: Sequence[str] = resolve_name(entry.backed_up)(folder, names, ids)
        return found

    def restored(self, name: str, directory: Path, now: datetime) -> None:
        """Lets an engine put right what a backup has brought back in its directory: nothing of it may start again."""
        entry = next((entry for entry in self.entries if entry.name == name), None)
        if entry is not None and entry.restored is not None:
            resolve_name(entry.restored)(directory, now)

    def shares(self, name: str) -> bool:
        """Whether the executions of an engine are in the directory that machines share."""
        return self._entry(name).shares

    def update(self, name: str, settings: EngineSettings, data_dir: Path) -> Sequence[Update]:
        """Fetches the repositories that an engine publishes from, and tells of each.

        Raises:
            Unavailable: it can't be done just now.
        """
        entry = self._entry(name)
        found: Sequence[Update] = () if entry.update is None else resolve_name(entry.update)(settings, data_dir)
        return found

    def _entry(self, name: str) -> EngineEntry:
        return next(entry for entry in self.entries if entry.name == name)


def mistakable(one: str, other: str) -> bool:
    """Whether environment variables of two sections could have the same names."""
    return f"{one}_".startswith(f"{other}_") or f"{other}_".startswith(f"{one}_")


@cache
def registry() -> Registry:
    """The engines of this process."""
    return Registry(entry_points(group=GROUP))
