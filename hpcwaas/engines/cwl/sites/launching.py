"""How the launcher of this machine is started, and poked."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import threading
from collections.abc import Mapping

import hpcwaas
from hpcwaas.engines.cwl.run import launcher
from hpcwaas.engines.cwl.run.runner import IN_PROCESS, kept_environment
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.storage.spool import Spool

_PATIENCE = 10.0


class LauncherProcess:
    """The launcher of a directory, as seen from a service process."""

    def __init__(self, place: Spool, settings: CWLSettings, more: Mapping[str, str]) -> None:
        self._directory = directory = place.own
        self._environment = kept_environment(settings.environment) | {**more, "HOME": str(directory)}
        if "PYTHONPATH" in os.environ:
            self._environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        warm = settings.runner.command == IN_PROCESS and importlib.util.find_spec("cwltool") is not None
        places = (str(place.directory), str(directory), place.machine or "")
        self._arguments = [*places, str(settings.max_running), str(int(warm))]
        parts = [sys.executable, hpcwaas.__version__, *self._arguments, repr(sorted(self._environment.items()))]
        self._digest = hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()
        self._pid: int | None = None
        self._lock = threading.Lock()
        digest = directory / launcher.DIGEST
        if digest.exists() and digest.read_text() != self._digest and launcher.poke(directory, launcher.LEAVE):
            self._spawn(_PATIENCE)

    def ensure(self, byte: bytes = launcher.WAKE) -> bool:
        """Pokes the launcher, and starts it when there is none.

        Returns:
            whether there is one, or one that has just been started.
        """
        if launcher.poke(self._directory, byte):
            return True
        with self._lock:
            died = self._pid is not None and not self._lives()
            if self._pid is None:
                self._spawn(0)
        return not died

    def reap(self) -> None:
        """Takes note of the end of a launcher that this process started, for instance beside another one."""
        with self._lock:
            if self._pid is not None:
                self._lives()

    def _lives(self) -> bool:
        try:
            lives = os.waitpid(self._pid or 0, os.WNOHANG)[0] == 0
        except ChildProcessError:
            lives = False
        if not lives:
            self._pid = None
        return lives

    def _spawn(self, patience: float) -> None:
        log = str(self._directory / launcher.LAUNCHER_LOG)
        self._pid = os.posix_spawn(
            sys.executable,
            [
                *(sys.executable, "-P", "-m", "hpcwaas.engines.cwl.run.launcher"),
                *(*self._arguments, self._digest, str(patience)),
            ],
            self._environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
