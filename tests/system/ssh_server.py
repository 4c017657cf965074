"""An SSH server of this machine's own user, and what may stand between it and its clients."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from examples.slurm.daemons import Daemon, free_ports, kill, listens, processes
from hpcwaas.core.key_types import KeyPair, generate
from hpcwaas.core.ports.sites import Credential
from hpcwaas.core.site_models import Placement
from hpcwaas.engines.cwl.sites.ssh import SSHConnections
from hpcwaas.engines.site_settings import SiteSettings

PLACEMENT = Placement("mare", getpass.getuser(), "key")
EXECUTION = "execution 0815"
SETTINGS = """
HostKey {directory}/host_key
ListenAddress 127.0.0.1:{port}
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
TrustedUserCAKeys {directory}/authorities
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv HOME={home}
Subsystem sftp internal-sftp
LogLevel VERBOSE
"""


class Server:
    """Lets this user in, with one key, into a home of its own.

    Attributes:
        key: that key.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        (self.port,) = free_ports(1)
        self.key = generate("ed25519", None, "")
        self.authorize(self.key.public_key)
        self.trust("")
        self.host_key = self.new_host_key()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "sshd"
        self._daemon = Daemon(
            "sshd",
            [program, "-D", "-e", "-f", directory / "sshd_config"],
            directory / "log",
            {"PATH": os.environ["PATH"]},
            lambda: listens(self.port),
        )

    def start(self, *options: str) -> None:
        """Starts it, or does so anew, with more lines of settings. Of those that stand there twice the first counts."""
        self._daemon.stop()
        self.cut()
        text = SETTINGS.format(directory=self.directory, port=self.port, home=self.home)
        (self.directory / "sshd_config").write_text("\n".join([*options, text]))
        self._daemon.start()

    def stop(self) -> None:
        """Stops it, its connections, and what commands have left behind."""
        self._daemon.stop()
        self.cut()
        for number, _ in list(processes()):
            if number != os.getpid() and self._is_mine(number):
                kill(number)

    def cut(self) -> None:
        """Ends all connections without a goodbye, and what runs in them."""
        for number, line in list(processes()):
            if line.startswith(f"sshd: {getpass.getuser()}") and self._is_mine(number):
                kill(number)

    def _is_mine(self, number: int) -> bool:
        with contextlib.suppress(OSError):
            return str(self.directory / "log") == str(Path(f"/proc/{number}/fd/2").readlink()) or bool(
                Path(f"/proc/{number}/environ").read_bytes().count(str(self.directory).encode())
            )
        return False

    def authorize(self, *lines: str) -> None:
        """Lets those in who have these keys, and nobody else."""
        (self.directory / "authorized_keys").write_text("\n".join(lines))

    def trust(self, authority: str) -> None:
        """Lets those in for whom this key signs certificates, and nobody else's."""
        (self.directory / "authorities").write_text(authority)

    def new_host_key(self, kind: str = "ed25519") -> str:
        """Makes it another host key; it shows it when it is started. Gives the public half."""
        pair = generate(kind, None, "")
        (self.directory / "host_key").touch(0o600)
        (self.directory / "host_key").write_text(pair.private_key)
        return pair.public_key.strip()

    @property
    def signed_in(self) -> int:
        """How often somebody has signed in."""
        return (self.directory / "log").read_text(errors="replace").count("Accepted publickey for")

    def settings(self, **changes: Any) -> SiteSettings:
        """What an operator writes of it."""
        return SiteSettings(**{"host": f"127.0.0.1:{self.port}", "host_keys": [self.host_key], **changes})

    @contextlib.contextmanager
    def connections(self, key: KeyPair | None = None, **changes: Any) -> Iterator[SSHConnections]:
        """Connections of a service to it."""
        connections = SSHConnections({"mare": self.settings(**changes)}, Given(key or self.key))
        try:
            yield connections
        finally:
            connections.close()


class Given:
    """Credentials: a key, for whoever asks.

    Attributes:
        purposes: what it was asked for, in order.
        certificate: that belongs to the key.
    """

    def __init__(self, key: KeyPair, certificate: str | None = None) -> None:
        self._key = key
        self.certificate = certificate
        self.purposes: list[str] = []

    def credential(self, placement: Placement, purpose: str) -> Credential:
        assert placement == PLACEMENT
        self.purposes.append(purpose)
        return Credential(self._key.private_key, self.certificate)

    def ready(self, placement: Placement) -> None:
        """It always is."""


class Proxy:
    """Stands between a client and a server.

    Attributes:
        frozen: while it is set, nothing goes through, and connections stay.
        cut_after: bytes from the client after which its connections are cut; None for never.
        greets: whether connections are taken further.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.frozen = threading.Event()
        self.cut_after: int | None = None
        self.greets = True
        self.taken = 0
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.frozen.clear()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def cut(self) -> None:
        """Ends all connections."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.taken += 1
                self._sockets.append(client)
                if self.greets:
                    server = socket.create_connection(("127.0.0.1", self._target))
                    self._sockets.append(server)
                    for pair in ((client, server), (server, client)):
                        self._threads.append(
                            threading.Thread(target=self._pass, args=(*pair, pair[0] is client), daemon=True)
                        )
                        self._threads[-1].start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError, ValueError):
            while piece := source.recv(65536):
                while self.frozen.is_set():
                    threading.Event().wait(0.05)
                passed += len(piece)
                if counted and self.cut_after is not None and passed > self.cut_after:
                    self.cut_after = None
                    self.cut()
                    return
                target.sendall(piece)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
