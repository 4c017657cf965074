"""Executions on sites through HTTP, with an engine that has some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpcwaas.core.engines import Engines
from hpcwaas.core.models import Status
from hpcwaas.core.site_models import Placement
from hpcwaas.errors import Unavailable, UncertainStart
from tests.api.sites.place import ACCOUNT, FORMS, Place, connect, detail, new_key, started, trigger
from tests.service import Client
from tests.simulators.site_engine import MACHINE, MARE, REFUSED, SiteEngine, There, failing
from tests.waiting import until


def test_an_execution_shows_where_it_runs(alice: Client, service: Callable[[str], Client], there: There) -> None:
    connect(alice, "u1234")
    path = started(alice)
    execution = alice("GET", path).json()
    assert (execution["site"], execution["account"]) == ("mare", "u1234")
    assert execution["directory"] == f"/home/u1234/.hpcwaas{path}"
    assert execution["reason"] == "Step 1 of 1 (align): Slurm job 48213 waits, reason Priority."
    assert execution["steps"][0]["job"] == {
        "id": "48213",
        "name": "align",
        "state": "PENDING",
        "reason": "Priority",
        "node": None,
        "submitted_at": "2026-11-23T09:25:41.000Z",
        "started_at": None,
        "ended_at": None,
    }
    listed = next(it for it in alice("GET", "/executions").json()["executions"] if path.endswith(it["id"]))
    assert listed["site"] == "mare"
    local = alice("GET", started(alice, site="local")).json()
    assert (local["site"], local["account"], local["directory"]) == ("local", None, None)
    assert local["steps"][0]["job"] is None
    for name in ("bob", "carol"):
        assert service(name)("GET", path).status_code == 404
    alice("PUT", f"{path}/shares", json={"users": ["bob"]})
    for name in ("bob", "root"):
        assert service(name)("GET", path).json() == alice("GET", path).json()
    assert service("bob")("DELETE", path).status_code == 403


def test_two_users_run_by_their_own_accounts(alice: Client, bob: Client, there: There) -> None:
    keys = [connect(alice, "shared"), connect(bob, "shared")]
    paths = [started(alice), started(bob)]
    placements = [there.started[path.removeprefix("/executions/")][1] for path in paths]
    assert placements == [Placement("mare", "shared", key) for key in keys]
    assert bob("GET", paths[0]).status_code == alice("GET", paths[1]).status_code == 404


def test_an_account_that_is_changed_or_deleted_changes_nothing_of_what_runs(alice: Client, there: There) -> None:
    connect(alice, "u1")
    path = started(alice)
    alice("PUT", ACCOUNT, json={"user": "u2", "ssh_key": new_key(alice)})
    second = started(alice)
    alice("DELETE", ACCOUNT)
    assert [alice("GET", it).json()["account"] for it in (path, second)] == ["u1", "u2"]
    assert alice("DELETE", path).status_code == 202
    assert alice("GET", path).json()["status"] == "CANCELLED"


def test_an_account_that_goes_while_an_execution_starts_lets_it_go_on(alice: Client, there: There) -> None:
    connect(alice, "u1")
    there.before_start = lambda _: alice("DELETE", ACCOUNT)
    path = started(alice)
    assert alice("GET", ACCOUNT).status_code == 404
    assert (alice("GET", path).json()["account"], alice("GET", path).json()["status"]) == ("u1", "RUNNING")


def test_the_key_of_an_account_is_told_by_what_runs_by_it(alice: Client, there: There) -> None:
    key = connect(alice)
    assert alice("GET", f"/ssh_keys/{key}").json()["last_used_at"] is None
    path = started(alice)
    assert alice("GET", f"/ssh_keys/{key}").json()["last_used_at"] is not None
    refused = alice("DELETE", f"/ssh_keys/{key}")
    assert "opens your account on `mare`" in detail(refused, 409)
    assert (refused.json()["executions"], refused.json()["sites"]) == ([path.removeprefix("/executions/")], ["mare"])
    alice("DELETE", ACCOUNT)
    refused = alice("DELETE", f"/ssh_keys/{key}")
    assert (refused.status_code, refused.json()["sites"]) == (409, [])
    there.end(path.removeprefix("/executions/"))
    alice("GET", path)
    assert alice("DELETE", f"/ssh_keys/{key}").status_code == 204


def test_what_failed_is_not_resumed_where_its_owner_may_run_nothing_any_more(alice: Client, there: There) -> None:
    connect(alice)
    path = started(alice)
    there.end(path.removeprefix("/executions/"), Status.FAILED)
    assert detail(alice("POST", f"{path}/resume"), 409) == "Executions of this engine can't be resumed."
    there.change("mare", users=frozenset({"bob"}))
    assert detail(alice("POST", f"{path}/resume"), 409) == "There is no site `mare`."


@pytest.mark.parametrize("dry", ["", "?dry_run=true"])
def test_where_it_cannot_run_nothing_is_stored(alice: Client, there: There, dry: str) -> None:
    def ask(workflow: str, site: str | None, **inputs: object) -> Any:
        return alice("POST", f"/workflows/{workflow}{dry}", json={"inputs": inputs, "site": site})

    before = alice("GET", "/executions").json()
    assert "There is no such site" in detail(ask("anywhere", "atlantis"), 400)
    assert "There is no such site" in detail(ask("anywhere", "lumi"), 400)
    assert "where you have no account" in detail(ask("anywhere", "mare"), 400)
    assert "where you have no account" in detail(ask("away", None), 400)
    assert "runs on `local`" in detail(ask("here", "mare"), 400)
    assert "on no site that you may use" in detail(ask("nowhere", None), 400)
    connect(alice)
    assert "expected one of `local`, `mare`" in detail(ask("anywhere", None), 400)
    assert "more cores than a job may have" in detail(ask("away", "mare", cores=1), 400)
    assert detail(ask("away", "mare", wrong=1), 400) == "`wrong` is wrong."
    assert ask("anywhere", 7).status_code == 400  # type: ignore[arg-type]
    there.change("mare", maintenance="New nodes until Friday.", state="maintenance")
    answer = ask("away", None)
    assert detail(answer, 503) == "The site `mare` is in maintenance: New nodes until Friday."
    assert alice("GET", "/sites/mare").json()["maintenance"] == "New nodes until Friday."
    assert alice("GET", "/executions").json() == before


def test_without_a_site_the_only_possible_one_is_taken(alice: Client) -> None:
    assert alice("GET", started(alice, "anywhere", None)).json()["site"] == "local"
    connect(alice)
    assert alice("GET", started(alice, "away", None)).json()["site"] == "mare"
    assert alice("GET", alice.trigger("here")).json()["site"] == "local"


def test_a_dry_run_includes_the_check(alice: Client, there: There) -> None:
    def dry(workflow: str, site: str | None) -> Any:
        answer = alice("POST", f"/workflows/{workflow}?dry_run=true", json={"inputs": {}, "site": site})
        assert answer.status_code == 200, answer.text
        return answer.json()

    connect(alice)
    before = len(there.started)
    assert dry("anywhere", "local") == {
        "valid": True, "workflow_id": "anywhere", "inputs": {}, "site": "local", "check": None
    }  # fmt: skip
    found = dry("away", None)
    assert (found["site"], found["check"]["usable"], found["check"]["account"]) == ("mare", True, "u1")
    there.points = REFUSED
    found = dry("away", "mare")
    assert (found["valid"], found["check"]["usable"]) == (True, False)
    assert alice("GET", ACCOUNT).json()["usable"] is False
    assert len(there.started) == before


def test_a_retry_finds_its_execution_and_another_site_is_another_request(alice: Client, there: There) -> None:
    connect(alice)
    retry = {"Idempotency-Key": "once-sites"}
    first, second = trigger(alice, "away", "mare", **retry), trigger(alice, "away", "mare", **retry)
    assert first.headers["Location"] == second.headers["Location"]
    for site in ("local", None):
        assert "used for another request" in detail(trigger(alice, "away", site, **retry), 409)
    there.change("mare", maintenance="Away.")
    alice("DELETE", ACCOUNT)
    assert trigger(alice, "away", "mare", **retry).headers["Location"] == first.headers["Location"]


def test_workflows_tell_where_they_run_for_this_user(alice: Client, service: Callable[[str], Client]) -> None:
    def sites(user: Client) -> dict[str, Any]:
        return {it["id"]: it["sites"] for it in user("GET", "/workflows").json()["workflows"]}

    assert sites(alice) == {"anywhere": ["local", "mare"], "away": ["mare"], "here": ["local"], "nowhere": []}
    assert sites(service("carol"))["away"] == ["mare", "lumi"]
    assert alice("GET", "/workflows/away").json()["sites"] == ["mare"]


def test_when_it_does_not_start_nothing_is_left(alice: Client, there: There) -> None:
    key = connect(alice)
    before = alice("GET", "/executions").json()
    there.before_start = failing(Unavailable("The disk is full."))
    assert detail(trigger(alice), 503) == "The disk is full."
    assert alice("GET", "/executions").json() == before
    alice("DELETE", ACCOUNT)
    assert alice("DELETE", f"/ssh_keys/{key}").status_code == 204


def test_a_start_whose_outcome_is_unknown_stays_where_it_was_asked_for(alice: Client, there: There) -> None:
    connect(alice, "u1")
    there.before_start = failing(UncertainStart("The answer was lost."))
    path = started(alice)
    alice("PUT", ACCOUNT, json={"user": "u2", "ssh_key": new_key(alice)})
    shown = alice("GET", path).json()
    assert (shown["status"], shown["site"], shown["account"]) == ("PENDING", "mare", "u1")
    there.before_start = There().before_start
    until(lambda: alice("GET", path).json()["status"] == "RUNNING", 60)
    placement = there.started[path.removeprefix("/executions/")][1]
    assert (placement.site, placement.user) == ("mare", "u1")


def test_a_site_that_goes_before_a_start_is_known_fails_it_with_that_reason(alice: Client, there: There) -> None:
    connect(alice)
    there.before_start = failing(UncertainStart("The answer was lost."))
    path = started(alice)
    there.sites = [MACHINE]
    until(lambda: alice("GET", path).json()["status"] == "FAILED", 60)
    assert alice("GET", path).json()["reason"].endswith("There is no site `mare`.")


def test_a_site_in_maintenance_is_waited_for_by_what_was_asked_for_before(alice: Client, there: There) -> None:
    connect(alice)
    tries: list[str] = []

    def lose(execution_id: str) -> None:
        tries.append(execution_id)
        raise UncertainStart("The answer was lost.")

    there.before_start = lose
    path = started(alice)
    there.change("mare", maintenance="Away.")
    there.before_start = There().before_start
    assert alice("GET", path).json()["status"] == "PENDING"
    there.change("mare", maintenance=None)
    until(lambda: alice("GET", path).json()["status"] == "RUNNING", 60)
    assert tries[0] == path.removeprefix("/executions/")


def test_executions_on_a_site_that_is_removed_stay_and_say_so(alice: Client, there: There) -> None:
    connect(alice)
    path = started(alice)
    there.sites = [MACHINE]
    execution = alice("GET", path).json()
    assert (execution["status"], execution["site"], execution["account"]) == ("UNKNOWN", "mare", "u1")
    assert execution["reason"] == "The site `mare` isn't configured any more."
    assert alice("GET", "/sites/mare").status_code == 404
    assert alice("GET", ACCOUNT).json()["user"] == "u1"
    there.sites = [MACHINE, MARE]
    assert alice("GET", path).json()["status"] == "RUNNING"


def without_sites(there: There) -> Any:
    """An engine that has none."""
    engine = SiteEngine(there)
    methods = [
        name for name in dir(engine) if name[0] != "_" and name not in ("name", "sites", "place", "check_account")
    ]
    return SimpleNamespace(name="plain", **{name: getattr(engine, name) for name in methods})


def test_an_engine_without_sites_beside_one_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, There())
    engines = [
        SiteEngine(place.there),
        without_sites(There(workflows=[replace(place.there.workflows[0], engine="plain")])),
    ]
    monkeypatch.setattr("hpcwaas.app._engines", lambda *_: Engines(engines, FORMS))
    with place.service() as service:
        alice = service("alice")
        connect(alice)
        listed = {it["id"]: it["sites"] for it in alice("GET", "/workflows").json()["workflows"]}
        assert (listed["anywhere"], listed["plain:anywhere"]) == (["local", "mare"], None)
        refused = trigger(alice, "plain:anywhere", "mare")
        assert "the engine `plain` decides by itself where this workflow runs" in detail(refused, 400)
        assert alice("GET", started(alice, "anywhere", "mare")).json()["site"] == "mare"
        checked = alice("POST", "/workflows/plain:anywhere?dry_run=true", json={}).json()
        assert (checked["site"], checked["check"]) == (None, None)


def test_accounts_and_places_outlive_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, There())
    monkeypatch.setattr("hpcwaas.app._engines", lambda *_: Engines([SiteEngine(place.there)], FORMS))
    with place.service() as service:
        connect(service("alice"))
        path, account = started(service("alice")), service("alice")("GET", ACCOUNT).json()
        before = service("alice")("GET", path).json()
    with place.service() as service:
        assert service("alice")("GET", ACCOUNT).json() == account
        assert service("alice")("GET", path).json() == before
        place.there.end(path.removeprefix("/executions/"), Status.FAILED)
        ended = service("alice")("GET", path).json()
        assert (ended["status"], ended["directory"], ended["steps"]) == ("FAILED", before["directory"], before["steps"])
