"""Moves the executions of one account on: the threads that bring them to the site and look at them there."""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.sites.agency import Agency, Watch
from hpcwaas.engines.cwl.sites.around import Surroundings
from hpcwaas.engines.cwl.sites.backoff import of_vault
from hpcwaas.engines.cwl.sites.bucket import Bucket
from hpcwaas.engines.cwl.sites.connection import Connection, RemoteFileError, SiteFailed
from hpcwaas.engines.cwl.sites.hold import Hold
from hpcwaas.engines.cwl.sites.mirror import Account
from hpcwaas.engines.cwl.sites.moves import Moves
from hpcwaas.engines.cwl.sites.starting import refused
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)

RATE, BURST = 0.45, 8
"""Sessions in a second that one account opens on average, however many executions it has, and at once."""

WAIT = 10.0
"""Seconds for which the agent waits for news. Of jobs no news come: what is known of them is as old at most."""

_TICK = 0.2
_BREATH = 0.1
_SOON = 0.5
_ODD = "What the site {site} answers for the account can't be understood. If that doesn't pass, ask an operator."
_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_LINGER = 30.0
"""Seconds for which an account is kept that has nothing to do."""


class Courier:
    """Works for one account as long as it holds its lock.

    Args:
        hold: on the lock; let go when it is done.
        done: called when there is nothing more to do.
    """

    def __init__(self, around: Surroundings, account: Account, hold: Hold, done: Callable[[Courier], bool]) -> None:
        self.account = account
        self._around = around
        self._placement = account.placement()
        self._hold, self._lost = hold, False
        self._done = done
        self._bucket = Bucket(RATE, BURST)
        self._agency = Agency(around.site, around.settings, account)
        self._stop = threading.Event()
        self._news = threading.Event()
        self._again = threading.Event()
        self._slurm = Bucket(RATE, 2)
        self._asked = -math.inf
        self._silent = account.silence() is not None
        self._proof = _stamp(account.proof)
        self._recoveries = 0
        self._moves = Moves(around, account, self)
        self._looking = self._moves.looking
        around.mirror.recover(account)
        lanes = (("works", self._work), ("looks", self._look), ("sends", self._send), ("fetches", self._fetch))
        self._threads = [
            threading.Thread(target=lane, name=f"cwl-site-{around.site}-{name}", daemon=True) for name, lane in lanes
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Says that there is something new."""
        self._news.set()

    def look_again(self) -> None:
        """Has a look taken at once."""
        self._again.set()

    def stop(self) -> None:
        """Asks it to end; `join` waits for that."""
        self._stop.set()
        self._news.set()
        self._moves.sending.stopped.set()
        self._moves.sending.waiting.put(None)
        self._moves.sending.fetching.put(None)

    def join(self) -> None:
        """Waits until its threads have ended, and lets go of the lock."""
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._hold.close()

    def directory(self, execution_id: str) -> str:
        """The directory of an execution on the site."""
        return f"{self._agency.work_dir}/executions/{execution_id}"

    @contextlib.contextmanager
    def connection(self, purpose: str) -> Iterator[Connection]:
        """A connection to the account."""
        if (proof := _stamp(self.account.proof)) != self._proof:
            self._proof = proof
            self._around.connections.retry(self._placement)  # the check may have been another process's
        with self._around.connections.of(self._placement, purpose) as connection:
            yield connection

    def call(
        self, connection: Connection, command: str, body: Mapping[str, JSON], timeout: float = 60.0
    ) -> dict[str, Any]:
        """Asks the agent something, when it is the account's turn."""
        self.turn()
        answer = self._agency.call(connection, command, body, timeout)
        self._heard()
        return answer

    def turn(self) -> None:
        """Waits until a session may be opened."""
        if self._stop.wait(self._bucket.due()) or self.lost():
            raise _Stopped

    def lost(self) -> bool:
        """Whether another process has its lock, though it never let go of it. Then it has ended."""
        if not self._lost and not self._stop.is_set() and self._hold.lost():
            self._lost = True
            _LOGGER.warning("site %s: another process has taken over %s", self._around.site, self._placement.user)
            self.stop()
        return self._lost

    def _heard(self) -> None:
        if self._silent:
            self._silent = False
            self._recoveries += 1
            self.account.heard()
            _LOGGER.info("site %s answers again for the account %s", self._around.site, self._placement.user)

    @contextlib.contextmanager
    def _guarded(self, pause: _Pause) -> Iterator[None]:
        """Takes what goes wrong with the site. The executions wait until it doesn't."""
        try:
            yield
        except _Stopped:
            return
        except (ServiceError, RemoteFileError) as error:
            detail = error.detail
            if isinstance(error, RemoteFileError):
                words = {"kind": error.kind, "path": error.path, "detail": error.detail}
                detail = refused(self._around.site, words)
            elif of_vault(error):
                detail = f"The account on the site {self._around.site} can't be opened now. {detail}"
            if not self._stop.is_set():
                pause.after_failure(self._around.connections.due(self._placement))
                # What isn't of the connection has words of its own: the vault is sealed, say, or the key was deleted.
                self._failed(detail, lasting=bool(getattr(error, "lasting", True)), pause=pause.seconds)
        except OSError as error:  # the disk of the service is full, say
            _LOGGER.warning("site %s: the service's disk fails: %s", self._around.site, error)
            pause.after_failure()
        except Exception:
            _LOGGER.exception("site %s: the courier of an account failed", self._around.site)
            pause.after_failure()
            self._failed(_ODD.format(site=self._around.site), lasting=True, pause=pause.seconds)
        else:
            pause.after_success()

    def _failed(self, detail: str, *, lasting: bool, pause: float) -> None:
        if not self._silent:
            _LOGGER.warning(
                "site %s can't be used for the account %s: %s", self._around.site, self._placement.user, detail
            )
        self._silent = True
        with contextlib.suppress(OSError):
            self.account.silent(detail, lasting=lasting, now=self._around.now(), pause=pause)

    def _rest(self, pause: _Pause) -> bool:
        """Waits, until the account can be used again at most. True when it is to end."""
        until, recoveries = time.monotonic() + pause.seconds, self._recoveries
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            if _stamp(self.account.proof) != self._proof or self._recoveries != recoveries:
                break
            self._stop.wait(min(left, _TICK))
        return self._stop.is_set()

    def _work(self) -> None:
        pause = _Pause()
        seen: object = None
        idle = time.monotonic()
        while not self._stop.is_set():
            busy = True
            with self._guarded(pause):
                busy = self._moves.turn()
            if busy:
                idle = time.monotonic()
            elif time.monotonic() - idle > _LINGER and self._done(self):
                return
            # Whatever it waits for, a poke ends that: somebody may have mended what was wrong.
            until = time.monotonic() + (pause.seconds or (_SOON if busy else _LINGER))
            while not self._stop.is_set() and time.monotonic() < until:
                poke = _stamp(self.account.poke_file)
                if poke != seen or self._news.wait(_TICK):
                    seen = poke
                    self._news.clear()
                    break

    def _look(self) -> None:
        pause = _Pause()
        while not self._rest(pause):
            with self._guarded(pause):
                if executions := self._moves.on_site():
                    with self.connection(f"execution {executions[0]}") as connection:
                        self.turn()
                        with self._agency.watch(connection) as watch:
                            self._look_on(watch)
                elif self._again.wait(_TICK):
                    self._again.clear()

    def _look_on(self, watch: Watch) -> None:
        """Looks as long as there is something to look at, and a little longer. When others need the session it looks
        once all the same: others may need it always."""
        idle = time.monotonic()
        looked = False
        while not self._stop.is_set() and time.monotonic() - idle < _LINGER and not (looked and watch.wanted):
            self._again.clear()
            executions = self._moves.on_site()
            looked = True
            if not executions:
                self._again.wait(_TICK)
                continue
            jobs, wait = self._pace()
            asked = self._looking.body(executions, wait, self._looking.news, jobs=jobs)
            watch.ask(asked)
            answer = self._answer(watch, time.monotonic() + wait + 60.0)
            self._heard()
            if self.lost():
                raise _Stopped
            taking = time.monotonic()
            self._looking.take(asked, answer, self.directory)
            if self._looking.dead or self._moves.free():
                self._news.set()
            idle = time.monotonic()
            # However much is told, there is time for everything else.
            self._stop.wait(max(_BREATH, 3 * (idle - taking)))

    def _answer(self, watch: Watch, until: float) -> dict[str, Any]:
        """The answer of a look. It comes before its time when another look is wanted, or its session."""
        hurried = False
        while (answer := watch.answer()) is None:
            if self._stop.is_set():
                raise _Stopped
            if not hurried and (self._again.is_set() or watch.wanted):
                watch.hurry()
                hurried = True
            if time.monotonic() > until:
                raise SiteFailed(f"A look at the site {self._around.site} takes too long; it was given up.")
        return answer

    def _pace(self) -> tuple[bool, float]:
        """Whether the next look asks the scheduler, and for how many seconds it waits for news. A log that is followed
        brings many looks, and schedulers are to be asked seldom."""
        now = time.monotonic()
        if not self._looking.soon and now < self._asked + 1 / RATE:
            return False, max(self._asked + WAIT - now, _SOON)
        if until := self._slurm.take():
            return False, until
        self._asked = now
        return True, _SOON if self._looking.soon else WAIT

    def _send(self) -> None:
        self._do_all(self._moves.sending.waiting, self._moves.sending.send)

    def _fetch(self) -> None:
        self._do_all(self._moves.sending.fetching, self._moves.sending.download)

    def _do_all(self, waiting: queue.SimpleQueue[str | None], do: Callable[[str], object]) -> None:
        pause = _Pause()
        while (execution_id := waiting.get()) is not None:
            while not self._rest(pause):
                with self._guarded(pause):
                    do(execution_id)
                if not pause.seconds:
                    break
            self._news.set()


class _Stopped(Exception):
    """The service ends."""


class _Pause:
    """How long something is left alone after failures: longer and longer, and never all at once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._next = _PAUSE

    def after_failure(self, due: float = 0.0) -> None:
        """Lengthens it.

        Args:
            due: seconds for which another try would reach nobody.
        """
        if due:
            self.seconds = due
            return
        self.seconds = self._next * random.uniform(0.7, 1.3)  # noqa: S311  (nobody gains by guessing it)
        self._next = min(_LONGEST_PAUSE, self._next * 2)

    def after_success(self) -> None:
        """Ends it."""
        self.seconds = 0.0
        self._next = _PAUSE


def _stamp(path: Path) -> object:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


class Couriers:
    """The couriers of a site that this process has. Of all processes with the same data directory one has each.

    Args:
        around: what they share.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._couriers: dict[str, Courier] = {}
        self._leaving: list[Courier] = []
        self._lock = threading.Lock()
        self._closed = False

    def look(self) -> None:
        """Takes up accounts that have something to do and no courier. To be called every second or so."""
        for account in self._around.mirror.unfinished():
            if account.name not in self._couriers:
                try:
                    self.wake(account)
                except (OSError, ValueError) as error:  # of one account: the others are looked after all the same
                    _LOGGER.warning("site %s: an account can't be looked after: %s", self._around.site, error)
        with self._lock:
            for name in [name for name, courier in self._couriers.items() if courier.lost()]:
                self._leaving.append(self._couriers.pop(name))
            left, self._leaving = self._leaving, []
        for courier in left:
            courier.join()

    def wake(self, account: Account) -> None:
        """Says that there is something new for an account."""
        with self._lock:
            if self._closed:
                return
            courier = self._couriers.get(account.name)
            if courier is None:
                hold = Hold.take(account.directory / "lock")
                if hold is None:
                    return  # another process has it, and looks for pokes
                try:
                    self._couriers[account.name] = Courier(self._around, account, hold, self._done)
                except BaseException:
                    hold.close()
                    raise
        if courier is not None:
            courier.wake()

    def _done(self, courier: Courier) -> bool:
        """Lets a courier go that has nothing more to do. False when there is something after all."""
        with self._lock:
            if not courier.account.rest():
                return False
            self._couriers.pop(courier.account.name, None)
            self._leaving.append(courier)
        courier.stop()
        return True

    def stop(self) -> None:
        """Asks all to end. What runs on the site goes on."""
        with self._lock:
            self._closed = True
            self._leaving += self._couriers.values()
            self._couriers.clear()
        for courier in self._leaving:
            courier.stop()

    def join(self) -> None:
        """Waits until all have ended. Who waits for an answer does so when connections are closed."""
        for courier in self._leaving:
            courier.join()
        self._leaving.clear()
