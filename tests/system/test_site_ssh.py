"""What goes through a connection to a real SSH server: commands and files."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.engines.cwl.sites import running as running_module
from hpcwaas.engines.cwl.sites.connection import Connection, RemoteFileError, SiteFailed
from tests.system.ssh_server import EXECUTION, PLACEMENT, Proxy, Server

pytestmark = pytest.mark.system


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
    monkeypatch.setattr(running_module, "_LINGERING", 0.5)
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


def test_a_file_is_sent_as_long_as_it_is_wanted(connection: Connection, server: Server, tmp_path: Path) -> None:
    source, target = tmp_path / "source", server.home / "wanted.part"
    source.write_bytes(os.urandom(4 << 20))
    asked = iter(range(40))
    assert not connection.put(source, str(target), lambda: next(asked) < 30)
    got = target.stat().st_size
    assert 0 < got < 4 << 20
    assert next(asked) < 40  # it stopped at the next piece
    assert connection.put(source, str(target))
    assert target.read_bytes() == source.read_bytes()


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
