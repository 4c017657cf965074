"""What of a look at the catalogue isn't in force yet: while it is edited, files are missing, or are there by half."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hpcwaas.engines.cwl.workflows.entries import Found, Stamps
from hpcwaas.engines.cwl.workflows.index import Index, Published
from hpcwaas.engines.cwl.workflows.manifest import MANIFEST
from hpcwaas.engines.cwl.workflows.metadata import Entry, Unusable

_CLOCKS = 60.0
"""Seconds by which the clock of a file system may be ahead."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What is in force.

    Attributes:
        manifest: what the next look is to know of the catalogue file: `Found.manifest`, and since when it is so.
        due: when more may be in force, though nothing changes; None for never.
    """

    found: Found
    manifest: tuple[str, float]
    due: float | None


def settle(
    found: Found, old: Index, stamps: Stamps, now: float, seconds: float, last: Callable[[str], Published | None]
) -> Settled:
    """Takes back what isn't in force yet.

    A catalogue file that isn't understood, or has just vanished, leaves everything as it was, and lets in nobody. One
    that has just changed publishes nothing new for some seconds, and neither does a folder of several documents into
    which files have just come: its metadata may be on their way.

    Args:
        old: the index before.
        stamps: of the catalogue's files.
        seconds: for which files must stay unchanged.
        last: what was published under an id last, or is known of it though it isn't published.
    """
    before, first = old.manifest or (found.manifest, 0.0)
    since = first if before == found.manifest and first <= now else now
    manifest = (found.manifest, since)
    if found.frozen:
        return Settled(_frozen(found, found.frozen, old, last), manifest, None)
    waits = [since + seconds] if now - since < seconds else []
    if waits and not found.manifest:
        reason = f"{MANIFEST}: it is missing; in case that it is just being replaced, all stays for {seconds:g} seconds"
        return Settled(_frozen(found, reason, old, last), manifest, waits[0])
    if old.manifest is None:
        return Settled(found, manifest, None)
    young = _young(stamps, now, seconds)
    waits_for_all = bool(waits)
    entries, unusable = [], [*found.unusable]
    for entry in found.entries:
        begin = young.get(entry.main.rpartition("/")[0]) if _of_several(entry) else None
        begun = entry.id in old.unread_by_id  # it was let in, and hasn't been read yet
        if entry.id in old.by_id or (not waits_for_all and (begin is None or begun)):
            entries.append(entry)
            continue
        if begin is not None:
            waits.append(begin + seconds)
        if last(entry.id):  # whom it was for isn't forgotten
            reason = (
                f"{entry.main}: waits until files beside it, or {MANIFEST}, have stayed unchanged for {seconds:g} s"
            )
            unusable.append(Unusable(entry.id, entry.source, reason))
    return Settled(replace(found, entries=entries, unusable=unusable), manifest, min(waits, default=None))


def _of_several(entry: Entry) -> bool:
    return not entry.root and "/" in entry.source and not entry.source.endswith("/")


def _young(stamps: Stamps, now: float, seconds: float) -> dict[str, float]:
    """Folders into which a file has come, or in which one was changed, a moment ago, and when."""
    found: dict[str, float] = {}
    for path, stamp in stamps.items():
        changed = stamp[1] / 1e9 if stamp else 0.0
        if now - seconds < changed < now + _CLOCKS:
            folder = path.rpartition("/")[0]
            found[folder] = max(changed, found.get(folder, 0.0))
    return found


def _frozen(found: Found, reason: str, old: Index, last: Callable[[str], Published | None]) -> Found:
    known = frozenset(old.known)
    unusable = [item for item in found.unusable if (item.source, item.id) in known]
    for entry in found.entries:
        if (entry.source, entry.id) in known:
            before = last(entry.id)
            unusable.append(
                Unusable(entry.id, entry.source, reason, _narrowed(entry, before.entry) if before else entry)
            )
    seen = {item.id for item in unusable}
    named = [item.entry for item in old.published if item.entry.source == MANIFEST]
    unusable += [Unusable(entry.id, MANIFEST, reason, entry) for entry in named if entry.id not in seen]
    seen |= {item.entry.id for item in old.published}
    unusable += [Unusable(each.id, each.source, reason) for each in old.withheld if each.id not in seen and each.last]
    hidden = [each.entry for each in old.unread if each.entry.id not in seen and each.last]
    unusable += [Unusable(entry.id, entry.source, reason) for entry in hidden]
    return replace(found, entries=(), unusable=unusable)


def _narrowed(entry: Entry, before: Entry) -> Entry:
    """An entry that lets in nobody whom the one before doesn't."""
    if not lets_in_more(entry, before):
        return entry
    return with_rights(entry, before)


def with_rights(entry: Entry, other: Entry) -> Entry:
    """An entry for those whom another one is for."""
    users, groups = other.authorized_users, other.authorized_groups
    return replace(entry, authorized_users=users, authorized_groups=groups, everybody=other.everybody)


def lets_in_more(new: Entry, old: Entry) -> bool:
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
