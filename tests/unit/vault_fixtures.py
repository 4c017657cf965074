"""A look-alike of HashiCorp Vault with exactly the policy that we ship, and vaults that use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.store.database import Database
from hpcwaas.store.intents import IntentStore
from hpcwaas.vault.hashicorp import HashiCorpVault
from tests.simulators.vault import Vault, vault_server
from tests.unit.vaults import Made


@pytest.fixture
def intents(database: Database) -> IntentStore:
    return IntentStore(database)


@pytest.fixture
def server() -> Iterator[Vault]:
    with vault_server() as server:
        yield server


@pytest.fixture
def made(server: Vault, intents: IntentStore, tmp_path: Path) -> Iterator[Made]:
    made = Made(server, intents, tmp_path / "lock")
    yield made
    for vault in made.vaults:
        vault.close()


@pytest.fixture
def vault(made: Made, server: Vault) -> HashiCorpVault:
    return made(server.role())
