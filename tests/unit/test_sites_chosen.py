"""Where executions may run, and by which accounts."""

from __future__ import annotations

import pytest

from hpcwaas.core.engines import Engines
from hpcwaas.core.site_models import LOCAL, Placement
from hpcwaas.core.sites import Sites
from hpcwaas.errors import BadRequest, Conflict, ServiceError
from hpcwaas.store.accounts import AccountStore
from hpcwaas.store.ssh_keys import SSHKeyStore
from tests.simulators.site_engine import LUMI, MARE, SiteEngine, There
from tests.unit.sites import ALICE, BOB, CAROL, CHECKS, chosen
from tests.unit.test_engines import Listing

pytest_plugins = "tests.unit.sites_fixtures"


def refused(sites: Sites, there: There, workflow: str, site: str | None = None) -> str:
    with pytest.raises(ServiceError) as caught:
        chosen(sites, there, workflow, site)
    assert isinstance(caught.value, BadRequest | Conflict)
    return caught.value.detail


def test_the_only_place_is_chosen(sites: Sites, there: There) -> None:
    assert chosen(sites, there, "anywhere") == Placement(LOCAL)
    assert chosen(sites, there, "anywhere", "local") == Placement(LOCAL)
    sites.put_account(ALICE, "mare", "u1", "key-1")
    assert chosen(sites, there, "away") == chosen(sites, there, "anywhere", "mare") == Placement("mare", "u1", "key-1")
    assert chosen(sites, there, "here") == Placement(LOCAL)
    assert chosen(sites, there, "anywhere", principal=BOB) == Placement(LOCAL)
    there.sites = [MARE]
    assert chosen(sites, there, "anywhere") == Placement("mare", "u1", "key-1")


def test_where_it_cannot_run_is_refused_with_what_to_do(sites: Sites, there: There) -> None:
    assert refused(sites, there, "away") == (
        "This workflow runs on `mare`, where you have no account: connect one first (`waas sites connect`)."
    )
    assert refused(sites, there, "away", "mare").startswith("`site` is `mare`, where you have no account: connect")
    assert refused(sites, there, "away", "local") == "`site` is `local`; this workflow runs on `mare`."
    assert refused(sites, there, "nowhere").startswith("This workflow runs on no site that you may use.")
    assert refused(sites, there, "nowhere", "mare").endswith("this workflow runs on no site of yours.")
    assert refused(sites, there, "anywhere", "lumi") == "`site` is 'lumi'. There is no such site."
    assert refused(sites, there, "anywhere", "atlantis") == "`site` is 'atlantis'. There is no such site."
    sites.put_account(ALICE, "mare", "u1", "key-1")
    assert refused(sites, there, "anywhere") == (
        "`site` is missing, and there are several: expected one of `local`, `mare`."
    )


def test_an_account_without_its_key_is_refused(sites: Sites, there: There, keys: SSHKeyStore) -> None:
    sites.put_account(ALICE, "mare", "u1", "key-1")
    keys.delete("key-1", "alice")
    assert "has been deleted: name another one" in refused(sites, there, "away")


def test_engines_without_sites_take_none(accounts: AccountStore, keys: SSHKeyStore, there: There) -> None:
    plain = Listing("plain", "w")
    sites = Sites(Engines([plain, SiteEngine(there)], {}), accounts, keys, CHECKS(), lambda _: None)  # type: ignore[list-item] # it only lists
    assert sites.choose(ALICE, plain, plain.found[0], None) is None  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="the engine `plain` decides by itself"):
        sites.choose(ALICE, plain, plain.found[0], "mare")  # type: ignore[arg-type]
    where = sites.where(ALICE)
    assert where(plain.found[0]) is None
    assert [where(workflow) for workflow in there.workflows] == [["local", "mare"], ["mare"], ["local"], []]
    assert list(sites.where(CAROL)(there.workflows[1]) or ()) == ["mare", "lumi"]
    assert LUMI in there.sites
