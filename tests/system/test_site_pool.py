"""One connection for all who use an account, to a real SSH server that is cut, freezes, or allows little."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from pathlib import Path

import paramiko
import pytest

from hpcwaas.engines.cwl.sites import pool as pool_module
from hpcwaas.engines.cwl.sites import running as running_module
from hpcwaas.engines.cwl.sites import ssh as ssh_module
from hpcwaas.engines.cwl.sites.connection import SiteFailed
from hpcwaas.engines.cwl.sites.ssh import SSHConnections
from tests.system.ssh_server import EXECUTION, PLACEMENT, Proxy, Server
from tests.waiting import until

pytestmark = pytest.mark.system


def test_all_use_one_connection(server: Server) -> None:
    before = server.signed_in
    found: list[bytes] = []

    def use(connections: SSHConnections, number: int) -> None:
        with connections.of(PLACEMENT, EXECUTION) as connection:
            found.append(connection.run(f"echo {number}").stdout)
            connection.write(f"{server.home}/file{number}", b"x")
            found.append(connection.run(f"echo {number}").stdout)

    with server.connections() as connections:
        threads = [threading.Thread(target=use, args=(connections, number)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == sorted(2 * [f"{number}\n".encode() for number in range(16)])
    assert server.signed_in == before + 1


def test_commands_that_end_before_their_input_is_there_end_no_connection(server: Server) -> None:
    before = server.signed_in
    ended: list[int] = []

    def use(connections: SSHConnections) -> None:
        with connections.of(PLACEMENT, EXECUTION) as connection:
            ended.extend(connection.run("exit 3", bytes(size)).status for size in (0, 1000, 500_000) * 10)

    with server.connections() as connections:
        threads = [threading.Thread(target=use, args=(connections,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ended == 240 * [3]
    assert server.signed_in == before + 1


@pytest.mark.parametrize("sessions", [1, 2])
def test_a_server_that_allows_few_sessions_gets_few(restored: Server, sessions: int) -> None:
    restored.start(f"MaxSessions {sessions}")
    before = restored.signed_in
    found: list[bytes] = []

    def use(connections: SSHConnections, number: int) -> None:
        with connections.of(PLACEMENT, EXECUTION) as connection:
            found.append(connection.run(f"sleep 0.2; echo {number}").stdout)
            connection.write(f"{restored.home}/file{number}", b"x")

    with restored.connections(limits={"sessions": 6}) as connections:
        threads = [threading.Thread(target=use, args=(connections, number)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == [f"{number}\n".encode() for number in range(6)]
    assert restored.signed_in == before + 1


def test_files_make_way_for_commands_where_there_is_one_session(
    restored: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ssh_module, "_SHARE", 1 << 20)
    restored.start("MaxSessions 1")
    source = tmp_path / "source"
    source.write_bytes(os.urandom(40 << 20))
    target = str(restored.home / "sent")
    ran: list[int] = []
    sending = threading.Event()

    def commands(connections: SSHConnections) -> None:
        while sending.is_set():
            with connections.of(PLACEMENT, EXECUTION) as connection:
                ran.append(connection.run("true").status)

    with restored.connections() as connections:
        for transfer in ("up", "down"):
            before = len(ran)
            sending.set()
            thread = threading.Thread(target=commands, args=(connections,))
            thread.start()
            with connections.of(PLACEMENT, EXECUTION) as connection:
                if transfer == "up":
                    connection.put(source, target)
                else:
                    file = connection.open(target)
                    assert file.read() == source.read_bytes()
                    file.close()
            sending.clear()
            thread.join()
            assert len(ran) > before + 1
    assert set(ran) == {0}


def test_a_server_that_allows_no_session_is_told(restored: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_ALONE", 0.5)
    restored.start("MaxSessions 0")
    with (
        restored.connections() as connections,
        connections.of(PLACEMENT, EXECUTION) as connection,
        pytest.raises(SiteFailed, match="opens no session"),
    ):
        connection.run("true")


def test_who_finds_all_sessions_in_use_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_WAIT", 0.3)
    with (
        server.connections(limits={"sessions": 1}) as connections,
        connections.of(PLACEMENT, EXECUTION) as one,
        connections.of(PLACEMENT, EXECUTION) as other,
    ):
        stream = one.stream("echo on; sleep 600")
        next(stream)
        with pytest.raises(SiteFailed, match="is busy"):
            other.run("true")
        stream.close()  # type: ignore[attr-defined] # it is a generator
        assert other.run("true").status == 0


def test_a_connection_that_was_cut_is_replaced(server: Server) -> None:
    with server.connections() as connections, connections.of(PLACEMENT, EXECUTION) as connection:
        connection.run("true")
        before = server.signed_in
        server.cut()
        assert connection.run("echo again").stdout == b"again\n"
        assert server.signed_in == before + 1


def test_who_waits_for_a_command_while_the_connection_is_cut_is_told(server: Server) -> None:
    with (
        Proxy(server.port) as proxy,
        server.connections(host=f"127.0.0.1:{proxy.port}") as connections,
        connections.of(PLACEMENT, EXECUTION) as connection,
    ):
        threading.Timer(0.5, proxy.cut).start()
        with pytest.raises(SiteFailed, match="was cut"):
            connection.run("echo begun; sleep 600", timeout=60)


def test_a_server_that_answers_no_more_is_noticed_and_replaced(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcwaas.engines.cwl.sites.signing_in._GREETING", 0.5)
    monkeypatch.setattr(pool_module, "_PING", 0.5)
    monkeypatch.setattr(pool_module, "_ANSWER", 0.5)
    monkeypatch.setattr(running_module, "_SILENT", 0.5)
    with Proxy(server.port) as proxy, server.connections(host=f"127.0.0.1:{proxy.port}") as connections:
        with connections.of(PLACEMENT, EXECUTION) as connection:
            assert connection.run("true").status == 0
            proxy.frozen.set()
            with pytest.raises(SiteFailed):
                connection.run("true", timeout=60)
            proxy.frozen.clear()
            proxy.cut()
        until(lambda: _works(connections))


def test_a_stream_from_a_server_that_froze_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_PING", 0.5)
    monkeypatch.setattr(running_module, "_SILENT", 0.5)
    with (
        Proxy(server.port) as proxy,
        server.connections(host=f"127.0.0.1:{proxy.port}") as connections,
        connections.of(PLACEMENT, EXECUTION) as connection,
    ):
        stream = connection.stream("echo on; sleep 600")
        assert next(piece for piece in stream if piece) == b"on\n"
        time.sleep(1)
        next(stream)  # it is silent, and alive
        proxy.frozen.set()
        with pytest.raises(SiteFailed, match="was cut"):
            list(stream)


def _works(connections: SSHConnections) -> bool:
    try:
        with connections.of(PLACEMENT, EXECUTION) as connection:
            return connection.run("true").status == 0
    except SiteFailed:
        return False


def test_an_unused_connection_is_closed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_module, "_IDLE", 0.2)
    monkeypatch.setattr(ssh_module, "_LOOK", 0.1)
    with server.connections() as connections:
        with connections.of(PLACEMENT, EXECUTION) as connection:
            connection.run("true")
        until(lambda: not _transports())
        assert _works(connections)


def test_nothing_is_left_when_it_is_closed(server: Server) -> None:
    before = set(threading.enumerate())
    with server.connections() as connections:
        for _ in range(3):
            with connections.of(PLACEMENT, EXECUTION) as connection, pytest.raises(SiteFailed):
                connection.run("sleep 600", timeout=0.1)
        with connections.of(PLACEMENT, EXECUTION) as connection:
            stream = connection.stream("echo on; sleep 600")
            next(stream)
    with pytest.raises(SiteFailed):
        list(stream)
    until(lambda: set(threading.enumerate()) <= before)
    with pytest.raises(SiteFailed, match="being stopped"), connections.of(PLACEMENT, EXECUTION):
        pass


def _transports() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "paramiko" in type(thread).__module__]


def test_the_private_key_is_kept_nowhere(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    gc.collect()
    body = server.key.private_key.splitlines()[1]
    caplog.set_level(logging.DEBUG)
    with server.connections() as connections, connections.of(PLACEMENT, EXECUTION) as connection:
        connection.run("true")
        gc.collect()
        assert [each for each in gc.get_objects() if isinstance(each, paramiko.PKey) and each.can_sign()] == []
        lines = b"".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    assert body.encode() not in lines
    assert body not in caplog.text
    assert body not in (server.directory / "log").read_text()
