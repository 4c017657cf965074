"""A real SSH server, for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpcwaas.engines.cwl.sites.connection import Connection
from tests.system.ssh_server import EXECUTION, PLACEMENT, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def restored(server: Server) -> Iterator[Server]:
    """The server for a test that changes it."""
    yield server
    server.authorize(server.key.public_key)
    server.trust("")
    server.start()


@pytest.fixture
def connection(server: Server) -> Iterator[Connection]:
    with server.connections() as connections, connections.of(PLACEMENT, EXECUTION) as connection:
        yield connection
