"""Fixtures of the tests of accounts on sites, and of the choice of a site."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpcwaas.core.engines import Engines
from hpcwaas.core.sites import Sites
from hpcwaas.store.accounts import AccountStore
from hpcwaas.store.database import Database
from hpcwaas.store.ssh_keys import SSHKeyStore
from tests.simulators.site_engine import SiteEngine, There
from tests.unit.sites import CHECKS, KEY


@pytest.fixture
def there() -> There:
    return There()


@pytest.fixture
def accounts(database: Database) -> AccountStore:
    return AccountStore(database)


@pytest.fixture
def keys(database: Database) -> SSHKeyStore:
    records = SSHKeyStore(database)
    for id_, owner in (("key-1", "alice"), ("key-2", "alice"), ("bobs", "bob"), ("carols", "carol")):
        records.add(replace(KEY, id=id_, owner=owner))
    return records


@pytest.fixture
def sites(there: There, accounts: AccountStore, keys: SSHKeyStore) -> Sites:
    return Sites(Engines([SiteEngine(there)], {}), accounts, keys, CHECKS(), lambda _: None)
