"""Fetches what a catalogue file names of repositories: for the command, and at an interval for the service."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from hpcwaas.core.publication_models import Update
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.workflows.manifest import GitSource, read_manifest
from hpcwaas.engines.cwl.workflows.repositories import checkouts
from hpcwaas.engines.cwl.workflows.repositories.addresses import Refused, address_of, shown
from hpcwaas.engines.cwl.workflows.repositories.checkouts import whole
from hpcwaas.engines.cwl.workflows.repositories.kept import Fetched, Kept, key_of, name_of, reference_of
from hpcwaas.engines.cwl.workflows.repositories.program import GitFailed
from hpcwaas.engines.cwl.workflows.strict_yaml import Unreadable
from hpcwaas.errors import Unavailable

AT_ONCE = 4
"""Repositories that are fetched at the same time."""

KEPT_FOR = 3600.0
"""Seconds for which a checkout stays that nothing names any more: somebody may still be reading it."""

_LOOK_EVERY = 5.0
"""Seconds between two looks whether an update is due."""

_log = logging.getLogger(__name__)


def update_repositories(settings: CWLSettings, data_dir: Path) -> Sequence[Update]:
    """Looks at every repository that the catalogue names, and fetches what is new: a tag that was moved, too.

    Args:
        data_dir: of the service.

    Raises:
        Unavailable: the catalogue file can't be read, or another process has been fetching for long.
    """
    directory = settings.catalogue.absolute()
    try:
        sources = read_manifest(directory).git
    except Unreadable as error:
        raise Unavailable(f"The catalogue file {directory}/{error}.") from error
    kept = Kept(data_dir / "cwl" / "catalogue")
    with kept.locked(60) as held:
        if not held:
            raise Unavailable("Another process is fetching repositories at this moment. Try again later.")
        return _Updating(directory, kept, moved=True).run(sources)


def fetch_for_a_look(catalogue: Path, sources: Sequence[GitSource], scratch: Path) -> None:
    """Fetches what entries of a catalogue file lead to now, where the service publishes nothing from.

    Args:
        catalogue: the directory of the catalogue file.
        scratch: where it is kept, as the service keeps its own.
    """
    kept = Kept(scratch)
    with kept.locked(0):
        _Updating(catalogue, kept, moved=True).run(sources)


class _Updating:
    """One update of all entries.

    Args:
        moved: whether a tag may lead elsewhere than before.
    """

    def __init__(self, catalogue: Path, kept: Kept, *, moved: bool) -> None:
        self._catalogue = catalogue
        self._kept = kept
        self._moved = moved

    def run(self, sources: Sequence[GitSource]) -> list[Update]:
        old = self._kept.load()
        # Several entries may publish parts of one version: it is fetched once.
        wanted = {(source.url, reference_of(source)): source for source in sources}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = dict(zip(wanted, pool.map(lambda source: self._fetch(source, old), wanted.values()), strict=True))
        state: dict[str, Fetched] = {}
        updates = []
        for source in sources:
            before = old.get(key_of(source))
            now = self._next(source, before, found[source.url, reference_of(source)])
            state[key_of(source)] = now
            published = before.commit if before else None
            updates.append(Update(shown(source.url), str(reference_of(source)), published, now.commit, now.problem))
        self._kept.save(state)
        self._clean(state)
        return updates

    def _fetch(self, source: GitSource, old: Mapping[str, Fetched]) -> tuple[str, str] | str:
        """The commit and the name of its checkout, or what is wrong, as the end of a sentence."""
        reference = reference_of(source)
        try:
            address = address_of(source.url, self._catalogue)
            commit = checkouts.resolve(address, reference)
            known = old.get(key_of(source))
            if known and known.commit == commit and known.checkout and whole(self._kept.checkout(known.checkout)):
                return commit, known.checkout
            name = name_of(address.url, commit)
            checkouts.fetch(address, reference, commit, self._kept.checkout(name))
        except (Refused, GitFailed) as error:
            return str(error)
        except OSError as error:
            return f"{error.filename or self._kept.checkout('')}: {error.strerror}"
        return commit, name

    def _next(self, source: GitSource, before: Fetched | None, found: tuple[str, str] | str) -> Fetched:
        """The state after what was found."""
        reference, now = str(reference_of(source)), time.time()
        if isinstance(found, str):
            earlier = before or Fetched(reference, None, None, now)
            return replace(earlier, looked_at=now, problem=f"{shown(source.url)} at the {reference}: {found}")
        commit, name = found
        same = before and before.commit and before.reference == reference
        if before and same and source.tag and not self._moved and before.commit != commit:
            problem = (
                f"{shown(source.url)}: the {reference} was moved from commit {before.commit} to {commit}. If that is "
                "meant, run `hpcwaas-api catalogue update`"
            )
            return replace(before, looked_at=now, problem=problem)
        return Fetched(reference, commit, name, now)

    def _clean(self, state: Mapping[str, Fetched]) -> None:
        """Removes what nothing names any more."""
        named = {fetched.checkout for fetched in state.values()}
        for path in self._kept.checkouts():
            if path.name not in named and time.time() - path.stat().st_ctime > KEPT_FOR:
                checkouts.remove(path)


class Updater:
    """Updates at an interval, in whichever of the processes with one data directory finds that it is due.

    Args:
        catalogue: the directory of the catalogue file.
        state_dir: where its state is kept.
        every: seconds between two updates.
    """

    def __init__(self, catalogue: Path, state_dir: Path, every: float) -> None:
        self._catalogue = catalogue
        self._kept = Kept(state_dir)
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="repositories", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Begins no other update."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(min(_LOOK_EVERY, self._every)):
            try:
                self._update()
            except Unreadable:
                pass  # the catalogue tells operators of it
            except Exception:  # a full disk, say: it is tried again
                _log.exception("repositories can't be updated")

    def _update(self) -> None:
        sources = read_manifest(self._catalogue).git
        if not sources or not self._due(sources):
            return
        with self._kept.locked(0) as held:
            if held and self._due(sources):
                for update in _Updating(self._catalogue, self._kept, moved=False).run(sources):
                    if update.problem:
                        _log.warning("catalogue: %s", update.problem)
                    elif update.commit != update.before:
                        _log.info("catalogue: %s is at commit %s now", update.url, update.commit)

    def _due(self, sources: Sequence[GitSource]) -> bool:
        state = self._kept.load()
        known = [state.get(key_of(source)) for source in sources]
        for source, fetched in zip(sources, known, strict=True):
            if fetched is None or (fetched.reference != str(reference_of(source)) and not fetched.problem):
                return True
            if fetched.checkout and not fetched.problem and not self._kept.checkout(fetched.checkout).is_dir():
                return True  # somebody removed it
        oldest = min(fetched.looked_at for fetched in known if fetched)
        return time.time() - oldest >= self._every or oldest > time.time()
