"""Makes the catalogue's index: what is described anew, which version is published, and who may run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.workflows.describer import DescriberFailed, describe_entries
from hpcwaas.engines.cwl.workflows.entries import Stamps, Unusable, find_entries
from hpcwaas.engines.cwl.workflows.index import Index, Published, Refused, Withheld, digest, signature
from hpcwaas.engines.cwl.workflows.metadata import Entry
from hpcwaas.engines.cwl.workflows.parameters import load_parameter
from hpcwaas.engines.cwl.workflows.schema import inputs_schema, unfit_for_keys
from hpcwaas.engines.cwl.workflows.settling import lets_in_more, settle, with_rights
from hpcwaas.engines.cwl.workflows.snapshot import SnapshotStore

SETTLE = 3.0
"""Seconds for which metadata must stay as they are before they let in whom those before didn't: while an editor or a
checkout replaces a file, it is missing, or is there by half."""

AGAIN = 600.0
"""Seconds after which a document is read again whose reading was cut off: the machine may have been busy."""

_STAYS = "; its last good version stays published"
_NOT_PUBLISHED = "; the workflow is not published"


@dataclass(slots=True)
class Reading:
    """Makes the index once.

    Args:
        directory: the catalogue.
        stamps: of its files.
        fingerprint: of the stamps.
        old: the index before.
        snapshots: of what was published so far.
        save: makes a snapshot of an entry by its description and returns its version.
        now: the time in seconds.
        settle: seconds for which metadata that let in more users must stay; `SETTLE` when None.

    Attributes:
        warnings: what cwltool says of a document that is published.
        failure: why nothing could be described.
    """

    directory: Path
    stamps: Stamps
    fingerprint: str
    old: Index
    snapshots: SnapshotStore
    save: Callable[[Entry, Mapping[str, JSON]], str]
    now: float
    settle: float | None = None
    warnings: list[str] = field(default_factory=list)
    failure: DescriberFailed | None = None
    _published: list[Published] = field(default_factory=list)
    _withheld: list[Withheld] = field(default_factory=list)

    def index(self) -> Index:
        """Makes the index.

        Raises:
            DescriberFailed: nothing can be described, and nothing is known from before.
        """
        looked = find_entries(self.directory, self.stamps, self.old.known)
        settled = settle(looked, self.old, self.stamps, self.now, self._settle, self._last)
        found = settled.found
        for item in found.unusable:
            self._unusable(item)
        changed = [entry for entry in found.entries if not self._unchanged(entry)]
        self._describe(changed)
        fingerprint = "" if self.failure else self.fingerprint
        waits = [item.wider[1] + self._settle for item in self._published if item.wider]
        refused = [item.refused for item in self._published] + [item.refused for item in self._withheld]
        waits += [item.again for item in refused if item and item.again is not None]
        waits += [settled.due] if settled.due is not None else []
        return Index(
            fingerprint,
            tuple(sorted(self._published, key=lambda item: item.entry.id)),
            tuple(sorted(self._withheld, key=lambda item: (item.id, item.source))),
            tuple(found.problems),
            min(waits, default=None),
            manifest=settled.manifest,
        )

    @property
    def _settle(self) -> float:
        return SETTLE if self.settle is None else self.settle

    def _last(self, workflow_id: str) -> Published | None:
        """What was published under an id last, or is known of it though it is withheld."""
        withheld = self.old.withheld_by_id.get(workflow_id)
        last = self.old.by_id.get(workflow_id) or (withheld and withheld.last)
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
        if last is None or _place(last.entry) != _place(entry) or last.signature != signature(last, self.stamps):
            return False
        if not self._unfit(entry, last):
            self._publish(replace(last, broken=None, refused=None), entry)
        return True

    def _refused(self, entry: Entry) -> Refused | None:
        """What is known of an entry that couldn't be described."""
        known = self.old.by_id.get(entry.id) or self.old.withheld_by_id.get(entry.id)
        return known.refused if known else None

    def _still(self, entry: Entry, refused: Refused) -> bool:
        due = refused.again is not None and refused.again <= self.now
        return not due and refused.signature == self._signature(entry, refused)

    def _signature(self, entry: Entry, refused: Refused) -> str:
        return digest([*_place(entry), entry.source, entry.ssh_keys, signature(refused, self.stamps)])

    def _describe(self, entries: list[Entry]) -> None:
        left = {entry.id for entry in entries}
        try:
            for entry, answer in describe_entries(self.directory, entries):
                left.discard(entry.id)
                if "error" in answer:
                    self._refuse(entry, answer["error"], answer, answer["unsure"])
                else:
                    self._take(entry, answer["description"])
        except DescriberFailed as error:
            if not self.old.fingerprint and not self.old.published:
                raise
            self.failure = error
            for entry in entries:
                if entry.id in left:
                    self._keep(entry, entry.source, f"{entry.main}: can't be read at the moment")

    def _refuse(self, entry: Entry, reason: str, made_of: Mapping[str, JSON], unsure: bool = False) -> None:
        """Remembers that an entry can't be described as it is."""
        files, directories, missing = (tuple(made_of.get(name, ())) for name in ("files", "directories", "missing"))
        again = self.now + AGAIN if unsure else None
        refused = Refused(reason, files or (entry.main,), directories, missing, "", again)
        refused = replace(refused, signature=self._signature(entry, refused))
        self._keep(entry, entry.source, reason, refused)

    def _take(self, entry: Entry, description: Mapping[str, JSON]) -> None:
        """Publishes what was just described."""
        inputs = inputs_schema(load_parameter(item) for item in description["inputs"])
        if unfit := unfit_for_keys(inputs, entry.ssh_keys):
            self._refuse(entry, f"{entry.metadata}: ssh_keys {unfit}", description)
            return
        try:
            version = self.save(entry, description)
        except OSError as error:
            self._keep(entry, entry.source, f"{entry.main}: {error.filename}: {error.strerror}")
            return
        self.warnings += [f"{entry.main}: {warning}" for warning in description["warnings"]]
        item = Published(
            entry=entry,
            version=version,
            files=tuple(description["files"]),
            directories=tuple(description["directories"]),
            missing=tuple(description["missing"]),
            signature="",
            dangers=tuple(description["dangers"]),
        )
        self._publish(replace(item, signature=signature(item, self.stamps)), entry)

    def _keep(self, entry: Entry, source: str, reason: str, refused: Refused | None = None) -> None:
        """Leaves published what was so far, for those whom the present metadata permit, whatever is wrong now."""
        last = self._last(entry.id)
        if last is None or last.entry.source != source:
            self._withhold(entry.id, source, reason, refused)
        elif not self._unfit(entry, last, refused):
            entry = replace(entry, root=last.entry.root, main=last.entry.main, fragment=last.entry.fragment)
            self._publish(replace(last, broken=reason + _STAYS, refused=refused), entry)

    def _unfit(self, entry: Entry, last: Published, refused: Refused | None = None) -> bool:
        """Withholds a version of which the metadata name what isn't there as an input for SSH keys."""
        inputs = self.snapshots.load(last.version).inputs if entry.ssh_keys else ()
        unfit = unfit_for_keys(inputs_schema(inputs), entry.ssh_keys)
        if unfit:
            self._withhold(entry.id, last.entry.source, f"{entry.metadata}: ssh_keys {unfit}", refused)
        return bool(unfit)

    def _withhold(self, workflow_id: str, source: str, reason: str, refused: Refused | None = None) -> None:
        last = self._last(workflow_id)
        self._withheld.append(Withheld(workflow_id, source, reason + _NOT_PUBLISHED, last, refused))

    def _publish(self, item: Published, entry: Entry) -> None:
        """Publishes a version for those whom the metadata permit."""
        last = self._last(entry.id)
        if last is None or not lets_in_more(entry, last.entry):
            self._published.append(replace(item, entry=entry, wider=None))
            return
        sign = digest([entry.authorized_users, entry.authorized_groups, entry.everybody])
        since = last.wider[1] if last.wider and last.wider[0] == sign and last.wider[1] <= self.now else self.now
        if self.now - since >= self._settle:
            self._published.append(replace(item, entry=entry, wider=None))
            return
        self._published.append(replace(item, entry=with_rights(entry, last.entry), wider=(sign, since)))


def _place(entry: Entry) -> tuple[str, str, str | None]:
    return entry.root, entry.main, entry.fragment
