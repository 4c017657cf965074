"""What a catalogue would publish as it lies there, with all that is wrong with it, for those who write workflows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory

from hpcwaas.core.models import JSON
from hpcwaas.core.site_models import LOCAL
from hpcwaas.engines.cwl.settings import CWLSettings, LimitSettings
from hpcwaas.engines.cwl.workflows.describer import DescriberFailed, describe_entries
from hpcwaas.engines.cwl.workflows.entries import Found, Stamps, find_entries, permitted_by, read_stamps
from hpcwaas.engines.cwl.workflows.ignored import Ignored
from hpcwaas.engines.cwl.workflows.index import made_by
from hpcwaas.engines.cwl.workflows.jshint import check_scripts
from hpcwaas.engines.cwl.workflows.manifest import MANIFEST, read_manifest
from hpcwaas.engines.cwl.workflows.metadata import Entry, root_of_entry
from hpcwaas.engines.cwl.workflows.parameters import load_parameter, spelling
from hpcwaas.engines.cwl.workflows.repositories.addresses import shown
from hpcwaas.engines.cwl.workflows.repositories.published import Repositories
from hpcwaas.engines.cwl.workflows.schema import inputs_schema, shown_default, unfit_for_keys
from hpcwaas.engines.cwl.workflows.snapshot import SnapshotStore
from hpcwaas.errors import Unavailable

_CWL = re.compile(r"^\s*[\"']?cwlVersion[\"']?\s*:", re.MULTILINE)
_LOOKED_AT = 2**16
"""Bytes at the beginning of a file, of which one may say that it is CWL."""


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
    place: Path, settings: CWLSettings, sites: Iterable[str] | None = None, data_dir: Path | None = None
) -> Report:
    """Looks at a catalogue, and changes nothing.

    Args:
        place: a directory, or one document, which is looked at as a part of its catalogue or repository.
        sites: ids of all sites; None when they aren't known.
        data_dir: of the service, which keeps there what it fetched of repositories; None to leave them aside.

    Raises:
        Unavailable: it can't be read.
    """
    directory = (_around(place, settings) if place.is_file() else place).absolute()
    try:
        stamps = read_stamps(directory)
        found = find_entries(directory, stamps)
        if data_dir is not None:
            found = Repositories(directory, data_dir / "cwl" / "catalogue").added_to(found)
        elif not found.frozen:
            found = replace(found, ignored=[*found.ignored, *_left_aside(directory)])
        wanted = str(place.absolute().relative_to(directory)) if place.is_file() else None
        return _Check(directory, settings, None if sites is None else {*sites}).report(found, stamps, wanted)
    except OSError as error:
        raise Unavailable(f"The catalogue {directory} can't be read: {error.filename}: {error.strerror}.") from error
    except DescriberFailed as error:
        raise Unavailable(f"The catalogue {directory} can't be read: {error}.") from error


def _around(document: Path, settings: CWLSettings) -> Path:
    """The directory that a document's references may lead into."""
    document, catalogue = document.absolute(), settings.catalogue.absolute()
    if document.is_relative_to(catalogue):
        return catalogue
    marked = (each for each in document.parents if (each / MANIFEST).is_file() or (each / ".git").exists())
    return next(marked, document.parent)


def _left_aside(directory: Path) -> Iterator[Ignored]:
    for source in read_manifest(directory).git:
        reason = f"{shown(source.url)} is looked at with the configured catalogue only"
        yield Ignored(f"{MANIFEST}:{source.line}", reason)


class _Check:
    def __init__(self, directory: Path, settings: CWLSettings, sites: set[str] | None) -> None:
        self._directory = directory
        self._settings = settings
        self._sites = sites

    def report(self, found: Found, stamps: Stamps, wanted: str | None) -> Report:
        entries = [entry for entry in found.entries if wanted in (None, entry.main)]
        broken = [item for item in found.unusable if wanted is None or item.source in (wanted, "")]
        if wanted and not entries and not broken:
            # A part of another workflow, say: its author wants to know whether it is right all the same.
            entries = [Entry(Path(wanted).stem, wanted, source=wanted)]
        checked = [Checked(item.id, item.source, problem=item.reason) for item in broken]
        scripts: list[tuple[int, Mapping[str, JSON]]] = []
        with TemporaryDirectory() as temporary:
            snapshots = SnapshotStore(Path(temporary))
            for entry, answer in describe_entries(self._directory, entries, lint=True):
                if "error" in answer:
                    checked.append(replace(self._entry(entry), problem=answer["error"]))
                    continue
                described = answer["description"]
                scripts += [(len(checked), script) for script in described.pop("scripts")]
                checked.append(self._described(entry, described, snapshots))
        told: dict[int, list[str]] = {}
        for number, sentence in zip(*_javascript(scripts), strict=True):
            told.setdefault(number, []).append(sentence)
        whole = [
            replace(item, warnings=tuple(dict.fromkeys([*item.warnings, *told.get(number, ())])))
            for number, item in enumerate(checked)
        ]
        problems = [*([found.frozen] if found.frozen else []), *found.problems] if wanted is None else []
        ignored = [] if wanted else [item for item in found.ignored if item.sure or self._is_cwl(item.path)]
        return Report(self._directory, sorted(whole, key=lambda item: (item.id, item.source)), problems, ignored)

    def _entry(self, entry: Entry) -> Checked:
        users, groups = permitted_by(entry, self._settings.without_metadata)
        return Checked(
            entry.id, entry.source, entry.name, users, groups, entry.sites, warnings=(*entry.notices, *self._far(entry))
        )

    def _far(self, entry: Entry) -> Iterator[str]:
        for site in sorted({*(entry.sites or ())} - self._sites) if self._sites is not None else ():
            near = get_close_matches(site, self._sites or (), n=1)
            meant = f"; did they mean {near[0]}?" if near else ""
            yield f"{entry.metadata or entry.source}: the site {site} isn't in the settings{meant}"

    def _described(self, entry: Entry, description: Mapping[str, JSON], snapshots: SnapshotStore) -> Checked:
        checked = self._entry(entry)
        parameters = [load_parameter(item) for item in description["inputs"]]
        if unfit := unfit_for_keys(inputs_schema(parameters), entry.ssh_keys):
            return replace(checked, problem=f"{entry.metadata}: ssh_keys {unfit}")
        findings, resources = description["findings"], description["resources"]
        kept = {key: value for key, value in description.items() if key not in ("findings", "resources")}
        version = snapshots.save(root_of_entry(self._directory, entry), kept, made_by())
        # What is said with its line needn't be said without.
        said = [
            each
            for each in description["warnings"]
            if not each.endswith(" does not exist") and "contains undefined reference to 'file:" not in each
        ]
        warnings = [*findings, *too_much(resources, entry, self._settings.limits), *said, *description["dangers"]]
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
            warnings=(*checked.warnings, *warnings),
        )

    def _is_cwl(self, path: str) -> bool:
        """Whether a file that ends otherwise is CWL."""
        try:
            with (self._directory / path).open("rb") as stream:
                return _CWL.search(stream.read(_LOOKED_AT).decode("utf-8", "replace")) is not None
        except OSError:
            return False


def _javascript(scripts: Sequence[tuple[int, Mapping[str, JSON]]]) -> tuple[list[int], list[str]]:
    """What is wrong with scripts, beside the numbers that they came with; what several share is checked once."""
    numbers: list[int] = []
    sentences: list[str] = []
    owners: dict[str, set[int]] = {}
    for number, script in scripts:
        owners.setdefault(script["place"], set()).add(number)
    different = {(script["place"], script["code"], script["library"]): script for _, script in scripts}
    for sentence in check_scripts([*different.values()]):
        place = next((place for place in owners if sentence.startswith(f"{place}: ")), None)
        for number in sorted(owners[place]) if place else [scripts[0][0]]:
            numbers.append(number)
            sentences.append(sentence)
    return numbers, sentences


def too_much(resources: Sequence[Mapping[str, JSON]], entry: Entry, limits: LimitSettings) -> Iterator[str]:
    """What tools ask for beyond what executions on this machine get."""
    if entry.sites is not None and LOCAL not in entry.sites:
        return
    most = {
        "cores": min(limits.cores, entry.limits.cores or limits.cores),
        "memory": min(limits.memory, entry.limits.memory or limits.memory),
    }
    for each in resources:
        unit = each["unit"]
        if each["amount"] > most[unit]:
            asked, given = (_amount(value, unit) for value in (each["amount"], most[unit]))
            yield f"{each['place']}: asks for {asked}, and an execution on this machine gets {given} (`limits`)"


def _amount(value: float, unit: str) -> str:
    return f"{value / 2**20:g} MiB of memory" if unit == "memory" else f"{value:g} cores"
