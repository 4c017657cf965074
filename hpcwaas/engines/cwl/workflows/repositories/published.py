"""What the repositories that a catalogue file names publish, by what was fetched of them."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from hpcwaas.engines.cwl.workflows.clashes import others_of
from hpcwaas.engines.cwl.workflows.entries import Found, find_entries, read_stamps
from hpcwaas.engines.cwl.workflows.ids import usable_id
from hpcwaas.engines.cwl.workflows.ignored import Ignored, sure
from hpcwaas.engines.cwl.workflows.manifest import MANIFEST, GitSource, Manifest, Named, made_id, read_manifest
from hpcwaas.engines.cwl.workflows.metadata import NO_LIMITS, Entry, Unusable
from hpcwaas.engines.cwl.workflows.patterns import is_pattern
from hpcwaas.engines.cwl.workflows.repositories.addresses import Refused, address_of, shown
from hpcwaas.engines.cwl.workflows.repositories.checkouts import whole
from hpcwaas.engines.cwl.workflows.repositories.kept import Kept, key_of, name_of, reference_of
from hpcwaas.engines.cwl.workflows.slurm import NOTHING
from hpcwaas.engines.cwl.workflows.strict_yaml import Unreadable

_NOT_FETCHED = "hasn't been fetched yet: run `hpcwaas-api catalogue update`"


class Repositories:
    """The repositories of one catalogue.

    Args:
        catalogue: the directory of the catalogue file.
        state_dir: where its state is kept.
        trial: where that is kept which was fetched for a look only, and comes first.
    """

    def __init__(self, catalogue: Path, state_dir: Path, trial: Path | None = None) -> None:
        self._catalogue = catalogue
        self._kept = Kept(state_dir)
        self._trial = Kept(trial) if trial else None

    @property
    def fingerprint(self) -> str:
        """Changes when something is fetched."""
        return self._kept.fingerprint

    def unfetched(self) -> list[GitSource]:
        """What the catalogue file names of which the service has another version or none.

        Raises:
            Unreadable: the file isn't understood.
        """
        state = self._kept.load()
        return [
            source
            for source in read_manifest(self._catalogue).git
            if (fetched := state.get(key_of(source))) is None
            or fetched.checkout is None
            or fetched.reference != str(reference_of(source))
            or not whole(self._kept.checkout(fetched.checkout))
        ]

    def added_to(self, found: Found, last: Iterable[Entry] = ()) -> Found:
        """What a look at the catalogue finds, with what the repositories publish.

        Args:
            found: nothing is added to it while the catalogue file isn't understood.
            last: what was published last: it stays where a checkout is lost.
        """
        if found.frozen:
            return found
        try:
            sources = read_manifest(self._catalogue).git
        except Unreadable:  # it was changed a moment ago: the next look tells
            return found
        if not sources:
            return found
        entries, unusable, problems = [*found.entries], [*found.unusable], [*found.problems]
        ignored = [*found.ignored]
        for source in sources:
            for item in self._of(source, last):
                if isinstance(item, Entry):
                    entries.append(item)
                elif isinstance(item, Unusable):
                    unusable.append(item)
                elif isinstance(item, Ignored):
                    ignored.append(item)
                else:
                    problems.append(f"{_label(source)}: {item}")
        told: list[Entry | Unusable] = [*entries, *unusable]
        exact, count = Counter(each.id for each in told if not each.made), Counter(each.id for each in told)
        # Whose names an id can have go before all others.
        clashing = [entry for entry in entries if (count if entry.made else exact)[entry.id] > 1]
        clashes = {*map(id, clashing)}
        unusable += [
            # They may be for different users: nobody is meant for sure.
            Unusable(
                entry.id,
                entry.source,
                f"{entry.metadata or entry.main}: another entry has the id {entry.id} too{_remedy(entry, told)}",
                made=entry.made,
            )
            for entry in clashing
        ]
        return replace(
            found,
            entries=sorted((entry for entry in entries if id(entry) not in clashes), key=lambda entry: entry.id),
            unusable=sorted(unusable, key=lambda item: (item.id, item.source)),
            problems=problems,
            ignored=ignored,
        )

    def _of(self, source: GitSource, last: Iterable[Entry]) -> Iterator[Entry | Unusable | Ignored | str]:
        """What one of them publishes, and what is wrong with it, as the end of a sentence."""
        kept = self._trial if self._trial and key_of(source) in self._trial.load() else self._kept
        fetched, asked = kept.load().get(key_of(source)), str(reference_of(source))
        url = shown(source.url)
        if fetched is None or fetched.commit is None or fetched.checkout is None:
            reason = fetched.problem if fetched and fetched.problem else f"{url} at the {asked} {_NOT_FETCHED}"
            yield from self._lost(source, reason, last)
            return
        stays = f"; commit {fetched.commit} stays published"
        if fetched.problem:
            yield f"{fetched.problem}{stays}"
        elif fetched.reference != asked:
            yield f"{url} at the {asked} {_NOT_FETCHED}{stays}"
        root = kept.checkout(fetched.checkout)
        try:
            found, more = _look(root, source.path, source.line)
        except OSError as error:
            reason = f"{url}: its checkout can't be read ({error.strerror}): run `hpcwaas-api catalogue update`"
            yield from self._lost(source, reason, last)
            return
        yield from (f"{url}: {problem}" for problem in (*found.problems, *more))
        for file in found.ignored:
            if _within(file.path, source.path):
                yield replace(file, path=f"{url}: {file.path}")
        inside = [each for each in found.entries if _within(each.main, source.path)]
        if not inside and not found.unusable:
            yield f"{url}: there is no workflow {f'in {source.path} ' if source.path else ''}at commit {fetched.commit}"
        for entry in inside:
            yield self._entry(source, entry, root, fetched.commit)
        for item in found.unusable:
            if not source.path or item.source == MANIFEST or _within(item.source, source.path):
                yield replace(
                    item, id=source.prefix + item.id, source=MANIFEST, reason=f"{url}: {item.reason}", entry=None
                )

    def _entry(self, source: GitSource, entry: Entry, root: Path, commit: str) -> Entry | Unusable:
        """What the repository says of an entry and what the catalogue file does, which alone says for whom it is."""
        label = _label(source)
        workflow_id, made = source.prefix + entry.id, entry.made
        if source.id:
            path = PurePosixPath(entry.main)
            workflow_id = source.prefix + made_id(source.id, path)
            made = workflow_id != source.prefix + made_id(source.id, path, str)
        if not usable_id(workflow_id):
            reason = (
                f"{label}: {entry.main} would have the id {workflow_id!r}, which can't be used: give `id` or `prefix`"
            )
            return Unusable(workflow_id, MANIFEST, reason, made=made)
        return replace(_for(source, entry), id=workflow_id, root=str(root), commit=commit, made=made)

    def _lost(self, source: GitSource, reason: str, last: Iterable[Entry]) -> Iterator[Unusable | str]:
        """What to say when there is no checkout: what was published of it stays."""
        try:
            begin = name_of(address_of(source.url, self._catalogue).url, "")
        except Refused:
            begin = "/"  # no name of a directory begins so
        told = False
        for entry in last:
            ours = Path(entry.root).name.startswith(begin) and _within(entry.main, source.path)
            if ours and entry.id.startswith(source.prefix):
                told = True
                yield Unusable(entry.id, MANIFEST, f"{_label(source)}: {reason}", replace(_for(source, entry), main=""))
        if not told:
            yield reason


def _for(source: GitSource, entry: Entry) -> Entry:
    """An entry for those whom the catalogue file lets in, as it wants it."""
    said = source.entry
    return replace(
        entry,
        name=said.name or entry.name,
        authorized_users=said.authorized_users,
        authorized_groups=said.authorized_groups,
        everybody=said.everybody,
        ssh_keys=said.ssh_keys or entry.ssh_keys,
        sites=entry.sites if said.sites is None else said.sites,
        time_limit=entry.time_limit if said.time_limit is None else said.time_limit,
        limits=entry.limits if said.limits == NO_LIMITS else said.limits,
        retention=entry.retention.stricter(said.retention),
        slurm=entry.slurm if said.slurm == NOTHING else said.slurm,
        notices=tuple(dict.fromkeys([*said.notices, *entry.notices])),
        source=MANIFEST,
        metadata=_label(source),
    )


def _remedy(entry: Entry, told: Iterable[Entry | Unusable]) -> str:
    """Which files clash, where an id can't have their names, and what to do."""
    if not entry.made:
        return ""
    others = others_of(entry, [each for each in told if each.id == entry.id])
    return f": {entry.main} and {others}; give one of them another `id` or `prefix` in {MANIFEST}"


def _label(source: GitSource) -> str:
    return f"{MANIFEST}:{source.line}"


@lru_cache(maxsize=64)
def _look(root: Path, path: str, line: int) -> tuple[Found, tuple[str, ...]]:
    """What a checkout publishes, and what is odd about it. It never changes.

    Raises:
        OSError: it isn't there, or not with all of its files.
    """
    manifest = None
    document, _, fragment = path.partition("#")
    if is_pattern(path) or (document and (root / document).is_file()):
        named = Named(document, fragment or None, None, Entry("", "", metadata=f"{MANIFEST}:{line}"), {}, line)
        manifest = Manifest(convention=False, workflows=(named,))
    stamps = read_stamps(root)
    if not whole(root):
        raise OSError(errno.ENOENT, "files of it are missing or were changed")
    found = find_entries(root, stamps, manifest=manifest)
    found = replace(found, ignored=tuple(sure(root, found.ignored, stamps)))
    try:
        nested = manifest is None and bool(read_manifest(root).git)
    except Unreadable:
        nested = False  # found.problems tells why
    odd = (f"its {MANIFEST} names repositories, which are not fetched: name them here",) if nested else ()
    return found, odd


def _within(path: str, wanted: str) -> bool:
    wanted = wanted.partition("#")[0]
    return not wanted or is_pattern(wanted) or path == wanted or path.startswith(f"{wanted}/")
