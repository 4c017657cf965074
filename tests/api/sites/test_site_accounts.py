"""Sites and accounts through HTTP, with an engine that has some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hpcwaas.core.site_models import Placement
from tests.api.sites.place import ACCOUNT, Place, connect, detail, new_key, started, trigger
from tests.service import Client
from tests.simulators.site_engine import KEYLESS, REFUSED, There


def test_sites_are_listed_with_the_users_own_account(alice: Client, service: Callable[[str], Client]) -> None:
    key = connect(alice)
    local, mare = alice("GET", "/sites").json()["sites"]
    assert (local["id"], local["accounts"], local["account"], local["host"]) == ("local", False, None, None)
    assert mare == {
        "id": "mare",
        "title": "MareNostrum 5",
        "description": "A large one.",
        "host": "login.example.org:22",
        "scheduler": "slurm",
        "state": "available",
        "maintenance": None,
        "silent_since": None,
        "accounts": True,
        "keyless": False,
        "login": None,
        "account": alice("GET", ACCOUNT).json(),
    }
    assert (mare["account"]["user"], mare["account"]["ssh_key"], mare["account"]["usable"]) == ("u1", key, None)
    assert alice("GET", "/sites/mare").json() == mare
    ids = {name: [site["id"] for site in service(name)("GET", "/sites").json()["sites"]] for name in ("carol", "root")}
    assert ids == {"carol": ["local", "mare", "lumi"], "root": ["local", "mare"]}
    for name in ("bob", "root"):
        assert service(name)("GET", "/sites/mare").json()["account"] is None


def test_an_account_is_put_shown_and_deleted(alice: Client) -> None:
    first, second = new_key(alice), new_key(alice)
    made = alice("PUT", ACCOUNT, json={"user": "u1", "ssh_key": first})
    again = alice("PUT", ACCOUNT, json={"user": "u1", "ssh_key": first})
    other = alice("PUT", ACCOUNT, json={"user": "u2", "ssh_key": second, "color": "ignored"})
    assert [answer.status_code for answer in (made, again, other)] == [201, 200, 200]
    assert made.json() == again.json()
    assert other.json() == {**made.json(), "user": "u2", "ssh_key": second} == alice("GET", ACCOUNT).json()
    assert alice("DELETE", ACCOUNT).status_code == 204
    assert alice("DELETE", ACCOUNT).status_code == 404
    assert detail(alice("GET", ACCOUNT), 404) == "You have no account on the site `mare`."


def test_what_is_wrong_with_an_account_is_said(alice: Client, bob: Client) -> None:
    mine, foreign = new_key(alice), new_key(bob)

    def put(body: Any, site: str = "mare") -> Any:
        return alice("PUT", f"/sites/{site}/account", json=body)

    assert "`user`" in detail(put({"user": "-x", "ssh_key": mine}), 400)
    assert "`user`" in detail(put({"user": 7, "ssh_key": mine}), 400)
    assert "`user`" in detail(put({"user": "x" * 65, "ssh_key": mine}), 400)
    assert "`user` is missing" in detail(put({"ssh_key": mine}), 400)
    assert "`ssh_key` is missing" in detail(put({"user": "u1"}), 400)
    assert "`ssh_key` is missing" in detail(put({"user": "u1", "ssh_key": None}), 400)
    said = detail(put({"user": "u1", "ssh_key": foreign}), 400).replace(foreign, "KEY")
    unknown = "0" * 8 + foreign[8:]
    assert said == detail(put({"user": "u1", "ssh_key": unknown}), 400).replace(unknown, "KEY")
    assert detail(put({"user": "u1", "ssh_key": mine}, "atlantis"), 404) == "There is no such site."
    assert detail(put({"user": "u1", "ssh_key": mine}, "lumi"), 404) == "There is no such site."
    assert "Nobody needs an account" in detail(put({"user": "u1", "ssh_key": mine}, "local"), 409)
    assert alice("PUT", ACCOUNT, data="x", headers={"Content-Type": "application/xml"}).status_code == 415
    assert alice("PUT", ACCOUNT).status_code == 400
    assert alice("GET", ACCOUNT).status_code == 404


def test_certificates_open_no_account_but_that_which_the_operators_say_is_ones_own(
    alice: Client, bob: Client, there: There
) -> None:
    there.sites.append(replace(KEYLESS, logins={"alice": "u1"}))
    swan = "/sites/swan/account"
    assert "`ssh_key` isn't used" in detail(alice("PUT", swan, json={"user": "u1", "ssh_key": new_key(alice)}), 400)
    assert "your login name on the site `swan` is `u1`" in detail(alice("PUT", swan, json={"user": "bob"}), 400)
    assert "haven't said which one is yours" in detail(bob("PUT", swan, json={"user": "u1"}), 403)
    assert [user("GET", "/sites/swan").json()["login"] for user in (alice, bob)] == ["u1", None]
    account = alice("PUT", swan, json={}).json()
    assert (account["user"], account["ssh_key"]) == ("u1", None)
    path = started(alice, site="swan")
    assert (alice("GET", path).json()["account"], there.started[path[12:]][1]) == ("u1", Placement("swan", "u1"))
    there.change("swan", logins={})
    assert "connect it anew" in detail(trigger(alice, site="swan"), 409)


def test_a_check_tells_point_by_point(alice: Client, bob: Client, there: There) -> None:
    assert detail(alice("POST", f"{ACCOUNT}/check"), 404) == "You have no account on the site `mare`."
    connect(alice)
    found = alice("POST", f"{ACCOUNT}/check").json()
    assert (found["site"], found["account"], found["usable"]) == ("mare", "u1", True)
    there.points = REFUSED
    found = alice("POST", f"{ACCOUNT}/check").json()
    assert not found["usable"]
    assert found["points"][-1] == {
        "id": "sign_in",
        "title": "The key is accepted",
        "status": "failed",
        "detail": "It isn't.",
        "advice": "Install the key's line.",
    }
    account = alice("GET", ACCOUNT).json()
    assert account["usable"] is False
    assert account["checked_at"] is not None
    assert bob("POST", f"{ACCOUNT}/check").status_code == 404


def test_a_deletion_that_is_forced_leaves_an_account_that_says_so(alice: Client) -> None:
    key = connect(alice)
    assert alice("POST", f"/ssh_keys/{key}/rotate").status_code == 200  # the new half opens the account
    started(alice)
    assert alice("DELETE", f"/ssh_keys/{key}?force=true").status_code == 204
    account = alice("GET", ACCOUNT).json()
    assert (account["ssh_key"], account["usable"]) == (key, False)
    assert "has been deleted: name another one" in detail(trigger(alice), 409)


def test_checks_are_counted(bob: Client) -> None:
    connect(bob)
    answers = [bob("POST", f"{ACCOUNT}/check") for _ in range(31)]
    assert {answer.status_code for answer in answers[:-1]} <= {200, 429}  # other tests check, too
    assert "You have had accounts checked 30 times" in detail(answers[-1], 429)
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 600


def test_acts_tell_of_accounts(alice: Client, place: Place) -> None:
    before = len(place.acts())
    key = connect(alice)
    alice("POST", f"{ACCOUNT}/check")
    started(alice)
    alice("GET", ACCOUNT)
    alice("DELETE", ACCOUNT)
    found = {act["operation"]: act for act in place.acts()[before:] if act["operation"] != "createSshKey"}
    assert list(found) == ["putSiteAccount", "checkSiteAccount", "triggerWorkflow", "deleteSiteAccount"]
    put, check, start, delete = found.values()
    assert (put["object"], put["account"], put["ssh_key"], put["result"]) == (ACCOUNT, "u1", key, 201)
    assert (check["usable"], start["site"], start["account"], delete["account"]) == (True, "mare", "u1", "u1")
