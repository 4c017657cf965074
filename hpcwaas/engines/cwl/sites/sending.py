"""Brings to a site what executions of one account lack there, beside everything else that is done for it."""

from __future__ import annotations

import os
import queue
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from hpcwaas.common import durable
from hpcwaas.engines.cwl.inputs.fetch import FetchError
from hpcwaas.engines.cwl.run.supervisor import size_text
from hpcwaas.engines.cwl.sites import starting, transfer
from hpcwaas.engines.cwl.sites.around import Surroundings, Way
from hpcwaas.engines.cwl.sites.connection import RemoteFileError
from hpcwaas.engines.cwl.sites.mirror import Intent
from hpcwaas.engines.cwl.storage import spool
from hpcwaas.errors import Conflict

Accept: TypeAlias = Mapping[str, Sequence[str]]
"""Digests of what has come, `content` and `workflows` apart."""

_GONE = "The execution could not be started: one of its files was removed from the service's disk. Trigger it again."
_TRIES = 3
"""Attempts to send a content that doesn't fit its digest."""


class Sending:
    """What is being sent.

    Args:
        fail: ends an execution that can't begin, with the reason.

    Attributes:
        waiting: ids of executions whose inputs are to be sent, for the thread that sends; None ends it.
    """

    def __init__(self, around: Surroundings, way: Way, fail: Callable[[str, str], object]) -> None:
        self._around = around
        self._mirror = around.mirror
        self._way = way
        self._fail = fail
        self.waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._missing: dict[str, Mapping[str, Path]] = {}
        self._arrived: set[str] = set()
        self._packages: set[str] = set()
        self._tries: Counter[str] = Counter()

    def busy_with(self, execution_id: str) -> bool:
        """Whether an execution waits for what is being sent."""
        return execution_id in self._missing

    def arrived(self) -> Accept:
        """What the site is to verify and to take."""
        arrived = sorted(self._arrived)
        packages = [digest for digest in arrived if digest in self._packages]
        return {"content": [digest for digest in arrived if digest not in self._packages], "workflows": packages}

    def accepted(self, asked: Accept, wrong: Sequence[str]) -> None:
        """Takes the answer to that.

        Args:
            wrong: what isn't what it should be, and was removed there.
        """
        self._arrived.difference_update(*asked.values())
        self._tries.update(wrong)

    def fetch(self, execution_id: str) -> None:
        """Has the files downloaded that an execution's inputs name by addresses."""
        self._hand_over(execution_id, {}, "Its input files are being downloaded.")

    def bring(self, execution_id: str, missing: Mapping[str, Mapping[str, int]]) -> None:
        """Has sent what an execution lacks on the site.

        Args:
            missing: digests, as the agent tells them.
        """
        intent = self._mirror.intent(execution_id)
        if intent is None:
            return
        staged = (*intent.staged, *(transfer.downloaded(self._mirror, intent) or ()))
        places = {each.sha256: self._mirror.execution(execution_id) / each.place for each in staged}
        workflow, path = self._around.packages.of(intent.root)
        self._packages.add(workflow)
        places[workflow] = path
        wanted = {digest: places[digest] for part in missing.values() for digest in part if digest in places}
        given_up = [self._names(intent).get(digest, digest) for digest in wanted if self._tries[digest] >= _TRIES]
        try:
            size = size_text(sum(path.stat().st_size for path in wanted.values()))
        except FileNotFoundError:
            self._fail(execution_id, _GONE)
            return
        if given_up:
            self._fail(
                execution_id,
                f"{given_up[0]} was sent to {self._around.site} {_TRIES} times and never arrived as it was sent.",
            )
        else:
            self._hand_over(execution_id, wanted, f"Its inputs are being sent to {self._around.site} ({size}).")

    def _hand_over(self, execution_id: str, wanted: Mapping[str, Path], reason: str) -> None:
        self._missing[execution_id] = wanted
        self._mirror.write_state(execution_id, replace(self._mirror.state(execution_id), reason=reason))
        self.waiting.put(execution_id)

    def send(self, execution_id: str) -> None:
        """Fetches and sends what an execution lacks. It may take long.

        Raises:
            SiteFailed: it couldn't be sent just now.
        """
        intent = self._mirror.intent(execution_id)
        if intent is None or self._mirror.has(execution_id, spool.CANCEL):
            self._missing.pop(execution_id, None)
            return
        try:
            transfer.download(self._mirror, intent, self._around.networks, self._around.download)
            lacking = self._missing[execution_id]
            wanted = {digest: path for digest, path in lacking.items() if digest not in self._arrived}
            if wanted:
                self._send(intent, wanted)
            self._arrived |= wanted.keys()
        except FetchError as error:
            self._fail(execution_id, f"An input could not be downloaded. {error}")
        except Conflict as error:
            self._fail(execution_id, f"The execution could not be started: {error}")
        except FileNotFoundError:
            self._fail(execution_id, _GONE)
        except RemoteFileError as error:
            words = {"kind": error.kind, "path": error.path, "detail": error.detail}
            self._fail(execution_id, starting.refused(self._around.site, words, self._names(intent)))
        self._missing.pop(execution_id, None)

    def _send(self, intent: Intent, wanted: Mapping[str, Path]) -> None:
        # Accounts that share a login name share its directory, too.
        lock = None
        while lock is None:
            lock = durable.lock(self._mirror.login_lock(intent.placement), 1.0)
        try:
            with self._way.connection(f"execution {intent.id}") as connection:
                transfer.send(connection, self._way.directory("").removesuffix("/executions/"), wanted)
        finally:
            os.close(lock)

    def _names(self, intent: Intent) -> dict[str, str]:
        names = {each.sha256: Path(each.target).name for each in intent.staged}
        return names | {self._around.packages.of(intent.root)[0]: "The workflow"}
