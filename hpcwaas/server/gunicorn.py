"""Serves the application: gunicorn's master with uvicorn workers, inside the command `hpcwaas-api`.

The listening socket is made here, before anything else, so that a port in use is one clear line. The application is
made in each worker after the fork, because threads and database connections don't survive one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import itertools
import logging
import os
import queue
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import AppImportError
from gunicorn.glogging import Logger
from uvicorn.config import Config
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from hpcwaas.common import kernel, metrics
from hpcwaas.common.ending import ENDING
from hpcwaas.configuration.checks import make_data_dir
from hpcwaas.configuration.settings import Settings
from hpcwaas.core.request_counts import RequestCounts, SharedCounts
from hpcwaas.errors import ConfigurationError, ServiceError
from hpcwaas.identity.basic import advice
from hpcwaas.identity.local import load_or_create_token
from hpcwaas.server import listening, local_mode, logs
from hpcwaas.server.certificate import Identity
from hpcwaas.server.connections import Connections, raise_limit
from hpcwaas.server.protocol import Protocol

_LOGGER = logging.getLogger(__name__)
_GRACE = 4
"""Seconds that requests have to finish at a stop; after that, parked long polls for instance are cut off."""

_TICK = 1.0
"""Seconds between two times that a worker tells the master of itself."""

_HANDSHAKE = 10.0
"""Seconds that a client has to agree on TLS; nobody counts its connection until then."""

_M_MMAP_THRESHOLD = -3

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_REPLACEMENTS = 32
"""Workers that may still be ending, or were added by a signal, beside those of the settings."""


def serve(
    settings: Settings, factory: Callable[[Settings, RequestCounts], Any], measure: Callable[[int], None]
) -> None:
    """Runs the service until it is told to stop; ends the process.

    Args:
        factory: makes the ASGI application; called in each worker process.
        measure: makes ready for counting in so many of them; called before they are forked.

    Raises:
        ConfigurationError: it can't start.
    """
    os.umask(0o077)
    raise_limit()
    kernel.be_private()
    make_data_dir(settings)
    lock = _lock(settings.data_dir, shared=not settings.database_url.startswith("sqlite"))
    token = load_or_create_token(settings.local_token_file) if settings.local else None
    logs.configure(settings, *([token] if token else []))
    for warning in advice(settings.auth):
        _LOGGER.warning(warning)
    listener = listening.listen(settings)
    url = listening.url(listener, tls=settings.server.tls_certificate is not None)
    measure(settings.server.workers + _REPLACEMENTS)
    os.pwrite(lock, f"process {os.getpid()}, {url}\n".encode(), 0)
    _Application(settings, factory, listener, lock, _Readiness(url, settings, token)).run()


def _lock(data_dir: Path, *, shared: bool) -> int:
    """Keeps a second service off the directory: limits count by directory, and there is one profile to find it by.

    Args:
        shared: others whose store isn't a file in there may use it too.

    Returns:
        a descriptor; the lock ends with it, however the process ends.
    """
    lock = os.open(data_dir / "hpcwaas-api.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 200, 0).decode(errors="replace").strip()
        os.close(lock)
        raise ConfigurationError(
            "data_dir", f"{data_dir} is used by a running service ({holder}): stop it, or set another data_dir"
        ) from error
    os.ftruncate(lock, 0)
    return lock


class _Readiness:
    """Tells the world, once, when the first worker serves.

    Args:
        token: of the local mode; None otherwise.
    """

    def __init__(self, url: str, settings: Settings, token: str | None) -> None:
        self._url, self._settings, self._token = url, settings, token
        self._profile = local_mode.profile_path(os.environ)
        # Holds one byte: the worker that takes it speaks for all, those that come after it find none.
        self._turn, end = os.pipe()
        os.write(end, b"!")
        os.close(end)
        self._looked = False

    def announce(self) -> None:
        """Called by every worker as soon as it serves, and from time to time after that."""
        if self._looked:
            return
        self._looked = True
        if not os.read(self._turn, 1):
            return
        if self._token is None:
            _LOGGER.info("Ready at %s", self._url)
            return
        try:
            local_mode.write_profile(self._profile, self._url, self._token)
            _LOGGER.info("Ready at %s", self._url)
            # A file, a journal or a log of a container keeps what it gets, for others to read.
            token = self._token if sys.stdout.isatty() else None
            text = local_mode.welcome(self._url, token, self._settings.data_dir, self._settings.local_token_file)
            print(text, flush=True)  # noqa: T201 # for people, no log
        except OSError as error:  # a full disk or a closed pipe: the service works all the same
            _LOGGER.warning("The service couldn't print how to sign in: %s", error)

    def withdraw(self) -> None:
        """Called by the master when the service ends."""
        if self._token is not None:
            local_mode.remove_profile(self._profile, self._url, self._token)


class _Application(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """What gunicorn needs to know."""

    def __init__(
        self,
        settings: Settings,
        factory: Callable[[Settings, RequestCounts], Any],
        listener: socket.socket,
        lock: int,
        readiness: _Readiness,
    ) -> None:
        self.settings, self._factory, self._lock = settings, factory, lock
        self._bind = f"fd://{listener.detach()}"
        self.readiness = readiness
        self._counts = SharedCounts(settings.server.workers) if settings.server.workers > 1 else None
        self._row = 0
        super().__init__(prog="hpcwaas-api")

    def load_config(self) -> None:
        """Sets gunicorn's own settings."""
        server = self.settings.server
        for name, value in {
            "bind": self._bind,
            "certfile": server.tls_certificate and str(server.tls_certificate),
            "keyfile": server.tls_key and str(server.tls_key),
            "workers": server.workers,
            "worker_class": _Worker,
            "logger_class": _Log,
            "proc_name": "hpcwaas-api",
            "graceful_timeout": _GRACE + 2,
            "timeout": 60,  # a worker whose event loop stands still so long is replaced
            "keepalive": 75,  # longer than a reverse proxy's, so that it never sends into a closing connection
            "control_socket_disable": True,
            "pre_fork": _take_row,
            "post_fork": lambda _arbiter, worker: self._part(worker),
            "child_exit": lambda _arbiter, worker: metrics.end(worker.row),
            "on_exit": lambda _arbiter: self.readiness.withdraw(),
        }.items():
            self.cfg.set(name, value)

    def _part(self, worker: _Worker) -> None:
        """Makes a forked process a worker: the lock is the master's alone."""
        os.close(self._lock)
        self._row = worker.row
        metrics.begin(worker.row)
        if sys.platform == "linux":
            # When the master is killed the worker leaves at once, and the port is free for a new master.
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)
            libc = ctypes.CDLL(None)
            if hasattr(libc, "mallopt"):  # glibc
                # Checking a password takes 19 MB for a moment. As it is, glibc would keep as much for each thread.
                libc.mallopt(_M_MMAP_THRESHOLD, 1 << 20)

    def load(self) -> Any:
        """Makes the application, in a worker."""
        try:
            counts = self._counts if self._counts is not None and self._row < self._counts.rows else None
            return self._factory(self.settings, RequestCounts(counts, self._row))
        except (ConfigurationError, ServiceError) as error:
            # The one kind of failure that gunicorn reports as a line and doesn't try again.
            raise AppImportError(f"hpcwaas-api can't start: {error}") from error

    def run(self) -> None:
        """Runs the master."""
        _Arbiter(self).run()


class _Arbiter(Arbiter):  # type: ignore[misc] # gunicorn has no types
    """Gunicorn's master, for a service whose settings are read once."""

    handle_hup = Arbiter.handle_term  # a closed terminal ends the service; there is nothing to read again

    def handle_usr2(self) -> None:
        """Refuses to start itself anew: the socket was made by us, not by gunicorn."""

    def stop(self, graceful: bool = True) -> None:
        """Stops the workers, always gracefully; a second Ctrl-C is quick. Before that they go on serving for as long as
        the settings say, and tell that it won't be for long."""
        # From here on it is no news that workers end by a signal.
        self.log.error_log.setLevel(logging.CRITICAL)
        if graceful:
            self._drain(self.app.settings.server.drain)
        self.kill_workers(signal.SIGUSR2)
        super().stop(graceful=True)

    def _drain(self, seconds: int) -> None:
        """Lets workers go on for a while."""
        until = time.monotonic() + seconds
        if seconds:
            _LOGGER.info("Stopping in %d seconds", seconds)
            self.kill_workers(signal.SIGUSR1)
        while self.WORKERS and (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                if self.SIG_QUEUE.get(timeout=min(left, 1)) in _STOPPING:
                    return
            self.reap_workers()


def _take_row(arbiter: _Arbiter, worker: _Worker) -> None:
    """Gives a new worker the first row of what is counted that no other one has."""
    taken = {other.row for other in arbiter.WORKERS.values()}
    worker.row = next(row for row in itertools.count() if row not in taken)


class _Log(Logger):  # type: ignore[misc] # gunicorn has no types
    """Lets gunicorn and uvicorn write to the service's own log; uvicorn takes over the handlers of `error_log`."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = list(logging.getLogger().handlers)
        self.error_log.setLevel(logging.WARNING)
        logging.getLogger("uvicorn.error").addFilter(_no_cut_off)


def _no_cut_off(record: logging.LogRecord) -> bool:
    """Drops uvicorn's stack trace of a request that a stop cut off: that is no failure."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


class _Server(Server):
    """Uvicorn's server, whose loop stands still for a second at a time; a stop ends that at once."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._loop = asyncio.get_running_loop()
        self._exit = asyncio.Event()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exit.wait(), _TICK)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._exit.set)


class _Worker(UvicornWorker):  # type: ignore[misc] # gunicorn has no types
    """A uvicorn worker that says when it is ready and doesn't outlive its master."""

    CONFIG_KWARGS = UvicornWorker.CONFIG_KWARGS | {
        "access_log": False,  # the service writes its own
        "server_header": False,
        "timeout_graceful_shutdown": _GRACE,
        "timeout_notify": 0,  # at each tick
        "ws": "none",
        "proxy_headers": False,  # the protocol sees to it
    }

    row = 0
    """In which it counts."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        server = self.app.settings.server
        self.config.http = partial(Protocol, connections=Connections(server.trusted_proxies))
        certificate, key = server.tls_certificate, server.tls_key
        self._identity = Identity(certificate, key) if certificate and key else None

    def _install_sigquit_handler(self) -> None:
        """Called by uvicorn's worker in the event loop. Takes SIGUSR1 as the news that the service will stop (there are
        no log files to open anew), and SIGUSR2 as that it stops now; not amid what the thread does, which may hold a
        lock that they need."""
        super()._install_sigquit_handler()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, ENDING.tell)
        loop.add_signal_handler(signal.SIGUSR2, ENDING.begin_last)

    async def _serve(self) -> None:
        """That of uvicorn's worker, with our server."""
        self.config.app = self.wsgi
        if self.config.is_ssl:
            loop = asyncio.get_running_loop()  # uvicorn has no setting for that, and asyncio waits for a minute
            loop.create_server = partial(loop.create_server, ssl_handshake_timeout=_HANDSHAKE)  # type: ignore[method-assign]
        server = _Server(self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    async def callback_notify(self) -> None:
        """Called by uvicorn every second, for the first time when it accepts requests."""
        await super().callback_notify()
        self.app.readiness.announce()
        if self._identity is not None and self.config.ssl is not None:
            self._identity.renew(self.config.ssl)
        if os.getppid() != self.ppid:  # the master was killed: leave, or the port stays taken
            os.kill(os.getpid(), signal.SIGTERM)
