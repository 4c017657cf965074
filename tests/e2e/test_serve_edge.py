"""The command at the edge of a network: TLS without a proxy, and a limit that holds for all workers."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.certificates import Identity, identity
from tests.e2e.processes import Service, eventually
from tests.service import PASSWORDS, as_user


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.end()


def configure(service: Service, **sections: object) -> None:
    auth = {"auth_type": "basic", "basic_auth": {"accounts": [{"username": "alice", "password": PASSWORDS["alice"]}]}}
    file = service.home / "hpcwaas-api.yml"
    file.write_text(yaml.safe_dump({"auth": auth, **sections}))
    file.chmod(0o600)
    service.arguments = ["--config", file]


def shown(service: Service, trusted: Path) -> bytes:
    """The certificate that a new connection gets."""
    host, port = service.address.split(":")
    with (
        socket.create_connection((host, int(port)), 60) as plain,
        ssl.create_default_context(cafile=str(trusted)).wrap_socket(plain, server_hostname=host) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def der(own: Identity) -> bytes:
    return ssl.PEM_cert_to_DER_cert(own.certificate.read_text())


def test_tls_without_a_proxy_takes_a_renewed_certificate(service: Service, tmp_path: Path) -> None:
    own, next_one = identity(tmp_path, "own"), identity(tmp_path, "next")
    configure(service, server={"tls_certificate": str(own.certificate), "tls_key": str(own.key)})
    service.start()
    assert service.url.startswith("https://")
    host, port = service.address.split(":")
    silent = socket.create_connection((host, int(port)), 60)
    begun = time.monotonic()
    assert service.command("health").stdout == '{"status":"ok"}\n'
    alice = as_user(service.url, "alice")
    answer = alice("GET", "/workflows", verify=str(own.certificate))
    assert answer.status_code == 200
    assert "Strict-Transport-Security" in answer.headers
    assert (
        service.waas("workflows", "list", HW_API_URL=service.url, HW_USER=f"alice:{PASSWORDS['alice']}").returncode != 0
    )
    listed = service.waas(
        *("workflows", "list", "-o", "json"),
        HW_API_URL=service.url,
        HW_USER=f"alice:{PASSWORDS['alice']}",
        REQUESTS_CA_BUNDLE=str(own.certificate),
    )
    assert listed.returncode == 0, listed.stderr
    before = der(own)
    assert shown(service, own.certificate) == before
    next_one.certificate.replace(own.certificate)  # the key comes later: both don't belong together yet
    eventually(lambda: "goes on with its certificate from before" in service.log.read_text())
    (tmp_path / "before.pem").write_text(ssl.DER_cert_to_PEM_cert(before))
    assert shown(service, tmp_path / "before.pem") == before
    next_one.key.replace(own.key)
    eventually(lambda: "has taken its new certificate" in service.log.read_text())
    assert shown(service, own.certificate) == der(own) != before
    assert alice("GET", "/workflows", verify=str(own.certificate)).status_code == 200
    with silent:
        assert silent.recv(1) == b""  # whoever doesn't begin to agree on TLS isn't waited for
    assert time.monotonic() - begun < 40  # 10 it is, and would be 60


def test_a_users_requests_are_counted_for_all_workers_together(service: Service) -> None:
    configure(service, server={"workers": 3}, limits={"requests": 40})
    service.start()

    alice, closed = as_user(service.url, "alice"), {"Connection": "close"}  # each by another connection: by any worker
    begun = time.monotonic()

    def answered(times: int) -> list[int]:
        return [alice("GET", "/workflows", headers=closed).status_code for _ in range(times)]

    def permitted() -> float:
        """How many there may have been, of a minute that moves on: each worker for itself would let 40 through."""
        return 43 + (time.monotonic() - begun) * 40 / 60

    codes = answered(80)
    assert set(codes) == {200, 429}
    assert 40 <= codes.count(200) <= permitted()
    service.kill("worker")
    eventually(lambda: len(service.processes("worker")) == 3)
    codes += answered(40)
    assert codes.count(200) <= permitted()  # the new ones go on counting


def test_the_health_of_a_service_that_has_ended_is_bad(service: Service) -> None:
    none = service.command("health")
    assert (none.returncode, "no service was started" in none.stderr) == (1, True)
    service.data.mkdir()
    (service.data / "hpcwaas-api.lock").write_text(f"process 1, unix:{service.home}/gone.sock\n")
    gone = service.command("health")
    assert (gone.returncode, "doesn't answer" in gone.stderr) == (1, True)
    (service.data / "hpcwaas-api.lock").write_text("")
    assert "is starting" in service.command("health").stderr
