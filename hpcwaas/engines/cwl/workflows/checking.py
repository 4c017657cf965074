"""What a catalogue would publish as it lies there, with all that is wrong with it, for those who write workflows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.workflows.describer import DescriberFailed, describe_entries
from hpcwaas.engines.cwl.workflows.entries import Found, Stamps, find_entries, permitted_by, read_stamps
from hpcwaas.engines.cwl.workflows.findings import warnings_of
from hpcwaas.engines.cwl.workflows.ignored import Ignored, sure
from hpcwaas.engines.cwl.workflows.index import made_by
from hpcwaas.engines.cwl.workflows.jshint import NotChecked, Script, check_scripts, scripts_of
from hpcwaas.engines.cwl.workflows.manifest import MANIFEST
from hpcwaas.engines.cwl.workflows.metadata import Entry, root_of_entry
from hpcwaas.engines.cwl.workflows.parameters import load_parameter, spelling
from hpcwaas.engines.cwl.workflows.repositories.published import Repositories
from hpcwaas.engines.cwl.workflows.repositories.updating import fetch_for_a_look
from hpcwaas.engines.cwl.workflows.schema import inputs_schema, shown_default, unfit_for_keys
from hpcwaas.engines.cwl.workflows.snapshot import SnapshotStore
from hpcwaas.errors import Unavailable


@dataclass(frozen=True, slots=True)
class CheckedInput:
    """An input as users will see it; `default` says nothing unless `has_default`."""

    name: str
    type: str
    required: bool
    has_default: bool
    default: JSON


@dataclass(frozen=True, slots=True)
class Checked:
    """A workflow that is published, or would be if there were no problem.

    Attributes:
        source: what publishes it.
        users, groups: who may run it; both None: everybody.
        sites: where it may run; None: on all.
        version: digest of its content; None with a problem.
        made: an id can't have all of the names that this one was made of.
        problem: why it isn't published.
        warnings: what may go wrong, sentences that begin with file and line where there is one.
    """

    id: str
    source: str
    title: str | None = None
    users: frozenset[str] | None = None
    groups: frozenset[str] | None = None
    sites: tuple[str, ...] | None = None
    version: str | None = None
    inputs: tuple[CheckedInput, ...] = ()
    made: bool = False
    problem: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a look at a catalogue finds.

    Attributes:
        problems: of what belongs to no workflow.
        ignored: files that look like CWL and publish nothing.
    """

    directory: Path
    workflows: Sequence[Checked]
    problems: Sequence[str] = ()
    ignored: Sequence[Ignored] = ()


def check_catalogue(
    place: Path, settings: CWLSettings, scratch: Path, sites: Iterable[str] | None = None, data_dir: Path | None = None
) -> Report:
    """Looks at a catalogue, and changes nothing.

    Args:
        place: a directory, or one document, which is looked at as a part of its catalogue or repository.
        scratch: directory for what is fetched of repositories; what lies there of an earlier look isn't fetched again.
        sites: ids of all sites; None when they aren't known.
        data_dir: of the service, which keeps there what it fetched of repositories; None if it isn't its catalogue.

    Raises:
        Unavailable: it can't be read.
    """
    directory = catalogue_of(place, settings)
    try:
        stamps = read_stamps(directory)
        found = find_entries(directory, stamps)
        wanted = str(place.absolute().relative_to(directory)) if place.is_file() else None
        if wanted is None and not found.frozen:
            found = _with_repositories(directory, found, scratch, data_dir)
        return _Check(directory, settings, None if sites is None else {*sites}).report(found, stamps, wanted)
    except OSError as error:
        raise Unavailable(f"The catalogue {directory} can't be read: {error.filename}: {error.strerror}.") from error
    except DescriberFailed as error:
        raise Unavailable(f"The catalogue {directory} can't be read: {error}.") from error


def catalogue_of(place: Path, settings: CWLSettings) -> Path:
    """The catalogue that a directory is, or that a document's references may lead into."""
    document, catalogue = place.absolute(), settings.catalogue.absolute()
    if not document.is_file():
        return document
    if document.is_relative_to(catalogue):
        return catalogue
    marked = (each for each in document.parents if (each / MANIFEST).is_file() or (each / ".git").exists())
    return next(marked, document.parent)


def _with_repositories(directory: Path, found: Found, scratch: Path, data_dir: Path | None) -> Found:
    """What a catalogue publishes of repositories too: of those that the service hasn't fetched, what it would fetch."""
    state = data_dir / "cwl" / "catalogue" if data_dir else scratch / "nothing"
    if unfetched := Repositories(directory, state).unfetched():
        fetch_for_a_look(directory, unfetched, scratch)
    found = Repositories(directory, state, scratch).added_to(found)
    if data_dir is None:
        return found
    new = "the service hasn't fetched this commit yet: run `hpcwaas-api catalogue update`"
    return replace(
        found,
        entries=[
            replace(each, notices=(*each.notices, f"{each.metadata}: {new}"))
            if each.root and Path(each.root).is_relative_to(scratch)
            else each
            for each in found.entries
        ],
    )


class _Check:
    def __init__(self, directory: Path, settings: CWLSettings, sites: set[str] | None) -> None:
        self._directory = directory
        self._settings = settings
        self._sites = sites

    def report(self, found: Found, stamps: Stamps, wanted: str | None) -> Report:
        entries = [entry for entry in found.entries if wanted is None or (not entry.root and entry.main == wanted)]
        broken = [item for item in found.unusable if wanted is None or item.source in (wanted, "")]
        if wanted and not entries and not broken:
            # A part of another workflow, say: its author wants to know whether it is right all the same.
            entries = [Entry(Path(wanted).stem, wanted, source=wanted)]
        checked = [Checked(item.id, item.source, problem=item.reason) for item in broken]
        described: list[tuple[Entry, Mapping[str, JSON]]] = []
        for entry, answer in describe_entries(self._directory, entries):
            if "error" in answer:
                checked.append(replace(self._entry(entry), problem=answer["error"]))
            else:
                described.append((entry, answer["description"]))
        scripts = [scripts_of(description["lint"]) for _, description in described]
        odd: list[str] = []
        wrong: Mapping[Script, Sequence[str]] = {}
        try:
            wrong = check_scripts(script for each in scripts for script in each)
        except NotChecked as error:
            odd.append(f"JavaScript isn't checked, since {error}")
        with TemporaryDirectory() as temporary:
            snapshots = SnapshotStore(Path(temporary))
            for (entry, description), own in zip(described, scripts, strict=True):
                javascript = [*odd, *(sentence for script in own for sentence in wrong.get(script, ()))]
                checked.append(self._described(entry, description, javascript if own else [], snapshots))
        checked.sort(key=lambda item: (item.id, item.source))
        problems = [*([found.frozen] if found.frozen else []), *found.problems] if wanted is None else []
        ignored = [] if wanted else [*sure(self._directory, found.ignored, stamps)]
        return Report(self._directory, checked, problems, ignored)

    def _entry(self, entry: Entry) -> Checked:
        users, groups = permitted_by(entry, self._settings.without_metadata)
        return Checked(
            entry.id,
            entry.source,
            entry.name,
            users,
            groups,
            entry.sites,
            made=entry.made,
            warnings=(*entry.notices, *self._far(entry)),
        )

    def _far(self, entry: Entry) -> Iterator[str]:
        for site in sorted({*(entry.sites or ())} - self._sites) if self._sites is not None else ():
            near = get_close_matches(site, self._sites or (), n=1)
            meant = f"; did they mean {near[0]}?" if near else ""
            yield f"{entry.metadata or entry.source}: the site {site} isn't in the settings{meant}"

    def _described(
        self, entry: Entry, description: Mapping[str, JSON], javascript: Sequence[str], snapshots: SnapshotStore
    ) -> Checked:
        checked = self._entry(entry)
        parameters = [load_parameter(item) for item in description["inputs"]]
        if unfit := unfit_for_keys(inputs_schema(parameters), entry.ssh_keys):
            return replace(checked, problem=f"{entry.metadata}: ssh_keys {unfit}")
        version = snapshots.save(root_of_entry(self._directory, entry), description, made_by())
        return replace(
            checked,
            title=entry.name or description["label"],
            version=entry.commit or version,
            inputs=tuple(
                CheckedInput(
                    each.name, spelling(each.type), each.required, each.has_default, shown_default(each.default)
                )
                for each in parameters
            ),
            warnings=(*checked.warnings, *warnings_of(entry, description, self._settings.limits, javascript)),
        )
