"""What stops a start: one clear line each, and an exit code that isn't 0."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Service

LOCAL = ("-l", "127.0.0.1:0")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.end()


def refusal(service: Service, *arguments: str) -> str:
    """The one line that says why the service doesn't start."""
    answer = service.command(*(arguments or LOCAL))
    assert answer.returncode == 1, answer.stderr
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert line.startswith("hpcwaas-api: ")
    return line


def file_instead_of_directory(service: Service) -> None:
    service.data.write_text("")


def no_rights(service: Service) -> None:
    service.data.mkdir()
    service.data.chmod(0o500)


def foreign_database(service: Service) -> None:
    service.data.mkdir()
    (service.data / "hpcwaas.db").write_text("Dear diary")


def database_of_another_program(service: Service) -> None:
    service.data.mkdir()
    with contextlib.closing(sqlite3.connect(service.data / "hpcwaas.db")) as connection, connection:
        connection.execute("CREATE TABLE executions (title TEXT)")
    connection.close()


def database_of_a_later_version(service: Service) -> None:
    service.command("db", "upgrade")
    with contextlib.closing(sqlite3.connect(service.data / "hpcwaas.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9999'")
    connection.close()


def broken_token(service: Service) -> None:
    service.data.mkdir()
    (service.data / "local-token").write_text("short")
    (service.data / "local-token").chmod(0o600)


def open_vault_key(service: Service) -> None:
    service.data.mkdir()
    (service.data / "vault.key").write_text(base64.b64encode(bytes(32)).decode())
    (service.data / "vault.key").chmod(0o644)


def unknown_key(service: Service) -> None:
    (service.home / ".hpcwaas-api.yaml").write_text("cwl:\n  max_runing: 3\n")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (file_instead_of_directory, ("data_dir", "data")),
        pytest.param(
            no_rights,
            ("data_dir", "isn't writable"),
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root"),
        ),
        (foreign_database, ("store.url", "isn't an SQLite database")),
        (database_of_another_program, ("store.url", "another program", "executions")),
        (database_of_a_later_version, ("store.url", "v9999")),
        (broken_token, ("data_dir", "local-token")),
        (open_vault_key, ("vault.key", "chmod 600")),
        (unknown_key, ("cwl.max_runing", "max_running", ".hpcwaas-api.yaml")),
    ],
)
def test_what_is_wrong_is_one_line(service: Service, spoil: Callable[[Service], None], says: tuple[str, ...]) -> None:
    spoil(service)
    line = refusal(service)
    assert all(word in line for word in says), line


def test_a_port_in_use(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"{address} is in use" in refusal(service, "-l", address)


def test_another_vault_key(service: Service) -> None:
    service.start()
    assert service.user("POST", "/ssh_keys", json={"name": "one"}).status_code == 201
    service.stop()
    service.variables["HWA_VAULT_KEY"] = key = base64.b64encode(os.urandom(32)).decode()
    line = refusal(service)
    assert "vault.key: this isn't the key" in line
    assert key not in line
    del service.variables["HWA_VAULT_KEY"]
    service.start()
    assert len(service.user("GET", "/ssh_keys").json()["ssh_keys"]) == 1


def test_another_service_on_the_same_data(service: Service) -> None:
    service.start()
    line = refusal(service)
    assert service.url in line
    assert service.user("GET", "/workflows").ok
    assert service.profile.exists()
