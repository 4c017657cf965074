"""Who may run what a catalogue's directory publishes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from hpcwaas.core.publication_models import Access
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.workflows.describer import DescriberFailed, describe_entries
from hpcwaas.engines.cwl.workflows.entries import permitted_by, read_stamps
from hpcwaas.engines.cwl.workflows.index import Index, IndexFile, fingerprint_of
from hpcwaas.engines.cwl.workflows.reading import Done, Reading
from hpcwaas.engines.cwl.workflows.repositories.published import Repositories
from hpcwaas.engines.cwl.workflows.snapshot import SNAPSHOTS, SnapshotStore
from hpcwaas.errors import Unavailable


def read_access(settings: CWLSettings, data_dir: Path) -> Sequence[Access]:
    """Reads the catalogue as the service would, and changes nothing.

    Args:
        data_dir: of the service, which keeps there what it published last.

    Raises:
        Unavailable: the catalogue can't be read.
    """
    directory = settings.catalogue.absolute()
    try:
        index = _index(directory, data_dir / "cwl" / "catalogue")
    except OSError as error:
        raise Unavailable(f"The catalogue {directory} can't be read: {error.filename}: {error.strerror}.") from error
    except DescriberFailed as error:
        raise Unavailable(f"The catalogue {directory} can't be read: {error}.") from error
    found = []
    for item in index.published:
        users, groups = permitted_by(item.entry, settings.without_metadata)
        warnings = (*item.entry.notices, *item.dangers)
        found.append(Access(item.entry.id, users, groups, problem=item.broken, warnings=warnings))
    withheld = [Access(item.id, published=False, problem=item.reason) for item in index.withheld]
    odd = [Access(None, published=False, problem=problem) for problem in index.odd]
    return [*sorted(found + withheld, key=lambda access: access.id or ""), *odd]


def _index(directory: Path, state_dir: Path) -> Index:
    repositories = Repositories(directory, state_dir)
    stamps = read_stamps(directory)
    fingerprint = fingerprint_of(directory, stamps, repositories.fingerprint)
    old = IndexFile(state_dir).load()
    now = time.time()
    if old.due is None and old.fresh(fingerprint, now):
        return old
    snapshots = SnapshotStore(state_dir / SNAPSHOTS)
    # What is being edited just now is told as it stands.
    reading = Reading(directory, repositories, stamps, fingerprint, old, snapshots, now, settle=0)
    reading.index()
    described = describe_entries(directory, reading.wanted)
    answers = [Done(entry, answer, stamps) for entry, answer in described]
    return Reading(directory, repositories, stamps, fingerprint, old, snapshots, now, answers, settle=0).index()
