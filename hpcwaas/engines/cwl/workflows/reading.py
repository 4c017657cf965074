"""Makes the catalogue's index: what is described anew, which version is published, and who may run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.workflows.describer import DescriberFailed, describe_entries
from hpcwaas.engines.cwl.workflows.entries import Stamps, Unusable, find_entries
from hpcwaas.engines.cwl.workflows.index import Index, Published, Withheld, digest, signature
from hpcwaas.engines.cwl.workflows.metadata import Entry, metadata_of
from hpcwaas.engines.cwl.workflows.parameters import load_parameter
from hpcwaas.engines.cwl.workflows.schema import inputs_schema, unfit_for_keys
from hpcwaas.engines.cwl.workflows.snapshot import SnapshotStore

SETTLE = 3.0
"""Seconds for which metadata must stay as they are before they let in whom those before didn't: while an editor or a
checkout replaces a file, it is missing, or is there by half."""

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
        found = find_entries(self.directory, self.stamps)
        for item in found.unusable:
            self._unusable(item)
        changed = [entry for entry in found.entries if not self._unchanged(entry)]
        self._describe(changed)
        fingerprint = "" if self.failure else self.fingerprint
        waits = [item.wider[1] + self._settle for item in self._published if item.wider]
        return Index(
            fingerprint,
            tuple(sorted(self._published, key=lambda item: item.entry.id)),
            tuple(sorted(self._withheld, key=lambda item: (item.id, item.source))),
            tuple(found.problems),
            min(waits, default=None),
        )

    @property
    def _settle(self) -> float:
        return SETTLE if self.settle is None else self.settle

    def _last(self, workflow_id: str) -> Published | None:
        """What was published under an id last, or is known of it though it is withheld."""
        withheld = (item.last for item in self.old.withheld if item.id == workflow_id)
        last = self.old.by_id.get(workflow_id) or next(withheld, None)
        return last if last and last.version in self.snapshots else None

    def _unusable(self, item: Unusable) -> None:
        if item.entry is None:
            self._withhold(item.id, item.source, item.reason)
        else:
            self._keep(item.entry, item.source, item.reason)

    def _unchanged(self, entry: Entry) -> bool:
        """Publishes again what needs no describing."""
        last = self._last(entry.id)
        if last is None or _place(last.entry) != _place(entry) or last.signature != signature(last, self.stamps):
            return False
        if not self._unfit(entry, last):
            self._publish(replace(last, broken=None), entry)
        return True

    def _describe(self, entries: list[Entry]) -> None:
        described = 0
        try:
            for entry, answer in describe_entries(self.directory, entries):
                described += 1
                if "error" in answer:
                    self._keep(entry, entry.source, answer["error"])
                else:
                    self._take(entry, answer["description"])
        except DescriberFailed as error:
            if not self.old.fingerprint and not self.old.published:
                raise
            self.failure = error
            for entry in entries[described:]:
                self._keep(entry, entry.source, f"{entry.main}: can't be read at the moment")

    def _take(self, entry: Entry, description: Mapping[str, JSON]) -> None:
        """Publishes what was just described."""
        inputs = inputs_schema(load_parameter(item) for item in description["inputs"])
        if unfit := unfit_for_keys(inputs, entry.ssh_keys):
            self._keep(entry, entry.source, f"{metadata_of(entry.source)}: ssh_keys {unfit}")
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

    def _keep(self, entry: Entry, source: str, reason: str) -> None:
        """Leaves published what was so far, for those whom the present metadata permit, whatever is wrong now."""
        last = self._last(entry.id)
        if last is None or last.entry.source != source:
            self._withhold(entry.id, source, reason)
        elif not self._unfit(entry, last):
            entry = replace(entry, root=last.entry.root, main=last.entry.main, fragment=last.entry.fragment)
            self._publish(replace(last, broken=reason + _STAYS), entry)

    def _unfit(self, entry: Entry, last: Published) -> bool:
        """Withholds a version of which the metadata name what isn't there as an input for SSH keys."""
        inputs = self.snapshots.load(last.version).inputs if entry.ssh_keys else ()
        unfit = unfit_for_keys(inputs_schema(inputs), entry.ssh_keys)
        if unfit:
            source = last.entry.source
            self._withhold(entry.id, source, f"{metadata_of(source)}: ssh_keys {unfit}")
        return bool(unfit)

    def _withhold(self, workflow_id: str, source: str, reason: str) -> None:
        self._withheld.append(Withheld(workflow_id, source, reason + _NOT_PUBLISHED, self._last(workflow_id)))

    def _publish(self, item: Published, entry: Entry) -> None:
        """Publishes a version for those whom the metadata permit."""
        last = self._last(entry.id)
        if last is None or not _lets_in_more(entry, last.entry):
            self._published.append(replace(item, entry=entry, wider=None))
            return
        sign = digest([entry.authorized_users, entry.authorized_groups, entry.everybody])
        since = last.wider[1] if last.wider and last.wider[0] == sign and last.wider[1] <= self.now else self.now
        if self.now - since >= self._settle:
            self._published.append(replace(item, entry=entry, wider=None))
            return
        rights = {name: getattr(last.entry, name) for name in ("authorized_users", "authorized_groups", "everybody")}
        self._published.append(replace(item, entry=replace(entry, **rights), wider=(sign, since)))


def _place(entry: Entry) -> tuple[str, str, str | None]:
    return entry.root, entry.main, entry.fragment


def _lets_in_more(new: Entry, old: Entry) -> bool:
    """Whether metadata permit somebody whom those before don't."""
    if old.unrestricted or old.everybody:
        return False
    if new.unrestricted or new.everybody:
        return True
    return any(
        not set(now or ()) <= set(before or ())
        for now, before in (
            (new.authorized_users, old.authorized_users),
            (new.authorized_groups, old.authorized_groups),
        )
    )
