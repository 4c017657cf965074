"""A real OpenBao, prepared as docs/how-to/vault.md says."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import hvac
import requests

from examples.slurm.daemons import Daemon, free_ports, listens

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".venv-openbao" / "bin" / "bao"
CONFIGURATION = """
storage "raft" {{
  path = "{home}/data"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
log_level = "warn"
"""
_NOT_READY = (requests.ConnectionError, hvac.exceptions.VaultError)
_T = TypeVar("_T")


def when_ready(question: Callable[[], _T], seconds: float = 60) -> _T:
    """The answer to a question, asked until there is one that is neither false nor an error."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(*_NOT_READY):
            if answer := question():
                return answer
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


class OpenBao:
    """The server, with the service's policies, an authority for SSH certificates, and roles that tests ask for; runs
    inside a `with` block.

    Attributes:
        client: of its root.
    """

    def __init__(self, home: Path) -> None:
        assert PROGRAM.exists(), "OpenBao isn't installed: use `make test-system`"
        port, cluster_port = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        (home / "data").mkdir(parents=True)
        configuration = home / "config.hcl"
        configuration.write_text(CONFIGURATION.format(home=home, port=port, cluster_port=cluster_port))
        self._daemon = Daemon(
            "openbao",
            [PROGRAM, "server", f"-config={configuration}"],
            home / "log",
            {"PATH": os.environ["PATH"], "HOME": str(home)},
            lambda: listens(port),
        )
        self.client = hvac.Client(self.url, "")
        self._key = ""

    def __enter__(self) -> Self:
        try:
            self.start()
            self._prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.stop()
        self.client.adapter.close()

    def _prepare(self) -> None:
        made: dict[str, Any] = when_ready(lambda: self.client.sys.initialize(1, 1))
        self.client.token, (self._key,) = made["root_token"], made["keys"]
        self.unseal()
        self.client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        self.client.sys.enable_auth_method("approle")
        self.client.sys.enable_secrets_engine("ssh")
        self.client.write_data("ssh/config/ca", data={"generate_signing_key": True, "key_type": "ed25519"})
        for policy in ROOT.joinpath("deploy", "vault").glob("*.hcl"):
            self.client.sys.create_or_update_policy(policy.stem, policy.read_text())

    def start(self) -> None:
        """Starts it; it is sealed."""
        self._daemon.start()

    def kill(self) -> None:
        """Ends it, as a failure of its machine would."""
        if self._daemon.process is not None:
            self._daemon.process.kill()
        self._daemon.stop()

    def seal(self) -> None:
        """Closes it: it answers, and gives nothing."""
        self.client.sys.seal()

    def unseal(self) -> None:
        """Opens it, and waits until it works."""
        when_ready(lambda: self.client.sys.submit_unseal_key(self._key)["sealed"] is False)
        when_ready(lambda: self.client.sys.read_leader_status()["is_self"])

    def role(self, *policies: str, **options: Any) -> dict[str, str]:
        """What an operator writes to log in by an AppRole that has these policies.

        Args:
            options: of the role, such as `token_ttl`.
        """
        approle, name = self.client.auth.approle, "-".join(policies)
        approle.create_or_update_approle(name, token_policies=list(policies), **options)
        role_id = approle.read_role_id(name)["data"]["role_id"]
        return {"role_id": role_id, "secret_id": approle.generate_secret_id(name)["data"]["secret_id"]}

    def settings(self, *more_policies: str, **members: Any) -> dict[str, Any]:
        """The section `vault_config` of a service that has an AppRole of its own here."""
        return {"address": self.url, **self.role("hpcwaas-service", *more_policies), **members}

    def private_key(self, key_id: str) -> str:
        """What the service has stored of a key, and can't read."""
        path = f"ssh-credentials/{key_id}"
        record = self.client.secrets.kv.v2.read_secret_version(path, raise_on_deleted_version=True)
        return str(record["data"]["data"]["privateKey"])

    @property
    def authority(self) -> str:
        """Public key of the authority for SSH certificates; the line for `TrustedUserCAKeys`."""
        return str(self.client.read("ssh/config/ca")["data"]["public_key"])

    def signing_role(self, name: str = "hpcwaas", **changes: Any) -> None:
        """Makes a role that signs."""
        options = {"key_type": "ca", "algorithm_signer": "default", "allow_user_certificates": True}
        options |= {"allowed_users": "*", "allow_user_key_ids": True, "ttl": "5m", "max_ttl": "1h"}
        self.client.write_data(f"ssh/roles/{name}", data=options | changes)
