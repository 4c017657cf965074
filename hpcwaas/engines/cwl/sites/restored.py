"""Puts right what a backup has brought back: nothing of it is started, for it may have been, after the backup."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from hpcwaas.core.endings import RESTORED
from hpcwaas.core.models import ExecutionState, Level, Status
from hpcwaas.engines.cwl.run.steps import finish
from hpcwaas.engines.cwl.sites.base import pending
from hpcwaas.engines.cwl.sites.mirror import ASKED, REMOVED, SENT, Intent, Mirror
from hpcwaas.engines.cwl.storage import spool
from hpcwaas.engines.cwl.storage.log import LogWriter
from hpcwaas.engines.cwl.storage.spool import Spool

_MOST_LOG = 1 << 30


def restored(directory: Path, now: datetime) -> None:
    """Ends executions that hadn't ended when they were copied: all that waited or ran on this machine, and those that
    waited for their site. Those that may run on a site are looked after again.

    Args:
        directory: of the engine, in which no process is at work.
        now: when they end.
    """
    place = Spool(directory)
    for path in sorted((directory / "executions").iterdir()):
        state = place.state(path.name)
        if state is None or state.ended_at is None:
            request = place.request(path.name)
            steps = state.steps if state and state.steps else pending(request.steps if request else ())
            end = _end(path, replace(state or ExecutionState(Status.FAILED), steps=steps), now)
            place.write_state(path.name, replace(end, stored=place.kept(path.name)))
    for path in sorted((directory / "sites").glob("[!.]*")):
        _put_right(Mirror(path), now)


def _put_right(mirror: Mirror, now: datetime) -> None:
    for path in sorted((mirror.directory / "executions").iterdir()):
        intent, state = mirror.intent(path.name), mirror.state(path.name)
        there = mirror.has(path.name, SENT) or mirror.has(path.name, ASKED)
        if not state.status.over and there and intent is not None:
            mirror.mark(path.name, SENT)  # so it is looked for, and not sent
        elif not state.status.over:
            mirror.write_state(path.name, _end(path, state, now))
        if intent is not None:
            _mark(mirror, intent, over=mirror.state(path.name).status.over, there=there)
    for account in mirror.accounts():
        account.mark.touch(mode=0o600)


def _mark(mirror: Mirror, intent: Intent, *, over: bool, there: bool) -> None:
    """Gives an execution the one marker that it should have: it may have had another one while markers were copied."""
    account = mirror.account(intent.placement)
    account.make(intent.placement)
    for folder in (account.queue, account.active):
        (folder / intent.ticket).unlink(missing_ok=True)
    if not over:
        (account.active / intent.ticket).touch(mode=0o600)
    elif there and not mirror.has(intent.id, REMOVED) and not (account.kept / intent.ticket).exists():
        (account.kept / intent.ticket).touch(mode=0o600)


def _end(path: Path, state: ExecutionState, now: datetime) -> ExecutionState:
    log = LogWriter(path / spool.LOG, _MOST_LOG)
    log.end(Level.ERROR, RESTORED)
    log.close()
    steps = finish(state.steps, Status.FAILED, now)
    return replace(state, status=Status.FAILED, reason=RESTORED, ended_at=now, steps=steps)
