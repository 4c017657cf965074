"""Runs `describe.py` on a batch of entries and survives whatever their documents do to it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TypeAlias

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.workflows.metadata import Entry

START_TIMEOUT = 60.0
"""Seconds until the process has to be ready: cwltool takes about one on a machine at rest."""

ENTRY_TIMEOUT = 20.0
"""Seconds that one document may take: an ordinary one takes a tenth of a second at most."""


class DescriberFailed(Exception):
    """No document can be described: cwltool is not installed, say."""


Answer: TypeAlias = dict[str, JSON]
"""`{"description": …}` or `{"error": …}`, as `describe.py` writes them."""


def describe_entries(
    directory: Path, entries: Sequence[Entry], entry_timeout: float = ENTRY_TIMEOUT
) -> Iterable[tuple[Entry, Answer]]:
    """Describes entries one after the other; one that hangs or crashes is reported and takes no other with it.

    Args:
        directory: the catalogue.
        entry_timeout: seconds for each entry.

    Yields:
        every entry, in order, with its answer.

    Raises:
        DescriberFailed: nothing can be described.
    """
    remaining = list(entries)
    while remaining:
        with _process(directory, remaining) as lines:
            while remaining:
                try:
                    line = lines.get(timeout=entry_timeout)
                except queue.Empty:
                    reason = f"reading it takes longer than {entry_timeout:g} seconds"
                else:
                    reason = "the program that reads it ended while it did so" if line is None else ""
                entry = remaining.pop(0)
                yield entry, {"error": f"{entry.main}: {reason}"} if reason or line is None else json.loads(line)
                if reason:
                    break


@contextmanager
def _process(directory: Path, entries: Sequence[Entry]) -> Iterator[queue.Queue[bytes | None]]:
    command = [sys.executable, "-I", "-m", "hpcwaas.engines.cwl.workflows.describe"]
    # Nothing of the service's environment is any business of a document.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        try:
            lines: queue.Queue[bytes | None] = queue.Queue()
            threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
            try:
                ready = lines.get(timeout=START_TIMEOUT)
            except queue.Empty:
                raise DescriberFailed(f"cwltool was not ready after {START_TIMEOUT:g} seconds") from None
            if ready is None:
                errors.seek(0)
                reason = errors.read()[-2000:].decode(errors="replace").strip().rpartition("\n")[2]
                raise DescriberFailed(f"CWL documents can't be read: {reason or 'cwltool does not start'}")
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            with suppress(BrokenPipeError):  # it ended already: there will be no answers, which tells as much
                process.stdin.write(json.dumps([asdict(entry) for entry in entries]).encode())
                process.stdin.close()
            yield lines
        finally:
            process.kill()


def _read(stream: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
