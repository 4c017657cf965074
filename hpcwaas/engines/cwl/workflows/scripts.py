"""Checks the JavaScript of what is published, when somebody asks for it, and once for each version."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.workflows.jshint import NotChecked, Script, check_scripts, scripts_of
from hpcwaas.engines.cwl.workflows.snapshot import SnapshotStore

PATIENCE = 20.0
"""Seconds that somebody who asks waits at most."""

_AT_ONCE = 500
"""Scripts of one run of Node.js, which checks some hundred in a second."""

_UNFINISHED = "its JavaScript hasn't been checked yet, since there is much of it: ask again in a moment"


class CheckedScripts:
    """What is wrong with the scripts of versions.

    Args:
        snapshots: of them, where it is kept.
    """

    def __init__(self, snapshots: SnapshotStore) -> None:
        self._snapshots = snapshots
        self._checking = threading.Lock()
        self._failed: dict[str, Sequence[str]] = {}

    def of(self, descriptions: Mapping[str, Mapping[str, JSON]]) -> Mapping[str, Sequence[str]]:
        """Sentences about each version.

        Args:
            descriptions: of the versions.
        """
        deadline = time.monotonic() + PATIENCE
        found: dict[str, Sequence[str]] = {}
        left: dict[str, list[Script]] = {}
        for version, description in descriptions.items():
            known = self._known(version) if description["lint"]["scripts"] else ()
            if known is None:
                left[version] = scripts_of(description["lint"])
            else:
                found[version] = known
        if left and self._checking.acquire(timeout=PATIENCE):  # who comes second finds what the first one did
            try:
                found |= self._check(left, deadline)
            finally:
                self._checking.release()
        return {**dict.fromkeys(left, (_UNFINISHED,)), **found}

    def _check(self, left: Mapping[str, list[Script]], deadline: float) -> Mapping[str, Sequence[str]]:
        found: dict[str, Sequence[str]] = {}
        batch: dict[str, list[Script]] = {}
        for number, (version, scripts) in enumerate(left.items(), 1):
            if (known := self._known(version)) is not None:
                found[version] = known
            else:
                batch[version] = scripts
            if batch and (number == len(left) or sum(map(len, batch.values())) >= _AT_ONCE):
                if deadline <= time.monotonic():
                    return found
                found |= self._run(batch, deadline - time.monotonic())
                batch = {}
        return found

    def _known(self, version: str) -> Sequence[str] | None:
        return self._failed.get(version) or self._snapshots.javascript(version)

    def _run(self, batch: Mapping[str, list[Script]], patience: float) -> Mapping[str, Sequence[str]]:
        try:
            wrong = check_scripts((script for scripts in batch.values() for script in scripts), patience)
        except NotChecked as error:
            failed = dict.fromkeys(batch, (f"its JavaScript isn't checked, since {error}",))
            self._failed |= failed  # the next one who asks learns of others
            return failed
        found = {}
        for version, scripts in batch.items():
            found[version] = list(dict.fromkeys(sentence for script in scripts for sentence in wrong[script]))
            self._snapshots.keep_javascript(version, found[version])
        return found
