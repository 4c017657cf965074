"""Signing in at a real SSH server, and what is told when that doesn't work."""

from __future__ import annotations

import logging
import socket
import subprocess
import time
from pathlib import Path

import pytest

from hpcwaas.core.key_types import KEY_TYPES, generate
from hpcwaas.engines.cwl.sites.connection import NotSignedIn, SiteFailed
from hpcwaas.engines.cwl.sites.signing_in import fingerprint
from hpcwaas.engines.cwl.sites.ssh import SSHConnections
from tests.system.ssh_server import EXECUTION, PLACEMENT, Given, Proxy, Server

pytestmark = pytest.mark.system


def refusal(connections: SSHConnections) -> NotSignedIn:
    with pytest.raises(NotSignedIn) as caught, connections.of(PLACEMENT, EXECUTION):
        pass
    return caught.value


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


def test_a_key_that_is_put_back_is_tried_at_the_time_that_is_told(
    restored: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with restored.connections() as connections:
        restored.authorize("")
        refusal(connections)
        restored.authorize(restored.key.public_key)
        due = connections.due(PLACEMENT)
        assert 220 < due <= 375
        with pytest.raises(SiteFailed, match="refuses the key"), connections.of(PLACEMENT, EXECUTION):
            pass
        backoff = connections._pools[PLACEMENT].backoff
        monkeypatch.setattr(backoff, "_clock", lambda: time.monotonic() + due)
        with connections.of(PLACEMENT, EXECUTION) as connection:
            assert connection.run("true").status == 0
        assert connections.due(PLACEMENT) == 0


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
