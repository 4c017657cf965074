"""Describing processes for tests: copies of one that has cwltool loaded. To start one anew takes a second of processor
time, and tests of catalogues start them by the hundred."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

if __name__ != "__main__":
    from tests.leftovers import LASTING

USUAL = [sys.executable, "-I", "-m", "hpcwaas.engines.cwl.workflows.describe"]
"""What a command of a describing process begins with."""


class Copy:
    """A copy, in place of a `subprocess.Popen`."""

    def __init__(self, source: Source, number: int, stdin: int, stdout: int) -> None:
        self._source, self._number = source, number
        self.stdin, self.stdout = os.fdopen(stdin, "wb", 0), os.fdopen(stdout, "rb", 0)

    def kill(self) -> None:
        self._source.ask({"end": self._number})

    def communicate(self) -> None:
        self.stdin.close()
        self.stdout.close()


class Source:
    """What is copied. It starts when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            )
        LASTING.add(process.pid)
        return process

    def close(self) -> None:
        if self._process:
            self._socket.close()
            self._process.wait(60)

    def ask(self, question: Mapping[str, Any], files: Sequence[int] = ()) -> int:
        """Has something done, one thing after another; gives the number that comes back."""
        with self._lock:
            self._process = self._process or self._start()
            socket.send_fds(self._socket, [json.dumps(question).encode()], files)
            return int(self._socket.recv(100))

    def popen(
        self, command: Sequence[str], cwd: Path, env: Mapping[str, str], stderr: IO[bytes], **usual: Any
    ) -> Copy | subprocess.Popen[bytes]:
        """Starts a describing process; one of another Python really."""
        if command[:-1] != USUAL:
            return subprocess.Popen(command, cwd=cwd, env=env, stderr=stderr, **usual)
        (stdin, questions), (answers, stdout) = os.pipe(), os.pipe()
        try:
            begun = {"memory": command[-1], "cwd": str(cwd), "env": dict(env)}
            number = self.ask(begun, [stdin, stdout, stderr.fileno()])
        finally:
            os.close(stdin)
            os.close(stdout)
        return Copy(self, number, questions, answers)


def main() -> None:
    """Runs the program that is copied."""
    from cwltool.process import get_schema

    from hpcwaas.engines.cwl.workflows import describe

    for version in ("v1.0", "v1.1", "v1.2"):
        get_schema(version)
    gc.freeze()
    ours = socket.socket(fileno=int(sys.argv[1]))
    while (received := socket.recv_fds(ours, 2**16, 3))[0]:
        asked, files = json.loads(received[0]), received[1]
        if "end" in asked:
            os.kill(asked["end"], signal.SIGKILL)
            os.waitpid(asked["end"], 0)
            ours.send(b"0")
            continue
        number = os.fork()
        if not number:
            for target, file in enumerate(files):
                os.dup2(file, target)
                os.close(file)
            ours.close()
            os.chdir(asked["cwd"])
            os.environ.clear()
            os.environ.update(asked["env"])
            sys.argv[1:] = [asked["memory"]]
            describe.main()
            os._exit(0)
        for file in files:
            os.close(file)
        ours.send(str(number).encode())


if __name__ == "__main__":
    main()
