"""Runs `describe.py` on entries, on all cores, and survives whatever their documents do to it."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeAlias, TypeVar

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.workflows.metadata import Entry

START_TIMEOUT = 60.0
"""Seconds until a process has to be ready: cwltool takes about one on a machine at rest."""

ENTRY_TIMEOUT = 60.0
"""Seconds that one document may take: an ordinary one takes a tenth of a second at most."""

MEMORY = 2**30
"""Address space of a process, in bytes, so that a document that swells when it is read harms nothing else. One that
needs more is read again, alone, with twice as much."""

_GRACE = 5.0
"""Seconds that a process gets to say itself that a document takes too long."""

WARM = 120.0
"""Seconds for which a process is kept that has nothing to do: who edits a document often edits it again."""

_WORTH_A_PROCESS = 20
"""Entries that take about as long as the start of one more process."""

_LONGEST = 32 * 2**20
"""Bytes of the longest answer."""


T = TypeVar("T")


class DescriberFailed(Exception):
    """No document can be described: cwltool is not installed, say."""


Answer: TypeAlias = dict[str, JSON]
"""`{"description": …}` or `{"error": …}`, as `describe.py` writes them. `unsure` says of an error that it may come from
the machine, not from the document."""


def key_of(entry: Entry) -> tuple[object, ...]:
    """All of an entry that decides on how it is described."""
    return entry.id, entry.source, entry.root, entry.main, entry.fragment, entry.ssh_keys


def describe_entries(
    directory: Path, entries: Sequence[Entry], entry_timeout: float = ENTRY_TIMEOUT, processes: int | None = None
) -> Iterator[tuple[Entry, Answer]]:
    """Describes entries; one that hangs, swells or crashes is reported and takes no other with it.

    Args:
        directory: the catalogue.
        entry_timeout: seconds for each entry.
        processes: how many work beside each other at most; None for as many as the machine has room for.

    Yields:
        every entry with its answer, in the order in which they are done.

    Raises:
        DescriberFailed: nothing can be described.
    """
    with Describers[None](directory, entry_timeout, processes) as describers:
        describers.want(entries, None)
        for _ in entries:
            entry, answer, _ = describers.answer()
            yield entry, answer


class Describers(Generic[T]):
    """Processes that describe entries beside each other, until the block is left, or they are closed.

    Args:
        directory: the catalogue.
        entry_timeout: seconds for each entry.
        processes: how many work beside each other at most; None for as many as the machine has room for.
    """

    def __init__(self, directory: Path, entry_timeout: float = ENTRY_TIMEOUT, processes: int | None = None) -> None:
        self._directory = directory
        self._timeout = entry_timeout
        self._most = processes or _room()
        self._wanted: deque[tuple[Entry, T]] = deque()
        self._begun: set[tuple[object, ...]] = set()
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._resting = False
        self._alone = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._working = 0
        self._answers: queue.SimpleQueue[tuple[Entry, Answer, T] | DescriberFailed] = queue.SimpleQueue()

    def __enter__(self) -> Describers[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes, whatever they do."""
        self._closed.set()
        with self._changed:
            self._wanted.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def rest(self) -> None:
        """Ends the processes, which have nothing to do, but for one, which is kept for a while."""
        with self._changed:
            self._resting = True
            self._changed.notify_all()

    def want(self, entries: Sequence[Entry], note: T) -> None:
        """Has these described, in this order, in place of what was wanted before. What has been begun goes on.

        Args:
            note: comes back with their answers.
        """
        with self._changed:
            self._wanted = deque((entry, note) for entry in entries if key_of(entry) not in self._begun)
            self._resting = False
            # What is still under way after a round may take long: others needn't wait for it.
            processes = min(self._most, -(-len(entries) // _WORTH_A_PROCESS) + len(self._begun))
            new = range(self._working, processes)
            self._working += len(new)
            self._changed.notify_all()
        self._threads = [each for each in self._threads if each.is_alive()]
        for number in new:
            self._threads.append(threading.Thread(target=self._work, name=f"describer-{number}", daemon=True))
            self._threads[-1].start()

    def prefer(self, workflow_id: str) -> None:
        """Has one that is wanted described before the others."""
        with self._changed:
            self._wanted = deque(sorted(self._wanted, key=lambda each: each[0].id != workflow_id))

    @property
    def left(self) -> int:
        """How many answers are still to come."""
        with self._changed:
            return len(self._wanted) + len(self._begun)

    def answer(self, patience: float | None = None) -> tuple[Entry, Answer, T]:
        """The next entry, its answer, and the note.

        Args:
            patience: seconds to wait for it.

        Raises:
            queue.Empty: there is none yet.
            DescriberFailed: nothing can be described.
        """
        found = self._answers.get(timeout=patience)
        if isinstance(found, DescriberFailed):
            raise found
        with self._changed:
            self._begun.discard(key_of(found[0]))
        return found

    def _work(self) -> None:
        process: _Process | None = None
        try:
            while task := self._next():
                entry, note = task
                process = process or _Process(self._directory, MEMORY, self._closed)
                answer = process.describe(entry, self._timeout)
                if process.spent:
                    process.end()
                    process = None
                if answer.pop("swollen", False):
                    with self._alone, _Process(self._directory, 2 * MEMORY, self._closed) as larger:
                        answer = larger.describe(entry, self._timeout)
                        answer.pop("swollen", None)
                self._answers.put((entry, answer, note))
        except DescriberFailed as error:
            self._answers.put(error)
        finally:
            if process:
                process.end()

    def _next(self) -> tuple[Entry, T] | None:
        """What is to be described next; None when all is over, or there has been nothing for long."""
        with self._changed:
            while not self._wanted and not self._closed.is_set():
                resting = self._resting
                if resting and (self._working > 1 or not self._changed.wait(WARM)):
                    self._working -= 1
                    return None
                if not resting:
                    self._changed.wait()
            if self._closed.is_set():
                return None
            task = self._wanted.popleft()
            self._begun.add(key_of(task[0]))
            return task


class _Process:
    """One process, which the thread that makes it uses and ends.

    Args:
        memory: bytes of its address space.
        closed: says that nobody wants its answers any more.

    Attributes:
        spent: whether it can't describe any more.

    Raises:
        DescriberFailed: it doesn't start.
    """

    def __init__(self, directory: Path, memory: int, closed: threading.Event) -> None:
        command = [sys.executable, "-I", "-m", "hpcwaas.engines.cwl.workflows.describe", str(memory)]
        # Nothing of the service's environment is any business of a document.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        self._closed = closed
        self._begun = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `end` closes it
        self._process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
        )
        self.spent = False
        try:
            ready = self._line(START_TIMEOUT)
        except TimeoutError:
            self.end()
            raise DescriberFailed(f"cwltool was not ready after {START_TIMEOUT:g} seconds") from None
        if ready is None:
            self._errors.seek(0)
            reason = self._errors.read()[-2000:].decode(errors="replace").strip().rpartition("\n")[2]
            self.end()
            raise DescriberFailed(f"CWL documents can't be read: {reason or 'cwltool does not start'}")

    def __enter__(self) -> _Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def describe(self, entry: Entry, timeout: float) -> Answer:
        """Describes one entry.

        Args:
            timeout: in seconds.
        """
        try:
            assert self._process.stdin is not None  # noqa: S101 - it is a pipe
            self._process.stdin.write(json.dumps([timeout, asdict(entry)]).encode() + b"\n")
            line = self._line(timeout + _GRACE)
        except BrokenPipeError:
            line = None
        except TimeoutError:
            self.spent = True
            return {"error": f"{entry.main}: reading it takes longer than {timeout:g} seconds", "unsure": True}
        if line is None:
            self.spent = True
            return {"error": f"{entry.main}: the program that reads it ended while it did so", "unsure": True}
        answer: Answer = json.loads(line)
        self.spent = answer.pop("spent", False)
        return answer

    def _line(self, patience: float) -> bytes | None:
        """A line of its answers; None when there won't be one.

        Raises:
            TimeoutError: there is none after so many seconds.
        """
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        stream = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        deadline = time.monotonic() + patience
        parts = [self._begun]
        size = len(self._begun)
        while b"\n" not in parts[-1]:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if self._closed.is_set() or size > _LONGEST:
                return None
            # In short turns, so that closing needn't wait for a document that takes long.
            if poll.poll(min(left, 0.2) * 1000):
                parts.append(os.read(stream, 2**16))
                size += len(parts[-1])
                if not parts[-1]:
                    return None
        line, _, self._begun = b"".join(parts).partition(b"\n")
        return line


def _room() -> int:
    """How many processes the machine has cores and memory for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _free_memory() // MEMORY - 1))


def _free_memory() -> int:
    """Bytes that processes can still have, of the machine and of the control group that is seen as the outermost."""
    free = []
    try:
        known = Path("/proc/meminfo").read_text("ascii").splitlines()
        free += [int(line.split()[1]) * 1024 for line in known if line.startswith("MemAvailable:")]
        group = Path("/sys/fs/cgroup")
        if (most := (group / "memory.max").read_text("ascii").strip()) != "max":
            held = (group / "memory.stat").read_text("ascii").splitlines()  # what isn't there to be taken away
            free += [int(most) - int(line.split()[1]) for line in held if line.startswith("anon ")]
    except OSError:
        pass  # another kernel, or one without control groups
    return min(free, default=4 * MEMORY)
