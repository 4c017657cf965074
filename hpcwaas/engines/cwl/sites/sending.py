"""Brings to a site what executions of one account lack there, beside everything else that is done for it."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from hpcwaas.common import durable, tracing
from hpcwaas.engines.cwl.inputs.fetch import FetchError
from hpcwaas.engines.cwl.run.supervisor import size_text
from hpcwaas.engines.cwl.sites import starting, transfer
from hpcwaas.engines.cwl.sites.around import Surroundings, Way
from hpcwaas.engines.cwl.sites.connection import Connection, RemoteFileError
from hpcwaas.engines.cwl.sites.mirror import Intent
from hpcwaas.engines.cwl.sites.taking import BROUGHT, Untakable, Unwanted
from hpcwaas.engines.cwl.storage import spool
from hpcwaas.errors import Conflict, ServiceError

Accept: TypeAlias = Mapping[str, Sequence[str]]
"""Digests of what has come, `content` and `workflows` apart."""

_GONE = "The execution could not be started: one of its files was removed from the service's disk. Trigger it again."
_TURN = 5.0
"""Seconds for which what one execution lacks is sent while others wait."""
_TRIES = 3
"""Attempts to send a content that doesn't fit its digest."""


class Sending:
    """What is being sent.

    Args:
        fail: ends an execution that can't begin, with the reason.
        postpone: has one tried again later, with the reason.

    Attributes:
        waiting: ids of executions whose inputs are to be sent, for the thread that sends; None ends it.
        fetching: ids of those whose inputs are to be downloaded, for another one: an address may be slow.
        stopped: set when what is being downloaded is to be broken off, and gone on with by another process.
    """

    def __init__(
        self, around: Surroundings, way: Way, fail: Callable[[str, str], object], postpone: Callable[[str, str], object]
    ) -> None:
        self._around = around
        self._mirror = around.mirror
        self._way = way
        self._fail = fail
        self._postpone = postpone
        self.waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.fetching: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.stopped = threading.Event()
        self._held = contextlib.ExitStack()
        self._connection: Connection | None = None
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

    def fetch(self, intent: Intent) -> None:
        """Has the files downloaded that an execution's inputs name by addresses, and outputs that lie elsewhere."""
        reason = BROUGHT if intent.taken else "Its input files are being downloaded."
        self._hand_over(self.fetching, intent.id, {}, reason)

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
            reason = f"Its inputs are being sent to {self._around.site} ({size})."
            self._hand_over(self.waiting, execution_id, wanted, reason)

    def _hand_over(
        self, waiting: queue.SimpleQueue[str | None], execution_id: str, wanted: Mapping[str, Path], reason: str
    ) -> None:
        self._missing[execution_id] = wanted
        self._mirror.write_state(execution_id, replace(self._mirror.state(execution_id), reason=reason))
        waiting.put(execution_id)

    def download(self, execution_id: str) -> None:
        """Does what `fetch` has asked for. It may take long."""
        around, intent = self._around, self._mirror.intent(execution_id)

        def wanted() -> bool:
            return not self.stopped.is_set() and not self._is_cancelled(execution_id)

        if intent is not None and wanted():
            try:
                transfer.download(self._mirror, intent, around.networks, around.download, around.fetch, wanted)
            except FetchError as error:
                if wanted():
                    self._fail(execution_id, f"An input could not be downloaded. {error}")
            except Conflict as error:
                self._fail(execution_id, f"The execution could not be started: {error}")
            except Untakable as error:
                self._fail(execution_id, str(error))
            except ServiceError as error:  # of where an output lies: nothing is wrong with this account
                if not self.stopped.is_set():
                    self._postpone(execution_id, error.detail)
            except FileNotFoundError:
                self._fail(execution_id, _GONE)
            except Unwanted:
                pass
        self._missing.pop(execution_id, None)

    def send(self, execution_id: str) -> None:
        """Sends what an execution lacks: for some seconds, if others wait, after which it waits again.

        Raises:
            SiteFailed: it couldn't be sent just now.
        """
        intent = self._mirror.intent(execution_id)
        until = time.monotonic() + _TURN

        def wanted() -> bool:
            return not self._is_cancelled(execution_id) and (self.waiting.empty() or time.monotonic() < until)

        if intent is not None and not self._is_cancelled(execution_id):
            missing = self._missing[execution_id]
            lacking = {digest: path for digest, path in missing.items() if digest not in self._arrived}
            try:
                about = {"hpcwaas.site": self._around.site, "hpcwaas.execution": execution_id}
                with tracing.span("send to the site", about, parent=intent.trace):
                    self._arrived |= self._send(intent, lacking, wanted) if lacking else set()
            except FileNotFoundError:
                self._fail(execution_id, _GONE)
            except RemoteFileError as error:
                if error.kind == "missing":
                    # Who brings the same for another site with this directory was faster, say: it is asked for anew.
                    self._tries.update(lacking.keys())
                else:
                    words = {"kind": error.kind, "path": error.path, "detail": error.detail}
                    self._fail(execution_id, starting.refused(self._around.site, words, self._names(intent)))
            else:
                if lacking.keys() - self._arrived and not self._is_cancelled(execution_id):
                    self.waiting.put(execution_id)
                    return
        self._missing.pop(execution_id, None)

    def _is_cancelled(self, execution_id: str) -> bool:
        return self._mirror.has(execution_id, spool.CANCEL)

    def _send(self, intent: Intent, lacking: Mapping[str, Path], wanted: Callable[[], bool]) -> set[str]:
        # Accounts that share a login name share its directory, too.
        lock = None
        while lock is None:
            lock = durable.lock(self._mirror.login_lock(intent.placement), 1.0)
        try:
            if self._connection is None:
                self._way.turn()
                self._connection = self._held.enter_context(self._way.connection(f"execution {intent.id}"))
            place = self._way.directory("").removesuffix("/executions/")
            sent = transfer.send(self._connection, place, lacking, wanted)
        except BaseException:
            self._let_go()
            raise
        finally:
            os.close(lock)
        if self.waiting.empty():  # else one connection serves all that wait, with one session
            self._let_go()
        return sent

    def _let_go(self) -> None:
        self._connection = None
        self._held.close()

    def _names(self, intent: Intent) -> dict[str, str]:
        names = {each.sha256: Path(each.target).name for each in intent.staged}
        return names | {self._around.packages.of(intent.root)[0]: "The workflow"}
