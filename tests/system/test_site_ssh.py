"""Connections to a real SSH server: what goes through them, and what goes wrong with them."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from hpcwaas.core.key_types import KEY_TYPES, generate
from hpcwaas.engines.cwl.sites import pool as pool_module
from hpcwaas.engines.cwl.sites import ssh as ssh_module
from hpcwaas.engines.cwl.sites.connection import Connection, NotSignedIn, RemoteFileError, SiteFailed
from hpcwaas.engines.cwl.sites.signing_in import fingerprint
from hpcwaas.engines.cwl.sites.ssh import SSHConnections
from tests.system.ssh_server import PLACEMENT, Given, Proxy, Server
from tests.waiting import until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

EXECUTION = "execution 0815"


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


def refusal(connections: SSHConnections) -> NotSignedIn:
    with pytest.raises(NotSignedIn) as caught, connections.of(PLACEMENT, EXECUTION):
        pass
    return caught.value


# ---- commands


def test_a_command_is_run_with_input_both_outputs_and_status(connection: Connection) -> None:
    done = connection.run("cat; echo complaint >&2; exit 3", b"text")
    assert (done.status, done.stdout, done.stderr) == (3, b"text", b"complaint\n")


def test_much_goes_through_in_all_directions_at_once(connection: Connection) -> None:
    content = os.urandom(1 << 20) * 12
    done = connection.run("tee /dev/stderr", content)
    assert (done.status, done.stdout == content, done.stderr == content) == (0, True, True)


def test_a_command_that_reads_no_input_ends(connection: Connection) -> None:
    assert connection.run("exit 4", bytes(1 << 24)).status == 4


def test_a_command_that_is_killed_has_no_status(connection: Connection) -> None:
    assert connection.run("kill -9 $$").status == -1


def test_a_command_that_takes_too_long_is_given_up_and_others_go_on(connection: Connection) -> None:
    with pytest.raises(SiteFailed, match="takes too long"):
        connection.run("sleep 600", timeout=0.5)
    assert connection.run("echo on").stdout == b"on\n"


def test_what_a_command_leaves_behind_holds_nobody_up(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_module, "_LINGERING", 0.5)
    assert connection.run("sleep 600 & echo $!").status == 0


def test_a_command_that_writes_without_end_is_given_up(connection: Connection) -> None:
    with pytest.raises(SiteFailed, match="more than 64 MiB"):
        connection.run("yes")
    assert connection.run("true").status == 0


def test_output_comes_as_it_is_written(connection: Connection) -> None:
    pieces = connection.stream("echo first; read word; echo $word; exit 0", b"second\n")
    found = b""
    while b"first" not in found:
        found += next(pieces)
    assert found + b"".join(pieces) == b"first\nsecond\n"


def test_a_stream_that_ends_badly_is_told_with_its_last_words(connection: Connection) -> None:
    with pytest.raises(SiteFailed, match=r"ended with status 5: no such thing"):
        list(connection.stream("echo something; echo no such thing >&2; exit 5"))


# ---- files


def test_a_file_is_sent_on_from_where_it_was_cut(server: Server, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(24 << 20))
    with Proxy(server.port) as proxy, server.connections(host=f"127.0.0.1:{proxy.port}") as connections:
        proxy.cut_after = 10 << 20
        with connections.of(PLACEMENT, EXECUTION) as connection, pytest.raises(SiteFailed, match="was cut"):
            connection.put(source, str(server.home / "sent.part"))
        assert source.read_bytes().startswith((server.home / "sent.part").read_bytes())
        with connections.of(PLACEMENT, EXECUTION) as connection:
            got = connection.size(str(server.home / "sent.part")) or 0
            assert 4 << 20 < got < 12 << 20
            proxy.cut_after = 18 << 20  # as much as is missing goes through, and no more than that
            connection.put(source, str(server.home / "sent.part"))
            assert connection.size(str(server.home / "sent.part")) == 24 << 20
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (source, server.home / "sent.part")}
    assert len(digests) == 1
    assert proxy.taken == 2


def test_what_is_there_of_another_longer_file_is_overwritten(
    connection: Connection, server: Server, tmp_path: Path
) -> None:
    (server.home / "other").write_bytes(bytes(1000))
    (tmp_path / "short").write_bytes(b"short")
    connection.put(tmp_path / "short", str(server.home / "other"))
    assert (server.home / "other").read_bytes() == b"short"


def test_a_small_file_is_replaced_as_a_whole(connection: Connection, server: Server) -> None:
    for content in (b"one", b"", b"three"):
        connection.write(str(server.home / "small"), content)
        assert (server.home / "small").read_bytes() == content
    assert connection.size(str(server.home / "small")) == 5
    assert connection.size(str(server.home / "small.new")) is None


@pytest.mark.parametrize("name", ["plain", "it's", 'a "quote"', "$HOME `id`", "back\\slash", "a\nb", "!x", "-n", "é ü"])
def test_a_file_of_any_name_is_read_from_anywhere(connection: Connection, server: Server, name: str) -> None:
    content = os.urandom(3 << 20)
    (server.home / name).write_bytes(content)
    with connection.open(str(server.home / name)) as file:
        assert file.read(10) == content[:10]
        assert file.seek(1 << 20) == 1 << 20
        assert file.read(100) == content[1 << 20 : (1 << 20) + 100]
        file.seek(-5, os.SEEK_END)
        assert (file.read(), file.read()) == (content[-5:], b"")
        file.seek(0)
        assert file.read() == content


def test_files_may_be_read_while_commands_run(connection: Connection, server: Server) -> None:
    (server.home / "large").write_bytes(bytes(8 << 20))
    with connection.open(str(server.home / "large")) as file:
        assert file.read(1) == b"\0"
        assert connection.run("echo on").stdout == b"on\n"
        assert len(file.read()) == (8 << 20) - 1


def test_what_profile_files_write_is_no_part_of_a_file(restored: Server) -> None:
    (restored.home / ".bashrc").write_text("echo Welcome\n")
    (restored.home / "read").write_bytes(b"content")
    with restored.connections() as connections, connections.of(PLACEMENT, EXECUTION) as connection:
        assert connection.run("true").stdout == b"Welcome\n"
        file = connection.open(str(restored.home / "read"))
        file.seek(3)
        assert file.read() == b"tent"
        file.close()
    (restored.home / ".bashrc").unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with little room."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def failure(connection: Connection, source: Path, target: str) -> str:
    with pytest.raises(RemoteFileError) as caught:
        connection.put(source, target)
    assert target in caught.value.detail
    return caught.value.kind


def test_a_file_that_can_t_be_written_says_why(connection: Connection, small_disk: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(4 << 20))
    assert failure(connection, source, f"{small_disk}/nowhere/file") == "missing"
    assert failure(connection, source, "/proc/sys/kernel/ostype") == "denied"  # to root, too
    assert failure(connection, source, f"{small_disk}/file") == "full"
    with pytest.raises(RemoteFileError, match="no room left") as caught:
        connection.write(f"{small_disk}/other", bytes(1 << 20))
    assert caught.value.kind == "full"
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert failure(connection, source, f"{small_disk}/third") == "read-only"


def test_a_file_that_isn_t_there_can_t_be_opened(connection: Connection) -> None:
    with pytest.raises(RemoteFileError, match="there is no such file") as caught:
        connection.open("nowhere")
    assert caught.value.kind == "missing"
    with pytest.raises(RemoteFileError, match="it is no file"):
        connection.open("/")


# ---- signing in


@pytest.mark.parametrize("kind", [*KEY_TYPES])
def test_every_type_of_key_opens_the_account(restored: Server, kind: str) -> None:
    key = generate(kind, None, "")
    restored.authorize(key.public_key)
    with restored.connections(key) as connections, connections.of(PLACEMENT, EXECUTION) as connection:
        assert connection.run("echo in").stdout == b"in\n"


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_a_server_is_known_by_every_type_of_host_key(restored: Server, kind: str) -> None:
    restored.host_key = restored.new_host_key(kind)
    restored.start()
    with restored.connections() as connections, connections.of(PLACEMENT, EXECUTION) as connection:
        assert connection.run("true").status == 0
        connection.run("true")


def test_a_certificate_opens_the_account_for_whoever_it_names(restored: Server, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "authority"], check=True)
    restored.trust((tmp_path / "authority.pub").read_text())
    key = generate("ed25519", None, "")
    (tmp_path / "user.pub").write_text(key.public_key)
    for principal, enters in ((PLACEMENT.user, True), ("somebody-else", False)):
        subprocess.run(
            [
                "ssh-keygen",
                "-q",
                "-s",
                tmp_path / "authority",
                "-I",
                "an execution",
                "-n",
                str(principal),
                tmp_path / "user.pub",
            ],
            check=True,
        )
        given = Given(key, (tmp_path / "user-cert.pub").read_text())
        connections = SSHConnections({"mare": restored.settings()}, given)
        try:
            if enters:
                with connections.of(PLACEMENT, EXECUTION) as connection:
                    assert connection.run("true").status == 0
            else:
                assert "refuses the certificate" in refusal(connections).found
        finally:
            connections.close()
        assert given.purposes == [EXECUTION]
    assert "ID an execution" in (restored.directory / "log").read_text()


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_changed_host_key_is_refused_loudly_before_the_key_of_the_user_is_read(
    restored: Server, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = restored.host_key
    settings = {"mare": restored.settings()}
    shown = restored.new_host_key(kind)
    restored.start()
    given = Given(restored.key)
    connections = SSHConnections(settings, given)
    with caplog.at_level(logging.WARNING):
        error = refusal(connections)
        with (
            pytest.raises(SiteFailed, match="host key of the site mare has changed"),
            connections.of(PLACEMENT, EXECUTION),
        ):
            pass
    connections.close()
    restored.host_key = shown
    assert (error.point, error.lasting, given.purposes) == ("host_key", True, [])
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]  # it wasn't tried twice
    for text in (error.detail, record.getMessage()):
        assert fingerprint(expected) in text
        assert (fingerprint(shown) in text) == (kind == "ed25519")  # of another type it isn't even asked for


def test_a_key_that_is_refused_is_not_tried_again_soon(server: Server) -> None:
    given = Given(generate("ed25519", None, ""))
    connections = SSHConnections({"mare": server.settings()}, given)
    error = refusal(connections)
    assert (error.point, error.lasting) == ("sign_in", True)
    assert "refuses the key for the account" in error.found
    with pytest.raises(SiteFailed, match="refuses the key"), connections.of(PLACEMENT, EXECUTION):
        pass
    assert len(given.purposes) == 1
    connections.close()


def test_a_check_that_succeeds_ends_the_waiting(restored: Server) -> None:
    key = generate("ed25519", None, "")
    with restored.connections(key) as connections:
        refusal(connections)
        restored.authorize(restored.key.public_key, key.public_key)
        passed: list[str] = []
        with connections.fresh(PLACEMENT, "check", passed.append) as connection:
            assert connection.run("true").status == 0
        assert passed == ["name", "port", "host_key", "sign_in"]
        with connections.of(PLACEMENT, EXECUTION) as connection:
            assert connection.run("true").status == 0


def test_a_second_factor_is_told_as_one(restored: Server) -> None:
    restored.start("AuthenticationMethods publickey,password", "PasswordAuthentication yes")
    with restored.connections() as connections:
        error = refusal(connections)
    assert (error.point, error.lasting) == ("sign_in", True)
    assert "accepts the key" in error.found
    assert "second factor (password)" in error.found


def test_a_site_without_keys_is_told_as_one(restored: Server) -> None:
    restored.start("PubkeyAuthentication no", "PasswordAuthentication yes")
    with restored.connections() as connections:
        error = refusal(connections)
    assert "takes no SSH keys" in error.found
    assert "password" in error.found


def test_a_name_that_nobody_has_is_told(server: Server) -> None:
    with server.connections(host="nowhere.invalid") as connections:
        error = refusal(connections)
    assert (error.point, error.lasting) == ("name", False)
    assert "nowhere.invalid" in error.found


def test_a_port_without_a_server_and_one_that_never_greets_are_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcwaas.engines.cwl.sites.signing_in._GREETING", 0.5)
    with Proxy(server.port) as proxy:
        proxy.greets = False
        with server.connections(host=f"127.0.0.1:{proxy.port}") as connections:
            error = refusal(connections)
        assert (error.point, error.lasting) == ("port", False)
        assert "doesn't speak SSH" in error.found
    with server.connections(host=f"127.0.0.1:{proxy.port}") as connections:
        error = refusal(connections)
    assert (error.point, error.lasting) == ("port", False)
    assert "can't be reached: Connection refused" in error.found


def test_a_server_that_takes_no_more_sign_ins_is_left_alone_for_a_while(restored: Server) -> None:
    restored.start("MaxStartups 1:100:1", "LoginGraceTime 600")
    with socket.create_connection(("127.0.0.1", restored.port)) as other, restored.connections() as connections:
        other.recv(1)  # it has its turn
        error = refusal(connections)
        assert (error.point, error.lasting) == ("port", False)
        assert "closes connections before it greets" in error.found
        with pytest.raises(SiteFailed, match="before it greets"), connections.of(PLACEMENT, EXECUTION):
            pass
    log = (restored.directory / "log").read_text()
    assert log.count("beginning MaxStartups throttling") == 1


# ---- one connection for all


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
    monkeypatch.setattr(ssh_module, "_SILENT", 0.5)
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
    monkeypatch.setattr(ssh_module, "_SILENT", 0.5)
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
