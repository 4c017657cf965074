"""The machines that share a directory: who lives, and what one that doesn't leaves to the others.

Each has a directory `machines/NAME` with queues (see `Spool`) and with

- `lock`: locked, together with others, by every process of the machine as long as it lives;
- `key`: whose name it is;
- `about.json`: what has to be alike everywhere; gone when the machine was stopped in order;
- `alive`: touched every other second. Its time is that of the machine which has the disk, so it can be compared with
  the others whatever their clocks say.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from hpcwaas.common import durable
from hpcwaas.engines.cwl.storage.spool import FOLDERS, MACHINES, Spool
from hpcwaas.engines.cwl.storage.trees import remove_tree
from hpcwaas.errors import BadRequest, ConfigurationError, Conflict, NotFound

_LOGGER = logging.getLogger(__name__)
BEAT = 2.0
"""Seconds between two signs of life."""

SILENT = 30.0
"""Seconds without one after which a machine counts as silent."""

PATIENCE = 3 * BEAT
"""Seconds in which a machine that lives gives a sign, however busy it is."""

_FORGOTTEN = 86400.0
_ABOUT = "about.json"
_CLOCKS = 2.0
"""Seconds by which clocks may differ."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class About:
    """What a machine says of itself.

    Attributes:
        directory: path of what is shared.
        catalogue: path of the catalogue.
        inode: of the catalogue; 0 when it can't be read.
    """

    directory: str
    catalogue: str
    inode: int = 0


class Machine:
    """The machine that we run on, as long as this process lives.

    Args:
        place: whose `machine` is set.

    Raises:
        ConfigurationError: another machine has its name.
    """

    def __init__(self, place: Spool) -> None:
        name = str(place.machine)
        self.home = place.home
        self.key = durable.read_or_create_secret(place.own / "machine-key", lambda: secrets.token_hex(16), "data_dir")
        self._beaten = 0.0
        deadline = time.monotonic() + PATIENCE
        while (lock := self._joined()) is None:
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    "machine",
                    f"{name} is the name of another machine that uses {place.directory}, with a data directory of its "
                    "own: give each machine a name",
                )
            time.sleep(0.1)
        self.lock = lock
        self.beat()

    def _joined(self) -> int | None:
        lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with contextlib.suppress(BlockingIOError):  # nobody has the name: an emptied data directory gets it again
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                durable.replace(self.home / "key", self.key.encode())
            with contextlib.suppress(FileNotFoundError, BlockingIOError):
                if (self.home / "key").read_text() == self.key:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
        return None

    def beat(self) -> None:
        """Gives a sign of life, if the last one was some time ago. To be called every second or so."""
        if time.monotonic() - self._beaten >= BEAT or not self._beaten:
            self._beaten = time.monotonic()
            (self.home / "alive").touch(mode=0o600)

    def close(self) -> None:
        """Lets go of its name."""
        os.close(self.lock)


class Machines:
    """All machines, as a process of the service sees them.

    Args:
        place: of this machine.
        catalogue: directory of the published workflows.

    Raises:
        ConfigurationError: this machine can't be one of them.
    """

    def __init__(self, place: Spool, catalogue: Path) -> None:
        self._place = place
        self._catalogue = catalogue.absolute()
        self._machine = Machine(place)
        try:
            self._tell()
            self._compare_paths()
            self._try_locks()
            self._forget()
        except BaseException:
            self._machine.close()
            raise
        self._silent: Mapping[str, datetime] = {}
        self._differs = 0.0
        self._look()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cwl-machines", daemon=True)
        self._thread.start()

    def silent_since(self, name: str) -> datetime | None:
        """Since when nothing was heard of a machine; None when it lives. As of some seconds ago."""
        return self._silent.get(name)

    def problems(self) -> Iterator[str]:
        """What operators have to put right, a sentence each."""
        for name, since in self._silent.items():
            if waiting := _number(self._place.directory / MACHINES / name):
                yield (
                    f"The machine {name} hasn't been heard of since {since:%Y-%m-%d %H:%M:%S} UTC, and {waiting} "
                    f"executions are on it. Start its service; when it never comes back, run `hpcwaas-api machines "
                    f"retire {name}`."
                )
        if self._differs > _CLOCKS:
            yield (
                f"The clock of the machine {self._place.machine} differs by {self._differs:.0f} seconds from that of "
                "the machine which has the shared directory (setting shared_dir)."
            )
        own = self._about()
        for name, about in self._others():
            if name not in self._silent and about.inode and own.inode and about.inode != own.inode:
                yield (
                    f"{self._catalogue} is another directory on the machine {name}. Mount one on all machines "
                    "(setting cwl.catalogue)."
                )

    def close(self) -> None:
        """Lets go of the name. Executions go on."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            (self._place.home / _ABOUT).unlink(missing_ok=True)  # another process of the machine tells it anew
        self._machine.close()

    def _run(self) -> None:
        while not self._closed.wait(BEAT):
            try:
                self._machine.beat()
                if not (self._place.home / _ABOUT).exists():
                    self._tell()
                self._look()
            except OSError as error:
                _LOGGER.warning("the shared directory %s can't be used: %s", self._place.directory, error.strerror)

    def _look(self) -> None:
        now = _time(self._place.home)
        self._differs = abs(now - time.time()) - BEAT
        others = {path.name: _time(path) for path in (self._place.directory / MACHINES).iterdir()}
        silent = {name: datetime.fromtimestamp(at, UTC) for name, at in others.items() if now - at > SILENT}
        for name in silent.keys() - self._silent.keys():
            if (self._place.directory / MACHINES / name / _ABOUT).exists():
                _LOGGER.warning("the machine %s hasn't been heard of since %s", name, silent[name].isoformat())
        self._silent = silent

    def _about(self) -> About:
        inode = 0
        with contextlib.suppress(OSError):
            inode = self._catalogue.stat().st_ino
        return About(str(self._place.directory), str(self._catalogue), inode)

    def _tell(self) -> None:
        durable.replace_among_others(self._place.home / _ABOUT, json.dumps(asdict(self._about())).encode())

    def _others(self) -> Iterator[tuple[str, About]]:
        for path in (self._place.directory / MACHINES).iterdir():
            with contextlib.suppress(OSError, ValueError, TypeError):
                if path.name != self._place.machine:
                    yield path.name, About(**json.loads((path / _ABOUT).read_bytes()))

    def _living(self) -> Iterator[tuple[str, About]]:
        now = _time(self._place.home)
        return (each for each in self._others() if now - _time(self._place.directory / MACHINES / each[0]) < PATIENCE)

    def _compare_paths(self) -> None:
        own = self._about()
        for name, about in self._living():
            for setting, here, there in (
                ("shared_dir", own.directory, about.directory),
                ("cwl.catalogue", own.catalogue, about.catalogue),
            ):
                if here != there:
                    raise ConfigurationError(
                        setting,
                        f"leads to {here} here and to {there} on the machine {name}: mount it at one path everywhere",
                    )

    def _try_locks(self) -> None:
        """Finds out whether locks hold between machines: who lives has its own, and nobody else may take it then."""
        for name, _ in self._living():
            home = self._place.directory / MACHINES / name
            before, deadline = _time(home), time.monotonic() + PATIENCE
            while (lock := durable.lock(home / "lock")) is not None:
                os.close(lock)
                if _time(home) != before:
                    raise ConfigurationError(
                        "shared_dir",
                        f"locks don't hold in {self._place.directory}: the machine {name} lives, and its lock could be "
                        "taken from here. Mount it with locks that hold for all machines: NFS 4 without `local_lock`, "
                        "Lustre with `flock`",
                    )
                if time.monotonic() > deadline:
                    break  # it was killed just now
                time.sleep(0.1)

    def _forget(self) -> None:
        """Removes what is left of machines that were stopped in order long ago and have nothing to do: names of
        containers, say."""
        for path in (self._place.directory / MACHINES).iterdir():
            old = _time(self._place.home) - _time(path) > _FORGOTTEN
            if old and not (path / _ABOUT).exists() and not _number(path):
                lock = durable.lock(path / "lock")
                if lock is not None:
                    remove_tree(path)
                    os.close(lock)


@dataclass(frozen=True, slots=True)
class Found:
    """A machine, for operators.

    Attributes:
        alive: whether a process of it holds its name.
        heard: when the last sign of life came, by the clock of the machine that has the disk.
        executions: that wait or run there.
    """

    name: str
    alive: bool
    heard: datetime
    executions: int


def find(directory: Path) -> list[Found]:
    """All machines that ever shared a directory and weren't given up, in order of their names."""
    found = []
    for path in sorted((directory / MACHINES).iterdir()) if (directory / MACHINES).is_dir() else ():
        lock = durable.lock(path / "lock")
        if lock is not None:
            os.close(lock)
        found.append(Found(path.name, lock is None, datetime.fromtimestamp(_time(path), UTC), _number(path)))
    return found


def retire(directory: Path, name: str) -> int:
    """Gives up a machine that never comes back: what waits there waits for another one, and what ran has ended.

    Returns:
        how many executions others take.

    Raises:
        NotFound: there is none of that name.
        Conflict: it lives.
    """
    home = directory / MACHINES / name
    if not _NAME.fullmatch(name):
        raise BadRequest(f"{name!r} can't be the name of a machine.")
    if not home.is_dir():
        raise NotFound(f"There is no machine {name}.")
    lock = durable.lock(home / "lock")
    if lock is None:
        raise Conflict(f"The machine {name} lives: stop its service, and wait until its executions have ended.")
    moved = 0
    try:
        for folder in FOLDERS:
            (directory / folder).mkdir(mode=0o700, exist_ok=True)
            for ticket, _ in Spool.tickets(home / folder):
                (home / folder / ticket).rename(directory / folder / ticket)
                moved += 1
        remove_tree(home)
    finally:
        os.close(lock)
    return moved


def _number(home: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return sum(len(Spool.tickets(home / folder)) for folder in FOLDERS)
    return 0


def _time(home: Path) -> float:
    """When a machine gave its last sign of life."""
    try:
        with (home / "alive").open("rb") as file:  # opened, for what a network file system remembers may be old
            return os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return 0.0
