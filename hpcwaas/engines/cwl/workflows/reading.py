"""Makes the catalogue's index: what is described anew, which version is published, and who may run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.workflows.describer import Answer, DescriberFailed, key_of
from hpcwaas.engines.cwl.workflows.entries import Stamps, find_entries, stamp_of
from hpcwaas.engines.cwl.workflows.ignored import sure
from hpcwaas.engines.cwl.workflows.index import Index, Published, Refused, Unread, Withheld, digest, signature
from hpcwaas.engines.cwl.workflows.metadata import Entry, Unusable
from hpcwaas.engines.cwl.workflows.parameters import load_parameter
from hpcwaas.engines.cwl.workflows.repositories.published import Repositories
from hpcwaas.engines.cwl.workflows.schema import inputs_schema, unfit_for_keys
from hpcwaas.engines.cwl.workflows.settling import lets_in_more, settle, with_rights
from hpcwaas.engines.cwl.workflows.snapshot import SnapshotStore

SETTLE = 3.0
"""Seconds for which metadata must stay as they are before they let in whom those before didn't: while an editor or a
checkout replaces a file, it is missing, or is there by half."""

AGAIN = 5.0
"""Seconds after which a document is read again whose reading was cut off: the machine may have been busy. Each time it
is four times as long."""

AGAIN_AT_MOST = 600.0
"""The longest of these."""

_STAYS = "; its last good version stays published"
_NOT_PUBLISHED = "; the workflow is not published"


Save: TypeAlias = Callable[[Entry, Mapping[str, JSON]], str]
"""Makes a snapshot of an entry by its description and returns its version."""


@dataclass(frozen=True, slots=True)
class Done:
    """An entry that has been described.

    Attributes:
        answer: of the program that did.
        stamps: of the catalogue before.
        version: of its snapshot; empty when there is none.
        failure: why there is none, though it could be described.
        stale: whether one of its files changed meanwhile.
    """

    entry: Entry
    answer: Answer
    stamps: Stamps
    version: str = ""
    failure: str = ""
    stale: bool = False


def done(directory: Path, entry: Entry, answer: Answer, stamps: Stamps, save: Save) -> Done:
    """Makes the snapshot of what could be described.

    Args:
        directory: the catalogue.
        stamps: of its files, before the entry was described.
    """
    if "error" in answer:
        return Done(entry, answer, stamps)
    try:
        version = save(entry, answer["description"])
    except OSError as error:
        return Done(entry, answer, stamps, failure=f"{entry.main}: {error.filename}: {error.strerror}")
    names = () if entry.root else answer["description"]["files"]
    stale = any(name in stamps and stamp_of(directory / name) != stamps[name] for name in names)
    return Done(entry, answer, stamps, version, stale=stale)


@dataclass(slots=True)
class Reading:
    """Makes the index by what is known at one moment. What is still to be described is in its `unread`, and what was
    published of that before goes on being published, for those whom the present metadata permit.

    Args:
        directory: the catalogue.
        repositories: that it names.
        stamps: of its files.
        fingerprint: of all that.
        old: the index before.
        snapshots: of what was published so far.
        now: the time in seconds.
        answers: what has been described since the index before.
        failure: why nothing can be described.
        settle: seconds for which metadata that let in more users must stay; `SETTLE` when None.

    Attributes:
        warnings: what cwltool says of a document that is published.
        wanted: what is to be described, in the order of ids.
    """

    directory: Path
    repositories: Repositories
    stamps: Stamps
    fingerprint: str
    old: Index
    snapshots: SnapshotStore
    now: float
    answers: Iterable[Done] = ()
    failure: DescriberFailed | None = None
    settle: float | None = None
    warnings: list[str] = field(default_factory=list)
    wanted: list[Entry] = field(default_factory=list)
    _published: list[Published] = field(default_factory=list)
    _withheld: list[Withheld] = field(default_factory=list)
    _unread: list[Unread] = field(default_factory=list)
    _lasts: dict[str, Published | None] = field(default_factory=dict)

    def index(self) -> Index:
        """Makes the index."""
        looked = self.repositories.added_to(
            find_entries(self.directory, self.stamps, self.old.known), (item.entry for item in self.old.published)
        )
        settled = settle(looked, self.old, self.stamps, self.now, self._settle, self._last)
        found = settled.found
        for item in found.unusable:
            self._unusable(item)
        answers = {key_of(each.entry): each for each in self.answers if not each.stale}
        for entry in found.entries:
            answer = answers.get(key_of(entry))
            if not (answer and self._take(entry, answer)) and not self._unchanged(entry):
                self._wait(entry)
        waits = [item.wider[1] + self._settle for item in self._published if item.wider]
        refused = [item.refused for item in self._published] + [item.refused for item in self._withheld]
        waits += [item.again for item in refused if item and item.again is not None]
        waits += [settled.due] if settled.due is not None else []
        return Index(
            "" if self.failure or self.wanted else self.fingerprint,
            tuple(sorted(self._published, key=lambda item: item.entry.id)),
            tuple(sorted(self._withheld, key=lambda item: (item.id, item.source))),
            tuple(found.problems),
            min(waits, default=None),
            manifest=settled.manifest,
            unread=tuple(self._unread),
            ignored=tuple(sure(self.directory, found.ignored, self.stamps)),
        )

    @property
    def _settle(self) -> float:
        return SETTLE if self.settle is None else self.settle

    def _last(self, workflow_id: str) -> Published | None:
        """What was published under an id last, or is known of it though it is withheld."""
        if workflow_id not in self._lasts:
            self._lasts[workflow_id] = self._look_up_last(workflow_id)
        return self._lasts[workflow_id]

    def _look_up_last(self, workflow_id: str) -> Published | None:
        hidden = self.old.withheld_by_id.get(workflow_id) or self.old.unread_by_id.get(workflow_id)
        last = self.old.by_id.get(workflow_id) or (hidden and hidden.last)
        return last if last and last.version in self.snapshots else None

    def _unusable(self, item: Unusable) -> None:
        if item.entry is None:
            self._withhold(item.id, item.source, item.reason)
        else:
            self._keep(item.entry, item.source, item.reason)

    def _unchanged(self, entry: Entry) -> bool:
        """Publishes again what needs no describing, and keeps refusing what can't be described."""
        last = self._last(entry.id)
        if (refused := self._refused(entry)) and self._still(entry, refused):
            self._keep(entry, entry.source, refused.reason, refused)
            return True
        if (
            last is None
            or _place(last.entry) != _place(entry)
            or last.signature != signature(last, self._stamps(entry))
        ):
            return False
        if not self._unfit(entry, last):
            self._publish(replace(last, broken=None, refused=None) if last.broken or last.refused else last, entry)
        return True

    def _refused(self, entry: Entry) -> Refused | None:
        """What is known of an entry that couldn't be described."""
        known = self.old.by_id.get(entry.id) or self.old.withheld_by_id.get(entry.id)
        return known.refused if known else None

    def _still(self, entry: Entry, refused: Refused) -> bool:
        due = refused.again is not None and refused.again <= self.now
        return not due and refused.signature == digest([*key_of(entry), signature(refused, self._stamps(entry))])

    def _stamps(self, entry: Entry) -> Stamps:
        """Those that an entry depends on: checkouts don't change."""
        return {} if entry.root else self.stamps

    def _wait(self, entry: Entry) -> None:
        """Leaves published what was so far until the entry has been described."""
        if self.failure:
            self._keep(entry, entry.source, f"{entry.main}: can't be read at the moment")
            return
        self.wanted.append(entry)
        last = self._last(entry.id)
        if last is None or last.entry.source != entry.source or self._unfit_keys(entry, last):
            wider = last is not None and lets_in_more(entry, last.entry)
            self._unread.append(Unread(with_rights(entry, last.entry) if last and wider else entry, last))
        else:
            self._publish(last, _placed(entry, last.entry))

    def _take(self, entry: Entry, done: Done) -> bool:
        """Publishes what was just described, or remembers that it can't be; not what has changed since."""
        described = done.answer.get("description", done.answer)
        files, directories, missing = (tuple(described.get(name, ())) for name in ("files", "directories", "missing"))
        made_of = Refused("", files or (entry.main,), directories, missing, "")
        sign = signature(made_of, self._stamps(entry))
        if sign != signature(made_of, {} if entry.root else done.stamps):
            return False
        if "error" in done.answer:
            unsure, reason = done.answer["unsure"], done.answer["error"]
        else:
            inputs = inputs_schema(load_parameter(item) for item in described["inputs"])
            unfit = unfit_for_keys(inputs, entry.ssh_keys)
            unsure, reason = bool(done.failure), f"{entry.metadata}: ssh_keys {unfit}" if unfit else done.failure
        if reason:
            whole = digest([*key_of(entry), sign])
            before = self._refused(entry)
            tries = before.tries + 1 if before and before.signature == whole else 1
            again = self.now + min(AGAIN * 4 ** (tries - 1), AGAIN_AT_MOST) if unsure else None
            refused = replace(made_of, reason=reason, signature=whole, again=again, tries=tries)
            self._keep(entry, entry.source, reason, refused)
            return True
        self.warnings += described["warnings"]
        dangers = tuple(described["dangers"])
        item = Published(entry, done.version, files, directories, missing, sign, dangers=dangers)
        self._publish(item, entry)
        return True

    def _keep(self, entry: Entry, source: str, reason: str, refused: Refused | None = None) -> None:
        """Leaves published what was so far, for those whom the present metadata permit, whatever is wrong now."""
        last = self._last(entry.id)
        if last is None or last.entry.source != source:
            self._withhold(entry.id, source, reason, refused)
        elif not self._unfit(entry, last, refused):
            self._publish(replace(last, broken=reason + _STAYS, refused=refused), _placed(entry, last.entry))

    def _unfit(self, entry: Entry, last: Published, refused: Refused | None = None) -> bool:
        """Withholds a version of which the metadata name what isn't there as an input for SSH keys."""
        unfit = self._unfit_keys(entry, last)
        if unfit:
            self._withhold(entry.id, last.entry.source, f"{entry.metadata}: ssh_keys {unfit}", refused)
        return bool(unfit)

    def _unfit_keys(self, entry: Entry, last: Published) -> str | None:
        inputs = self.snapshots.load(last.version).inputs if entry.ssh_keys else ()
        return unfit_for_keys(inputs_schema(inputs), entry.ssh_keys)

    def _withhold(self, workflow_id: str, source: str, reason: str, refused: Refused | None = None) -> None:
        last = self._last(workflow_id)
        self._withheld.append(Withheld(workflow_id, source, reason + _NOT_PUBLISHED, last, refused))

    def _publish(self, item: Published, entry: Entry) -> None:
        """Publishes a version for those whom the metadata permit."""
        last = self._last(entry.id)
        if last is None or not lets_in_more(entry, last.entry):
            same = item.wider is None and item.entry == entry and item.entry.metadata == entry.metadata
            self._published.append(item if same else replace(item, entry=entry, wider=None))
            return
        sign = digest([entry.authorized_users, entry.authorized_groups, entry.everybody])
        since = last.wider[1] if last.wider and last.wider[0] == sign and last.wider[1] <= self.now else self.now
        if self.now - since >= self._settle:
            self._published.append(replace(item, entry=entry, wider=None))
            return
        self._published.append(replace(item, entry=with_rights(entry, last.entry), wider=(sign, since)))


def _placed(entry: Entry, other: Entry) -> Entry:
    """An entry with the document of another one."""
    return replace(entry, root=other.root, commit=other.commit, main=other.main, fragment=other.fragment)


def _place(entry: Entry) -> tuple[str, str, str | None]:
    return entry.root, entry.main, entry.fragment
