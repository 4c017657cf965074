"""What the service keeps of the executions on one site, on its own disk.

    executions/ID/          intent.json job.json uploads/ downloads/ state.json log.jsonl outputs.json cancel
                            asked           the site may have been asked to start it
                            sent            it is known that the site has it
                            attempt         number of the attempt, once it was resumed
                            followed        somebody waits for its log
                            removed         its files on the site were removed
    incoming/               executions that are being written
    unfinished/ACCOUNT      accounts that have something to do
    accounts/ACCOUNT/       account.json lock poke proved known.json silence.json
        queue/TICKET        executions that wait for their turn
        active/TICKET       those that were sent to the site, or may have been
        kept/TICKET         those that have ended, as long as their files stay on the site
        unwanted/TICKET     those of them whose files are to be removed there

The intent is here, complete, before the first byte goes out. Everything is done by renaming, so that a process killed
between any two calls leaves something that the next one understands. Whoever holds the lock of an account moves its
executions on; all other processes read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from hpcwaas.common import durable
from hpcwaas.core.models import JSON, ExecutionState, Status, StepDeclaration
from hpcwaas.core.site_models import Placement
from hpcwaas.engines.cwl.sites.base import pending
from hpcwaas.engines.cwl.storage import spool, stored
from hpcwaas.engines.cwl.storage.outputs import TakenOutput
from hpcwaas.engines.cwl.storage.spool import Spool
from hpcwaas.engines.cwl.storage.trees import remove_tree
from hpcwaas.engines.cwl.workflows.metadata import NO_LIMITS, Limits
from hpcwaas.engines.cwl.workflows.slurm import Slurm, StepNeeds
from hpcwaas.errors import ServiceError

INTENT = "intent.json"
DOWNLOADS = "downloads"
ASKED = "asked"
SENT = "sent"
ATTEMPT = "attempt"
FOLLOWED = "followed"
REMOVED = "removed"
FOLLOWING = 60.0
"""Seconds for which an execution counts as followed after somebody asked for its log."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that becomes an input on the site.

    Attributes:
        place: relative to the execution's directory here.
        target: relative to its directory there.
    """

    place: str
    sha256: str
    target: str
    unpack: str | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to run on a site.

    Attributes:
        root: directory of the workflow's files here.
        document: main CWL file, relative to it.
        downloads: (URL, target) of each file to fetch before.
        taken: outputs of other executions that are to be brought from elsewhere.
        near: those that lie on the site, in the same account.
        time: seconds that it may run; None for no limit.
        remarks: what the log says before anything else.
        needs: of its steps, by which their jobs are known.
        limits: of what its steps may ask for, where they are narrower than those of the site.
    """

    id: str
    ticket: str
    owner: str
    placement: Placement
    root: str
    document: str
    fragment: str | None
    steps: tuple[StepDeclaration, ...]
    staged: tuple[Staged, ...]
    downloads: tuple[tuple[str, str], ...]
    slurm: Slurm
    time: float | None
    remarks: tuple[str, ...] = ()
    needs: tuple[StepNeeds, ...] = ()
    limits: Limits = NO_LIMITS
    taken: tuple[TakenOutput, ...] = ()
    near: tuple[TakenOutput, ...] = ()
    trace: str | None = None  # see `tracing.parent`


_INTENT = TypeAdapter(Intent)


@dataclass(frozen=True, slots=True)
class Silence:
    """That a site couldn't be used.

    Attributes:
        since: seconds since the epoch.
        detail: the words of the last failure.
        lasting: see `SiteFailed`.
        again: when it is tried again.
    """

    since: float
    detail: str
    lasting: bool
    again: float = 0.0


class Account:
    """The part of one account.

    Attributes:
        directory: its own.
        name: of the directory: a digest, since login names may have any characters.
    """

    def __init__(self, site: Path, name: str) -> None:
        self.name = name
        self.directory = site / "accounts" / name
        self.queue = self.directory / "queue"
        self.active = self.directory / "active"
        self.kept, self.unwanted = self.directory / "kept", self.directory / "unwanted"
        self.poke_file = self.directory / "poke"
        self.proof = self.directory / "proved"
        self.mark = site / "unfinished" / name

    def make(self, placement: Placement) -> None:
        """Makes its directory, when it is missing."""
        for folder in (self.queue, self.active, self.kept, self.unwanted):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self.directory / "account.json"
        if not file.exists():
            content = {"site": placement.site, "user": placement.user, "ssh_key": placement.ssh_key}
            durable.replace_among_others(file, json.dumps(content).encode())

    def placement(self) -> Placement:
        """Whose it is."""
        return Placement(**json.loads((self.directory / "account.json").read_bytes()))

    def poke(self) -> None:
        """Tells whoever moves its executions on that there is something new."""
        self.mark.touch(mode=0o600)
        self.poke_file.touch(mode=0o600)

    def prove(self) -> None:
        """Tells them that a check has found that the account can be used."""
        self.proof.touch(mode=0o600)
        self.poke()

    def unfinished(self) -> bool:
        """Whether an execution waits or runs, or is to be removed from the site."""
        return any(Spool.tickets(folder) for folder in (self.queue, self.active)) or bool(self.to_remove())

    def to_remove(self) -> list[tuple[str, str]]:
        """(ticket, execution's id) of those whose files on the site are to be removed."""
        return Spool.tickets(self.unwanted) if self.unwanted.is_dir() else []  # earlier versions made none

    def want_removed(self, ticket: str) -> None:
        """Has the files of an ended execution removed on the site, as soon as that can be."""
        self.unwanted.mkdir(mode=0o700, exist_ok=True)
        (self.unwanted / ticket).touch(mode=0o600)
        durable.sync_directory(self.unwanted)
        self.poke()

    def rest(self) -> bool:
        """Takes the mark of something to do away. False when there is something all the same."""
        self.mark.unlink(missing_ok=True)
        if self.unfinished():
            self.mark.touch(mode=0o600)
            return False
        return True

    def known(self) -> dict[str, JSON]:
        """What is known of the account on the site; nothing before the first contact."""
        with contextlib.suppress(OSError, ValueError):
            known = json.loads((self.directory / "known.json").read_bytes())
            return known if isinstance(known, dict) else {}
        return {}

    def know(self, known: Mapping[str, JSON]) -> None:
        """Replaces what is known."""
        durable.replace(self.directory / "known.json", json.dumps(known).encode())

    def silence(self) -> Silence | None:
        """That the account can't be used at present, when it is so."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Silence(**json.loads((self.directory / "silence.json").read_bytes()))
        return None

    def silent(self, detail: str, *, lasting: bool, now: float, pause: float) -> None:
        """Notes that it can't be used, and after how many seconds it is tried again."""
        before = self.silence()
        since = before.since if before else now
        content = {"since": since, "detail": detail, "lasting": lasting, "again": now + pause}
        durable.replace(self.directory / "silence.json", json.dumps(content).encode())

    def heard(self) -> None:
        """Notes that it can be used."""
        (self.directory / "silence.json").unlink(missing_ok=True)


class Mirror:
    """The directory of one site; made when missing."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._executions = directory / "executions"
        self._incoming = directory / "incoming"
        self._unfinished = directory / "unfinished"
        for folder in (self._executions, self._incoming, self._unfinished, directory / "accounts"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def execution(self, execution_id: str) -> Path:
        """Directory of an execution, whether it exists or not."""
        if not _ID.fullmatch(execution_id):
            raise ValueError(f"not an execution's id: {execution_id!r}")
        return self._executions / execution_id

    def account(self, placement: Placement) -> Account:
        """The part of an account."""
        text = json.dumps([placement.user, placement.ssh_key])
        return Account(self.directory, hashlib.sha256(text.encode()).hexdigest()[:24])

    def login_lock(self, placement: Placement) -> Path:
        """The lock of a login name, which several accounts may have."""
        name = hashlib.sha256(str(placement.user).encode()).hexdigest()[:24]
        return self.directory / "accounts" / f"{name}.lock"

    def accounts(self) -> list[Account]:
        """All that were ever used."""
        return [Account(self.directory, path.name) for path in (self.directory / "accounts").iterdir() if path.is_dir()]

    def unfinished(self) -> list[Account]:
        """Those that have something to do."""
        return [Account(self.directory, path.name) for path in self._unfinished.iterdir()]

    def submit(self, intent: Intent, fill: Callable[[Path], None]) -> None:
        """Makes an execution and queues it; one that was made before is left alone, and queued if it was not.

        Args:
            fill: writes the inputs into the new directory.
        """
        directory = self.execution(intent.id)
        if not directory.exists():
            draft = Path(tempfile.mkdtemp(prefix=f"{intent.id}.", dir=self._incoming))
            try:
                fill(draft)
                durable.write(draft / INTENT, _INTENT.dump_json(intent))
                state = ExecutionState(Status.PENDING, steps=pending(intent.steps))
                durable.write(draft / spool.STATE, stored.encode_state(state))
                durable.sync_directory(draft)
                draft.rename(directory)
            except (OSError, ServiceError):
                remove_tree(draft)
                if not directory.exists():  # otherwise somebody else was faster
                    raise
            durable.sync_directory(self._executions)
        self.enqueue(intent.id)

    def enqueue(self, execution_id: str) -> None:
        """Queues an execution unless it is queued, active or over already."""
        intent = self.intent(execution_id)
        if intent is None:
            return
        account = self.account(intent.placement)
        account.make(intent.placement)
        waits = (account.queue / intent.ticket).exists() or (account.active / intent.ticket).exists()
        if not waits and not self.state(execution_id).status.over:
            account.mark.touch(mode=0o600)  # first: whoever takes it away looks for the other afterwards
            (account.queue / intent.ticket).touch(mode=0o600)
            durable.sync_directory(account.queue)
        account.poke()

    def claim(self, account: Account, ticket: str) -> None:
        """Moves an execution from those that wait to those that are sent."""
        (account.queue / ticket).rename(account.active / ticket)
        durable.sync_directory(account.active)

    def intent(self, execution_id: str) -> Intent | None:
        """What is to run; None when there is no such execution, or another version of the service wrote it."""
        try:
            return _INTENT.validate_json((self.execution(execution_id) / INTENT).read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def owner(self, execution_id: str) -> str:
        """Whose execution it is; nobody's when that can't be told."""
        intent = self.intent(execution_id)
        return intent.owner if intent else ""

    def state(self, execution_id: str) -> ExecutionState:
        """The state as it was heard last; that of one that died when a disk lost it."""
        try:
            return stored.decode_state((self.execution(execution_id) / spool.STATE).read_bytes())
        except FileNotFoundError:
            return stored.decode_state(b"")

    def write_state(self, execution_id: str, state: ExecutionState) -> None:
        """Replaces the state of an execution at once."""
        durable.replace(self.execution(execution_id) / spool.STATE, stored.encode_state(state))

    def has(self, execution_id: str, name: str) -> bool:
        """Whether an execution has a file."""
        return (self.execution(execution_id) / name).exists()

    def mark(self, execution_id: str, name: str) -> None:
        """Makes an empty file of an execution."""
        (self.execution(execution_id) / name).touch(mode=0o600)

    def attempt(self, execution_id: str) -> int:
        """The number of an execution's present attempt."""
        try:
            return int((self.execution(execution_id) / ATTEMPT).read_text())
        except (FileNotFoundError, ValueError):
            return 1

    def followed(self, execution_id: str) -> bool:
        """Whether somebody waits for its log."""
        with contextlib.suppress(FileNotFoundError):
            return time.time() - (self.execution(execution_id) / FOLLOWED).stat().st_mtime < FOLLOWING
        return False

    def tidy(self, execution_id: str) -> None:
        """Removes what is on the site by now."""
        for name in (spool.UPLOADS, DOWNLOADS):
            remove_tree(self.execution(execution_id) / name)

    def finish(self, account: Account, ticket: str, execution_id: str, state: ExecutionState, *, kept: bool) -> None:
        """Writes the end of an execution, after which nothing of it is asked for any more.

        Args:
            kept: whether it has files on the site.
        """
        directory = self.execution(execution_id)
        size = sum(path.stat().st_size for path in directory.iterdir() if path.is_file())
        self.write_state(execution_id, replace(state, stored=size))
        self.settle(account, ticket, execution_id, kept=kept)

    def settle(self, account: Account, ticket: str, execution_id: str, *, kept: bool) -> None:
        """Moves on the marker of an execution whose end is written."""
        self.tidy(execution_id)
        (account.queue / ticket).unlink(missing_ok=True)
        if kept:
            with contextlib.suppress(FileNotFoundError):
                (account.active / ticket).rename(account.kept / ticket)
                os.utime(account.kept / ticket)
        else:
            (account.active / ticket).unlink(missing_ok=True)

    def reopen(self, execution_id: str) -> None:
        """Queues a failed execution once more, for its next attempt.

        Raises:
            OSError: it can't be written.
        """
        intent = self.intent(execution_id)
        if intent is None:
            return
        directory = self.execution(execution_id)
        account = self.account(intent.placement)
        account.mark.touch(mode=0o600)  # should this break off, `recover` goes on
        durable.replace(directory / ATTEMPT, str(self.attempt(execution_id) + 1).encode())
        for name in (spool.CANCEL, SENT, ASKED):
            (directory / name).unlink(missing_ok=True)
        state = self.state(execution_id)
        self.write_state(execution_id, replace(state, status=Status.PENDING, reason=None, ended_at=None))
        self.enqueue(execution_id)
        (account.kept / intent.ticket).unlink(missing_ok=True)

    def recover(self, account: Account) -> None:
        """Queues what a process that was killed in `reopen` left."""
        for ticket, execution_id in Spool.tickets(account.kept):
            if not self.state(execution_id).status.over:
                self.enqueue(execution_id)
                (account.kept / ticket).unlink(missing_ok=True)
