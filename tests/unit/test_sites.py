"""Accounts on sites: whose they are, and what they may be."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hpcwaas.core.engines import Engines
from hpcwaas.core.people import Principal
from hpcwaas.core.site_models import Account, Placement
from hpcwaas.core.sites import Sites, UsersSite
from hpcwaas.errors import BadRequest, Conflict, Forbidden, KeyInUse, NotFound, TooManyRequests
from hpcwaas.store.accounts import AccountStore
from hpcwaas.store.ssh_keys import SSHKeyStore
from tests.simulators.site_engine import KEYLESS, MACHINE, MARE, REFUSED, SiteEngine, There
from tests.unit.sites import ALICE, BOB, CAROL, CHECKS, NOW, chosen

pytest_plugins = "tests.unit.sites_fixtures"


def ids(sites: Sites, principal: Principal) -> list[str]:
    return [seen.site.id for seen in sites.list(principal)]


def test_users_see_the_sites_that_they_may_use_in_the_order_of_the_settings(sites: Sites, there: There) -> None:
    assert (ids(sites, ALICE), ids(sites, CAROL)) == (["local", "mare"], ["local", "mare", "lumi"])
    there.change("mare", users=frozenset({"bob"}))
    assert (ids(sites, ALICE), ids(sites, BOB)) == (["local"], ["local", "mare"])
    there.change("lumi", users=frozenset({"alice"}))
    assert ids(sites, ALICE) == ["local", "lumi"]
    there.change("mare", users=frozenset(), groups=None)
    assert "mare" not in ids(sites, BOB)


@pytest.mark.parametrize("site", ["lumi", "atlantis", ""])
def test_a_site_that_one_may_not_use_is_none(sites: Sites, site: str) -> None:
    said = set()
    for ask in (
        lambda: sites.get(ALICE, site),
        lambda: sites.account(ALICE, site),
        lambda: sites.put_account(ALICE, site, "u1", "key-1"),
        lambda: sites.put_account(ALICE, site, "no login", None),
        lambda: sites.delete_account(ALICE, site),
        lambda: sites.check_account(ALICE, site),
    ):
        with pytest.raises(NotFound) as caught:
            ask()
        said.add(caught.value.detail)
    assert said == {"There is no such site."}


def test_an_account_is_its_owners_alone(sites: Sites) -> None:
    account, new = sites.put_account(ALICE, "mare", "u1", "key-1")
    assert (new, account.user, account.ssh_key, account.usable) == (True, "u1", "key-1", None)
    assert sites.account(ALICE, "mare") == account
    assert sites.get(ALICE, "mare") == UsersSite(MARE, account, None)
    assert sites.list(ALICE) == [UsersSite(MACHINE, None, None), UsersSite(MARE, account, None)]
    operator = Principal("root", "Root", roles=frozenset({"user", "operator"}))
    for other in (BOB, CAROL, operator):
        assert sites.get(other, "mare") == UsersSite(MARE, None, None)
        for ask in (sites.account, sites.delete_account, sites.check_account):
            with pytest.raises(NotFound, match="You have no account on the site `mare`"):
                ask(other, "mare")
    sites.put_account(BOB, "mare", "u1", "bobs")  # the same login name: each by their own key
    sites.delete_account(BOB, "mare")
    assert sites.account(ALICE, "mare") == account


def test_putting_the_same_again_changes_nothing_and_another_one_forgets_the_check(sites: Sites) -> None:
    first, _ = sites.put_account(ALICE, "mare", "u1", "key-1")
    sites.check_account(ALICE, "mare")
    again, new = sites.put_account(ALICE, "mare", "u1", "key-1")
    assert (new, again.usable, again.created_at) == (False, True, first.created_at)
    for user, key in (("u2", "key-1"), ("u2", "key-2")):
        sites.check_account(ALICE, "mare")
        changed, new = sites.put_account(ALICE, "mare", user, key)
        assert (new, changed.user, changed.ssh_key) == (False, user, key)
        assert (changed.usable, changed.checked_at, changed.created_at) == (None, None, first.created_at)
        assert sites.account(ALICE, "mare") == changed


@pytest.mark.parametrize("user", ["u1234", "alice", "_a", "A.b-c+d@example.org", "7", "x" * 64])
def test_login_names(sites: Sites, user: str) -> None:
    assert sites.put_account(ALICE, "mare", user, "key-1")[0].user == user


@pytest.mark.parametrize(
    "user",
    [
        "",
        " ",
        "a b",
        "-oProxyCommand=x",
        "-",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a\nb",
        "a\n",
        "a;b",
        "$(x)",
        "é",
        "x" * 65,
        "a:b",
    ],
)
def test_what_is_no_login_name_is_refused_by_name(sites: Sites, user: str) -> None:
    with pytest.raises(BadRequest, match=r"^`user` is .*; expected the login name"):
        sites.put_account(ALICE, "mare", user, "key-1")
    with pytest.raises(NotFound):
        sites.account(ALICE, "mare")


@pytest.mark.parametrize("key", ["bobs", "nothing", "", "key-1 "])
def test_somebody_elses_key_is_refused_like_one_that_does_not_exist(sites: Sites, key: str) -> None:
    with pytest.raises(BadRequest) as caught:
        sites.put_account(ALICE, "mare", "u1", key)
    assert caught.value.detail == f"`ssh_key` is {key!r}, which isn't an SSH key of yours; expected the id of one."


def test_a_key_is_needed_unless_certificates_open_accounts(sites: Sites, there: There) -> None:
    there.sites.append(KEYLESS)
    with pytest.raises(BadRequest, match="`ssh_key` is missing"):
        sites.put_account(ALICE, "mare", "u1", None)
    with pytest.raises(BadRequest, match="`user` is missing"):
        sites.put_account(ALICE, "mare", None, "key-1")
    with pytest.raises(BadRequest, match="`ssh_key` isn't used"):
        sites.put_account(ALICE, "swan", "alice", "key-1")
    assert sites.put_account(ALICE, "swan", None, None)[0].user == "alice"
    sites.check_account(ALICE, "swan")
    assert there.checked == [Placement("swan", "alice", None)]
    there.change("swan", keyless=False)
    for ask in (lambda: sites.check_account(ALICE, "swan"), lambda: chosen(sites, there, "anywhere", "swan")):
        with pytest.raises(Conflict, match="names no SSH key"):
            ask()
    sites.put_account(ALICE, "swan", "alice", "key-1")
    there.change("swan", keyless=True)
    assert chosen(sites, there, "anywhere", "swan") == Placement("swan", "alice", None)


@pytest.mark.parametrize("user", ["bob", "root", "Alice", "alice ", ""])
def test_where_certificates_open_accounts_nobody_chooses_whose(sites: Sites, there: There, user: str) -> None:
    there.sites.append(KEYLESS)
    with pytest.raises(BadRequest, match="your login name on the site `swan` is `alice`"):
        sites.put_account(ALICE, "swan", user, None)
    assert (sites.get(ALICE, "swan").login, sites.get(ALICE, "mare").login) == ("alice", None)


@pytest.mark.parametrize("subject", ["root", "-alice", "Alice Smith", "alice/../bob"])
def test_a_subject_that_is_no_login_name_has_no_account_by_certificate(
    sites: Sites, there: There, subject: str
) -> None:
    there.sites.append(KEYLESS)
    for user in (None, subject, "alice"):
        with pytest.raises(Forbidden, match="haven't said which one is yours"):
            sites.put_account(Principal(subject, subject), "swan", user, None)


def test_operators_vouch_for_accounts_by_a_table(sites: Sites, there: There) -> None:
    there.sites.append(replace(KEYLESS, logins={"alice": "u1234"}))
    assert sites.put_account(ALICE, "swan", "u1234", None)[0].user == "u1234"
    assert sites.get(BOB, "swan").login is None
    for user in (None, "bob", "u1234"):
        with pytest.raises(Forbidden):
            sites.put_account(BOB, "swan", user, None)
    there.change("swan", logins={"alice": "u9"})
    workflow = SiteEngine(there).workflow("anywhere")
    for refusal, ask in (
        (Conflict, lambda: sites.check_account(ALICE, "swan")),
        (Conflict, lambda: chosen(sites, there, "anywhere", "swan")),
        (BadRequest, lambda: sites.place(ALICE, SiteEngine(there), workflow, {}, Placement("swan", "u1234"))),
    ):
        with pytest.raises(refusal):
            ask()
    assert sites.put_account(ALICE, "swan", None, None) == (sites.account(ALICE, "swan"), False)
    assert chosen(sites, there, "anywhere", "swan") == Placement("swan", "u9")


def test_an_account_that_was_claimed_with_a_key_is_not_opened_by_a_certificate(sites: Sites, there: There) -> None:
    sites.put_account(ALICE, "mare", "bob", "key-1")
    there.change("mare", keyless=True)
    for ask in (lambda: sites.check_account(ALICE, "mare"), lambda: chosen(sites, there, "anywhere", "mare")):
        with pytest.raises(Conflict, match="is `bob`, and its operators don't say that this one is yours"):
            ask()
    assert there.checked == []


def test_nobody_has_an_account_on_the_services_own_machine(sites: Sites) -> None:
    with pytest.raises(Conflict, match="Nobody needs an account on the site `local`"):
        sites.put_account(ALICE, "local", "u1", "key-1")
    for ask in (sites.account, sites.delete_account, sites.check_account):
        with pytest.raises(NotFound):
            ask(ALICE, "local")


def test_an_account_on_a_site_that_is_gone_can_be_seen_and_deleted(
    sites: Sites, there: There, keys: SSHKeyStore
) -> None:
    account, _ = sites.put_account(ALICE, "mare", "u1", "key-1")
    there.sites = [MACHINE]
    assert sites.account(ALICE, "mare") == account
    with pytest.raises(NotFound, match="no such site"):
        sites.check_account(ALICE, "mare")
    with pytest.raises(KeyInUse):
        keys.begin("delete", "key-1", "alice", NOW, NOW, even_in_use=False)
    sites.delete_account(ALICE, "mare")
    keys.begin("delete", "key-1", "alice", NOW, NOW, even_in_use=False)


def test_a_check_says_whether_the_account_is_usable(sites: Sites, there: There) -> None:
    sites.put_account(ALICE, "mare", "u1", "key-1")
    found = sites.check_account(ALICE, "mare")
    assert (found.usable, len(found.points)) == (True, 1)
    assert there.checked == [Placement("mare", "u1", "key-1")]
    account = sites.account(ALICE, "mare")
    assert account.usable
    assert account.checked_at is not None
    there.points = REFUSED
    assert not sites.check_account(ALICE, "mare").usable
    assert sites.account(ALICE, "mare").usable is False
    there.points = ()
    assert not sites.check_account(ALICE, "mare").usable


def test_what_a_check_found_is_not_said_of_an_account_that_was_changed_meanwhile(
    sites: Sites, accounts: AccountStore
) -> None:
    account, _ = sites.put_account(ALICE, "mare", "u1", "key-1")
    sites.put_account(ALICE, "mare", "u2", "key-1")
    accounts.checked(account, NOW, True)
    assert sites.account(ALICE, "mare").usable is None
    keyless = Account("alice", "swan", "u1", None, NOW)
    accounts.put(keyless)
    accounts.checked(keyless, NOW, True)
    assert accounts.of("alice")[1].usable


def test_one_user_has_few_checks_at_once(sites: Sites, there: There) -> None:
    for principal, key in ((ALICE, "key-1"), (BOB, "bobs")):
        sites.put_account(principal, "mare", "u1", key)
    arrived, go = threading.Barrier(4), threading.Event()

    class Held(list[Placement]):
        def append(self, placement: Placement) -> None:
            arrived.wait(60)
            go.wait(60)

    there.checked = Held()
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(sites.check_account, it, "mare") for it in (ALICE, ALICE, BOB)]
        arrived.wait(60)
        with pytest.raises(TooManyRequests):
            sites.check_account(ALICE, "mare")
        go.set()
        assert all(each.result(60).usable for each in running)


def test_a_user_who_had_many_checks_waits(there: There, accounts: AccountStore, keys: SSHKeyStore) -> None:
    def count(owner: str) -> None:
        raise TooManyRequests(f"{owner} had many.", 60)

    sites = Sites(Engines([SiteEngine(there)], {}), accounts, keys, CHECKS(), count)
    sites.put_account(ALICE, "mare", "u1", "key-1")
    for _ in range(3):  # and holds no place
        with pytest.raises(TooManyRequests, match="alice had many"):
            sites.check_account(ALICE, "mare")
    assert there.checked == []


def test_a_key_that_opens_accounts_stays_unless_its_deletion_is_forced(sites: Sites, keys: SSHKeyStore) -> None:
    sites.put_account(ALICE, "mare", "u1", "key-1")
    with pytest.raises(KeyInUse, match=r"opens your account on `mare`\. Name another key there") as caught:
        keys.begin("delete", "key-1", "alice", NOW, NOW, even_in_use=False)
    assert (caught.value.sites, caught.value.executions) == (("mare",), ())
    keys.begin("rotate", "key-1", "alice", NOW, NOW)
    keys.leave("key-1", None)
    keys.begin("delete", "key-1", "alice", NOW, NOW)
    with pytest.raises(BadRequest, match="isn't an SSH key of yours"):
        sites.put_account(ALICE, "mare", "u2", "key-1")
    keys.delete("key-1", "alice")
    account = sites.account(ALICE, "mare")
    assert (account.ssh_key, account.usable) == ("key-1", False)
    sites.put_account(ALICE, "mare", "u1", "key-2")
    assert sites.account(ALICE, "mare").usable is None


def test_accounts_put_at_once_leave_one_of_them(sites: Sites, accounts: AccountStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: sites.put_account(ALICE, "mare", f"u{n}", "key-1"), range(8)))
    assert [new for _, new in done].count(True) == 1
    (left,) = accounts.of("alice")
    assert left.user in {f"u{n}" for n in range(8)}
    assert {account.created_at for account, _ in done} == {left.created_at}


def test_an_account_and_the_deletion_of_its_key_at_once(sites: Sites, keys: SSHKeyStore) -> None:
    def delete() -> bool:
        try:
            keys.begin("delete", "key-1", "alice", datetime.now(UTC), NOW - timedelta(days=1), even_in_use=False)
        except KeyInUse:
            return False
        return True

    def put() -> bool:
        try:
            sites.put_account(ALICE, "mare", "u1", "key-1")
        except BadRequest:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        deleted, stored = pool.submit(delete), pool.submit(put)
        assert deleted.result(60) != stored.result(60)
