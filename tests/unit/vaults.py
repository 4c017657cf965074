"""What the tests of HashiCorp Vault share beside their fixtures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hpcwaas.core.models import SSHKey
from hpcwaas.errors import Unavailable
from hpcwaas.store.intents import IntentStore
from hpcwaas.vault import login
from hpcwaas.vault.hashicorp import HashiCorpVault
from hpcwaas.vault.settings import HashiCorpSettings
from tests.simulators.vault import Vault
from tests.simulators.vault_state import Role

LATER = datetime.now(UTC) + timedelta(days=1)


def key(key_id: str = "key-1", public: str = "ssh-ed25519 AAAA alice\n") -> SSHKey:
    return SSHKey(key_id, "alice", "mine", "ed25519", None, public, "SHA256:x", {"project": "p"}, datetime.now(UTC))


class Made:
    """Makes vaults that are closed in the end."""

    def __init__(self, server: Vault, intents: IntentStore, lock: Path) -> None:
        self.server, self.intents, self.lock = server, intents, lock
        self.vaults: list[HashiCorpVault] = []

    def settings(self, approle: Role | None = None, /, **members: Any) -> HashiCorpSettings:
        if approle is not None:
            members = {"role_id": approle.role_id, "secret_id": self.server.secret_id(approle)} | members
        return HashiCorpSettings.model_validate({"address": self.server.url, **members})

    def __call__(self, approle: Role | None = None, /, **members: Any) -> HashiCorpVault:
        settings = self.settings(approle, **members)
        vault = HashiCorpVault(settings, self.intents, login.prepare(settings, self.lock))
        vault.start()
        self.vaults.append(vault)
        return vault


def eventually(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def writes(vault: HashiCorpVault, key_id: str) -> bool:
    with contextlib.suppress(Unavailable):
        vault.write(key(key_id), "PEM")
        return True
    return False
