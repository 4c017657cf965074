"""Sites whose accounts are opened by what a real OpenBao gives: keys that it keeps, certificates that it signs."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

from hpcwaas.core.ports.sites import Credential
from hpcwaas.engines.cwl.sites.connection import NotSignedIn
from hpcwaas.engines.cwl.sites.signing_in import hang_up, sign_in
from hpcwaas.engines.site_settings import SiteSettings
from hpcwaas.errors import UpstreamFailed
from hpcwaas.vault.accounts import Signer
from hpcwaas.vault.login import Clients, make_login, prepare
from hpcwaas.vault.settings import CertificateSettings, HashiCorpSettings
from hpcwaas.vault.token import VaultToken
from tests.e2e.processes import eventually
from tests.service import Client
from tests.system.openbao import OpenBao
from tests.system.slurm_site import Site, SiteService, one_node

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with OpenBao(tmp_path_factory.mktemp("vault")) as vault:
        vault.signing_role()
        yield vault


@pytest.fixture(scope="module")
def site(vault: OpenBao) -> Iterator[Site]:
    """A site that trusts the vault's authority."""
    with one_node() as site:
        (site.directory / "ssh" / "authorities").write_text(vault.authority)
        yield site


@pytest.fixture(scope="module")
def service(site: Site, vault: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteService]:
    """The service. Its sites are the same machine: one is opened by stored keys, and one by certificates."""
    service = SiteService(
        tmp_path_factory.mktemp("service"),
        {
            "kept": site.settings(leader="job", work_dir="{home}/kept"),
            "signed": site.settings(work_dir="{home}/signed", logins={"alice": site.alice.name}),
        },
        vault_config=vault.settings(
            "hpcwaas-signer", key_reader=vault.role("hpcwaas-reader", token_ttl="5s"), ssh_ca={"role": "hpcwaas"}
        ),
    )
    del service.settings["vault"]
    try:
        service.start()
        service.connect("alice", "kept", site.alice)
        assert service.as_user("alice")("PUT", "/sites/signed/account", json={}).ok
        yield service
    finally:
        service.end()


class Running:
    """An execution that runs on the site until it is told to end."""

    def __init__(self, service: SiteService, site: Site) -> None:
        self.alice = service.as_user("alice")
        self._site = site
        self._before = len(site.submitted())
        self._runs, self._go = site.alice.home / "runs", site.alice.home / "go"
        for path in (self._runs, self._go):
            path.unlink(missing_ok=True)
        script = f"echo again >>{self._runs}; while [ ! -e {self._go} ]; do sleep 0.2; done; echo done >out.txt"
        self.path = service.start_on(self.alice, "kept", "script", script=script)
        eventually(self._runs.exists)
        eventually(lambda: self.shown()["status"] == "RUNNING")

    def shown(self) -> dict[str, Any]:
        """What its user reads of it."""
        return dict(self.alice("GET", self.path).json())

    def go(self) -> None:
        """Lets it end, and waits until it has done so on the site."""
        self._go.touch()
        eventually(lambda: self._site.queued() == [])

    def ended_once(self) -> None:
        """Checks that it succeeds, and ran once."""
        done = self.alice.finished(self.path)
        assert done["status"] == "SUCCEEDED", done
        assert (done["reason"], done["stale_since"]) == (None, None)
        assert self.alice("GET", f"{self.path}/outputs/files", params={"path": "0"}).text == "done\n"
        assert self._runs.read_text() == "again\n"
        assert len(self._site.submitted()) == self._before + 1


@contextlib.contextmanager
def sealed(vault: OpenBao) -> Iterator[None]:
    """The vault is sealed within."""
    vault.seal()
    try:
        yield
    finally:
        vault.unseal()


def told(point: str, client: Client, site: str) -> str:
    """What a check says of a point at which it fails."""
    checked = client("POST", f"/sites/{site}/account/check").json()
    (found,) = [each for each in checked["points"] if each["id"] == point]
    assert (found["status"], checked["usable"]) == ("failed", False), checked
    return f"{found['detail']} {found['advice']}"


def test_the_vault_is_sealed_while_an_execution_runs(service: SiteService, site: Site, vault: OpenBao) -> None:
    running = Running(service, site)
    alice = running.alice
    with sealed(vault):
        site.cut_connections()
        eventually(lambda: "sealed" in (running.shown()["reason"] or ""))
        shown = running.shown()
        assert shown["status"] == "RUNNING"
        assert shown["reason"].startswith(
            "The account on the site kept can't be opened now. The vault is sealed or not ready. Tell an operator. "
            "The jobs go on."
        )
        assert shown["stale_since"] is not None
        before = alice("GET", "/executions").json()
        for where in ("kept", "signed"):
            refused = alice("POST", "/workflows/script", json={"inputs": {"script": "true"}, "site": where})
            assert (refused.status_code, int(refused.headers["Retry-After"]) > 0) == (503, True)
            assert "vault is sealed" in refused.json()["detail"]
            assert "vault is sealed" in told("sign_in", alice, where)
        assert [each["id"] for each in alice("GET", "/executions").json()["executions"]] == [
            each["id"] for each in before["executions"]
        ]
        assert alice("GET", f"{running.path}/logs", params={"timeout": "0"}).ok
        running.go()
        assert running.shown()["status"] == "RUNNING"  # nothing is guessed
    running.ended_once()


def test_the_service_is_started_anew_while_the_vault_is_sealed(
    service: SiteService, site: Site, vault: OpenBao
) -> None:
    running = Running(service, site)
    with sealed(vault):
        service.stop()
        running.go()
        service.start()
        eventually(lambda: "vault" in (running.shown()["reason"] or ""))
        shown = running.shown()
        assert (shown["status"], "sealed" in shown["reason"]) == ("RUNNING", True), shown
    running.ended_once()


def test_an_execution_is_opened_by_certificates_that_name_it(service: SiteService, site: Site) -> None:
    alice = service.as_user("alice")
    checked = alice("POST", "/sites/signed/account/check").json()
    assert checked["usable"] is True, checked
    path = service.start_on(alice, "signed", "script", script="echo done >out.txt")
    done = alice.finished(path)
    assert done["status"] == "SUCCEEDED", done
    ids = re.findall(r'^Accepted certificate ID "([^"]*)"', site.log("sshd"), re.MULTILINE)
    name = site.alice.name
    assert {f"hpcwaas check as {name}", f"hpcwaas execution {done['id']} as {name}"} <= set(ids)


@pytest.mark.parametrize(
    "role",
    [
        {"allowed_users": "nobody"},
        {"allow_user_key_ids": False},
        {"allow_user_certificates": False, "allow_host_certificates": True},
        {"max_ttl": "2m"},
    ],
)
def test_a_role_that_refuses_is_told_by_the_check(
    service: SiteService, site: Site, vault: OpenBao, role: dict[str, Any]
) -> None:
    vault.signing_role(**role, **({"ttl": "1m"} if "max_ttl" in role else {}))
    try:
        said = told("sign_in", service.as_user("alice"), "signed")
    finally:
        vault.signing_role()
    assert f"The vault signs no certificate for the login name {site.alice.name}: its role hpcwaas" in said


@pytest.fixture
def signer(vault: OpenBao, tmp_path: Path) -> Iterator[Signer]:
    with signing(vault, tmp_path) as signer:
        yield signer


@contextlib.contextmanager
def signing(vault: OpenBao, directory: Path, *policies: str, **changes: Any) -> Iterator[Signer]:
    """What has keys signed, with an identity of its own."""
    settings = HashiCorpSettings(**vault.settings(*(policies or ("hpcwaas-signer",))))
    clients = Clients(settings)
    token = VaultToken(clients, make_login(settings, prepare(settings, directory / "lock")))
    token.start()
    try:
        # Times below the least that a setting may be.
        yield Signer(
            CertificateSettings.model_construct(**{"mount": "ssh", "role": "hpcwaas", "ttl": 300, **changes}), token
        )
    finally:
        token.close()
        clients.close()


def test_a_certificate_is_for_one_login_and_minutes(signer: Signer) -> None:
    credential = signer.credential("u1234", "hpcwaas execution 0815 as u1234")
    found = load_ssh_public_identity((credential.certificate or "").encode())
    assert isinstance(found, SSHCertificate)
    found.verify_cert_signature()
    assert (found.valid_principals, found.key_id) == ([b"u1234"], b"hpcwaas execution 0815 as u1234")
    assert abs(found.valid_before - time.time() - 300) < 60
    assert found.valid_before - found.valid_after < 400
    assert (found.critical_options, found.extensions) == ({}, {})


def test_a_certificate_that_has_expired_opens_nothing_and_the_next_does(
    vault: OpenBao, site: Site, tmp_path: Path
) -> None:
    settings = SiteSettings(host=site.host, host_keys=[site.host_key])
    with signing(vault, tmp_path, ttl=1) as signer:

        def signed() -> Credential:
            return signer.credential(site.alice.name, "hpcwaas test")

        old = signed()
        time.sleep(2.5)
        with pytest.raises(NotSignedIn, match="refuses the certificate") as caught:
            sign_in("signed", settings, site.alice.name, lambda: old)
        assert "whether its clock is right" in caught.value.advice
        hang_up(sign_in("signed", settings, site.alice.name, signed))


def test_an_identity_that_may_not_sign_is_told(vault: OpenBao, tmp_path: Path) -> None:
    with signing(vault, tmp_path, "hpcwaas-reader") as signer, pytest.raises(UpstreamFailed, match="policy"):
        signer.credential("u1234", "hpcwaas test")


def test_a_role_that_is_not_there_is_told(vault: OpenBao, tmp_path: Path) -> None:
    with signing(vault, tmp_path, role="another") as signer, pytest.raises(UpstreamFailed) as caught:
        signer.credential("u1234", "hpcwaas test")
    assert "vault" in caught.value.detail
