"""A site that is reached by SSH: its executions as the engine sees them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hpcwaas.common import durable, tracing
from hpcwaas.common.moments import rfc3339
from hpcwaas.core.endings import Part, Removal
from hpcwaas.core.models import ExecutionState, Status
from hpcwaas.core.site_models import Placement
from hpcwaas.engines.cwl.inputs.job import Job, dump_order
from hpcwaas.engines.cwl.sites import words
from hpcwaas.engines.cwl.sites.agency import Agency
from hpcwaas.engines.cwl.sites.around import Surroundings
from hpcwaas.engines.cwl.sites.base import PARTS, OpenOutput, Stamp, disk_told, place, read_part, stamp_of
from hpcwaas.engines.cwl.sites.connection import Connection, RemoteFileError
from hpcwaas.engines.cwl.sites.courier import Couriers
from hpcwaas.engines.cwl.sites.given import Given, KeptFile, rest
from hpcwaas.engines.cwl.sites.mirror import FOLLOWED, REMOVED, SENT, Account, Intent, Silence, Staged
from hpcwaas.engines.cwl.sites.moves import age
from hpcwaas.engines.cwl.storage import spool
from hpcwaas.engines.cwl.storage.outputs import OutsideError, TakenOutput
from hpcwaas.engines.cwl.storage.spool import Spool
from hpcwaas.engines.cwl.storage.trash import Trash
from hpcwaas.engines.cwl.workflows.snapshot import root_of
from hpcwaas.errors import Conflict, NotFound, Unavailable

_FOLLOW_AGAIN = 20.0
"""Seconds after which it is noted again that somebody follows an execution."""


class RemoteSite:
    """One site. What it tells of executions it reads from its mirror; a courier keeps that up to date."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._mirror = around.mirror
        self._couriers = Couriers(around)
        self._following: dict[str, float] = {}

    @property
    def title(self) -> str:
        """Its title for people."""
        return self._around.settings.title or self._around.site

    def look(self) -> None:
        """Takes up what has no courier. To be called every second or so."""
        self._couriers.look()

    def tidy(self) -> None:
        """Wakes the accounts that have files on the site which were kept long enough. To be called now and then."""
        days = self._around.settings.limits.keep_days
        if days is None:
            return
        for account in self._mirror.accounts():
            tickets = Spool.tickets(account.kept)
            if tickets and age(self._around.now(), account.kept / tickets[0][0]) > days:
                account.poke()
                self._couriers.wake(account)

    def submit(self, execution_id: str, job: Job, owner: str) -> None:
        placement = job.placement
        assert placement is not None  # noqa: S101  (whoever calls has looked)
        root = root_of(job.document)
        staged = tuple(
            Staged(f"{spool.UPLOADS}/{number}", each.sha256, each.target, each.unpack)
            for number, each in enumerate(job.staged)
        )
        intent = Intent(
            id=execution_id,
            ticket=Spool.new_ticket(execution_id),
            owner=owner,
            placement=placement,
            root=str(root),
            document=str(job.document.relative_to(root)),
            fragment=job.fragment,
            steps=job.steps,
            staged=staged,
            downloads=tuple((fetched.url, fetched.target) for fetched in job.fetched),
            slurm=job.slurm,
            needs=job.needs,
            time=job.longest(None),
            limits=job.limits,
            remarks=job.remarks,
            taken=tuple(each for each in job.taken if not self.has(each, placement)),
            near=tuple(each for each in job.taken if self.has(each, placement)),
            trace=tracing.parent(),
        )

        def fill(draft: Path) -> None:
            durable.write(draft / spool.ORDER, dump_order(job.order).encode())
            if staged:
                (draft / spool.UPLOADS).mkdir()
            for each, given in zip(staged, job.staged, strict=True):
                if not given.source.exists():
                    name = Path(given.target).name
                    raise Conflict(
                        f"The file {name}, an input of the execution, was deleted in the meantime. Upload it again."
                    )
                place(given.source, draft / each.place)

        with disk_told(lambda: self.stamp(execution_id, spool.STATE)):
            self._mirror.submit(intent, fill)
        self._couriers.wake(self._mirror.account(placement))

    def recall(self, execution_id: str) -> bool:
        intent = self._mirror.intent(execution_id)
        if intent is not None:
            with disk_told(lambda: True):
                self._mirror.enqueue(execution_id)
            self._couriers.wake(self._mirror.account(intent.placement))
        return intent is not None

    def has(self, taken: TakenOutput, placement: Placement) -> bool:
        """Whether an output lies on this site, in the files of an account."""
        if taken.site != self._around.site:
            return False
        intent = self._mirror.intent(taken.reference.rpartition(":")[2])
        return intent is not None and intent.placement.user == placement.user

    def cancel(self, execution_id: str) -> None:
        self._mirror.mark(execution_id, spool.CANCEL)
        self._mirror.enqueue(execution_id)  # in case that its start broke off before
        self._poke(execution_id)

    def resume(self, execution_id: str) -> None:
        if self._around.settings.maintenance:
            raise Unavailable(
                f"The site {self.title} is in maintenance: {self._around.settings.maintenance}", retry_after=600
            )
        if self._around.settings.runner.kind != "toil":
            raise Conflict(
                f"The runner of the site {self.title} can't go on where an execution failed. Trigger a new one."
            )
        if not self._mirror.has(execution_id, SENT):
            raise Conflict("The execution failed before it began. Trigger a new one.")
        intent = self._mirror.intent(execution_id)
        unwanted = intent and (self._mirror.account(intent.placement).unwanted / intent.ticket).exists()
        if unwanted or self._mirror.has(execution_id, REMOVED):
            raise Conflict(f"The execution's files on the site {self.title} were removed. Trigger a new one.")
        if intent:
            self._around.connections.ready(intent.placement)
        self._mirror.reopen(execution_id)
        self._poke(execution_id)

    def _account(self, execution_id: str) -> Account | None:
        intent = self._mirror.intent(execution_id)
        return self._mirror.account(intent.placement) if intent else None

    def _poke(self, execution_id: str) -> None:
        if account := self._account(execution_id):
            account.poke()
            self._couriers.wake(account)

    def unbegun(self, execution_id: str) -> ExecutionState | None:
        return None

    def told(self, execution_id: str, state: ExecutionState) -> ExecutionState:
        intent = self._mirror.intent(execution_id)
        if intent is None:
            return state
        account = self._mirror.account(intent.placement)
        sent = self._mirror.has(execution_id, SENT)
        if silence := account.silence():
            since = datetime.fromtimestamp(silence.since, UTC)
            state = replace(state, stale_since=since)
            if said := self._silence_words(silence, sent=sent):
                return replace(state, reason=said)
        if state.status is Status.PENDING and not sent and (account.queue / intent.ticket).exists():
            return replace(state, reason=self._turn_words(account))
        return state

    def _silence_words(self, silence: Silence, *, sent: bool) -> str | None:
        after = "The jobs go on." if sent else "The execution begins when that is over."
        now = self._around.now()
        again = words.again(self._around.site, silence.again - now)
        if silence.lasting:
            return f"{silence.detail} {after} {again}"
        said = words.silence(self.title, now - silence.since, sent=sent)
        if said is None and not sent:
            return f"{silence.detail} {after} {again}"
        return f"{said} {silence.detail} {again}" if said else None

    def _turn_words(self, account: Account) -> str | None:
        most = self._around.settings.limits.executions
        if len(Spool.tickets(account.active)) < most:
            return None
        return (
            f"The execution waits for its turn: no more than {most} executions of an account are on the site "
            f"{self.title} at the same time."
        )

    def stamp(self, execution_id: str, name: str) -> Stamp | None:
        return stamp_of(self._mirror.execution(execution_id) / name)

    def read(self, execution_id: str, name: str, offset: int = 0, size: int = -1) -> bytes:
        return read_part(self._mirror.execution(execution_id) / name, offset, size)

    def follow(self, execution_id: str) -> None:
        now = time.monotonic()
        if now - self._following.get(execution_id, -_FOLLOW_AGAIN) < _FOLLOW_AGAIN:
            return
        self._following = {each: at for each, at in self._following.items() if now - at < _FOLLOW_AGAIN}
        self._following[execution_id] = now
        if not self._mirror.execution(execution_id).is_dir() or self._mirror.state(execution_id).status.over:
            return
        self._mirror.mark(execution_id, FOLLOWED)
        self._poke(execution_id)

    def open_output(self, execution_id: str, path: str) -> OpenOutput | None:
        with contextlib.ExitStack() as stack, self._said(execution_id, path):
            agency, connection, directory = self._reach(stack, execution_id)
            found = agency.call(connection, "stat", {"id": execution_id, "path": path}, 60.0)
            if found["kind"] == "directory":
                return None
            if found["kind"] == "outside":
                raise OutsideError(path)
            if found["kind"] == "missing":
                raise RemoteFileError("missing", path, "")
            stream = connection.open(f"{directory}/outputs/{path}")
            modified = datetime.fromtimestamp(float(found["mtime"]), UTC)
            return OpenOutput(KeptFile(stream, stack.pop_all()), int(found["size"]), modified)

    def give_outputs(self, execution_id: str, paths: Sequence[str]) -> Generator[tuple[int, Iterator[bytes]]]:
        with contextlib.ExitStack() as stack, self._said(execution_id, paths[0]):
            agency, connection, _ = self._reach(stack, execution_id)
            given = Given(agency.stream(connection, "give", {"id": execution_id, "paths": list(paths)}))
            stack.callback(given.close)
            for path in paths:
                if (size := given.number()) < 0:
                    raise NotFound(self._gone(path))
                yield size, given.content(size)

    def kind_of(self, execution_id: str, path: str) -> None:
        self._kept(execution_id)

    def pack_output(self, execution_id: str, path: str, kind: str) -> Iterator[bytes]:
        with contextlib.ExitStack() as stack, self._said(execution_id, path):
            agency, connection, _ = self._reach(stack, execution_id)
            body = {"id": execution_id, "path": path, "kind": kind}
            pieces = agency.stream(connection, "pack", body)
            first = next(pieces, b"")
            return rest(first, pieces, stack.pop_all())

    def _reach(self, stack: contextlib.ExitStack, execution_id: str) -> tuple[Agency, Connection, str]:
        intent = self._kept(execution_id)
        connection = stack.enter_context(self._around.connections.of(intent.placement, f"execution {execution_id}"))
        agency = Agency(self._around.site, self._around.settings, self._mirror.account(intent.placement))
        directory = self._mirror.state(execution_id).directory
        return agency, connection, directory or f"{agency.work_dir}/executions/{execution_id}"

    def _kept(self, execution_id: str) -> Intent:
        """What ran, if its files may be there still."""
        intent = self._mirror.intent(execution_id)
        if intent is None or self._mirror.has(execution_id, REMOVED):
            raise NotFound(
                f"The execution's files on the site {self.title} were removed: they are kept for "
                f"{self._around.settings.limits.keep_days} days after its end."
            )
        return intent

    @contextlib.contextmanager
    def _said(self, execution_id: str, path: str) -> Iterator[None]:
        try:
            yield
        except RemoteFileError as error:
            if error.kind == "missing":
                raise NotFound(self._gone(path)) from error
            raise Conflict(
                f"The file {path} of the outputs can't be read on the site {self.title}: {error.detail}"
            ) from error

    def _gone(self, path: str) -> str:
        return (
            f"The file {path} of the outputs is gone: it was removed on the site {self.title}, or its file system was "
            "purged."
        )

    def remove(self, execution_id: str, part: Part, trash: Trash, *, give_up: bool) -> Removal:
        directory = self._mirror.execution(execution_id)
        if not directory.is_dir():
            return Removal()
        if not self._mirror.state(execution_id).status.over:
            return Removal(f"It hasn't ended on the site {self.title}.")
        left = None
        if part is not Part.LOG and (waits_for := self._unremoved(execution_id)):
            if not give_up:
                return Removal(waits_for)
            left = f"{waits_for} They are left there: {self._mirror.state(execution_id).directory}."
        if part is Part.ALL:
            trash.take(directory)
            return Removal(left=left)
        for name in PARTS[part]:
            trash.take(directory / name)
        kept = sum(path.stat().st_size for path in directory.iterdir() if path.is_file())
        return Removal(left=left, kept=kept)

    def _unremoved(self, execution_id: str) -> str | None:
        """Has the files of an execution on the site removed. What that waits for; None when there are none."""
        intent = self._mirror.intent(execution_id)
        if intent is None:
            return None
        account = self._mirror.account(intent.placement)
        if (account.queue / intent.ticket).exists() or (account.active / intent.ticket).exists():
            return f"It is just ending on the site {self.title}."
        if not (account.kept / intent.ticket).exists():
            return None
        account.want_removed(intent.ticket)
        self._couriers.wake(account)
        if (silence := account.silence()) is None:
            return f"Its files on the site {self.title} are being removed."
        since = rfc3339(datetime.fromtimestamp(silence.since, UTC))
        return (
            f"Its files are still on the site {self.title}, which can't be used for the account "
            f"{intent.placement.user} since {since}: {silence.detail} They are removed as soon as it can."
        )

    def problems(self) -> Sequence[str]:
        found = []
        for account in self._mirror.unfinished():
            with contextlib.suppress(FileNotFoundError):
                user = account.placement().user
                if silence := account.silence():
                    minutes = words.duration(max(0.0, self._around.now() - silence.since))
                    found.append(
                        f"The site {self._around.site} couldn't be used for the account {user} for {minutes}: "
                        f"{silence.detail}"
                    )
        return found

    def silent_since(self) -> datetime | None:
        """Since when it hasn't answered to anybody; None when it does, or nobody has asked."""
        silences = [account.silence() for account in self._mirror.unfinished()]
        if not silences or any(silence is None or silence.lasting for silence in silences):
            return None
        return datetime.fromtimestamp(min(silence.since for silence in silences if silence), UTC)

    def heard(self, placement: Placement) -> None:
        """Says that an account can be used after all: whoever waits tries again."""
        account = self._mirror.account(placement)
        if account.directory.is_dir() and account.unfinished():
            account.prove()
            self._couriers.wake(account)

    def stop(self) -> None:
        """Asks everything to end; `close` waits for that, and connections may be closed meanwhile."""
        self._couriers.stop()

    def close(self) -> None:
        self._couriers.stop()
        self._couriers.join()
