"""Sites and accounts through HTTP, and executions that run there, with an engine that has some."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpcwaas.core.engines import Engines
from hpcwaas.core.models import Status
from hpcwaas.core.site_models import Placement
from hpcwaas.errors import Unavailable, UncertainStart
from tests.service import IDLE, Client, as_user, make_settings, serving
from tests.simulators.site_engine import KEYLESS, MACHINE, MARE, NAME, REFUSED, SiteEngine, There, failing
from tests.waiting import until

ACCOUNT = "/sites/mare/account"
FORMS = {NAME: "[^:@]+", "plain": None}


class Place:
    """A service, which may be started anew, and what is at its sites."""

    def __init__(self, directory: Path, there: There) -> None:
        self._directory = directory
        self.there = there

    @contextmanager
    def service(self) -> Iterator[Callable[[str], Client]]:
        settings = make_settings(self._directory, cwl=IDLE)
        self.audit = settings.audit_file
        with serving(settings) as url:
            yield lambda name: as_user(url, name)

    def acts(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Callable[[str], Client]]]:
    place = Place(tmp_path_factory.mktemp("sites"), There())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpcwaas.app._engines", lambda *_: Engines([SiteEngine(place.there)], FORMS))
        with place.service() as service:
            yield place, service


@pytest.fixture
def place(shared_place: tuple[Place, Callable[[str], Client]]) -> Place:
    """As at first, with accounts of nobody."""
    place, service = shared_place
    place.there.sites, place.there.points, place.there.before_start = (
        There().sites,
        There().points,
        There().before_start,
    )
    for name in ("alice", "bob", "carol", "root"):
        for site in ("mare", "lumi", "swan"):
            service(name)("DELETE", f"/sites/{site}/account")
    return place


@pytest.fixture
def there(place: Place) -> There:
    return place.there


@pytest.fixture
def service(place: Place, shared_place: tuple[Place, Callable[[str], Client]]) -> Callable[[str], Client]:
    return shared_place[1]


@pytest.fixture
def alice(service: Callable[[str], Client]) -> Client:
    return service("alice")


@pytest.fixture
def bob(service: Callable[[str], Client]) -> Client:
    return service("bob")


def new_key(user: Client) -> str:
    key: str = user("POST", "/ssh_keys", json={}).json()["id"]
    return key


def connect(user: Client, login: str = "u1", site: str = "mare") -> str:
    key = new_key(user)
    answer = user("PUT", f"/sites/{site}/account", json={"user": login, "ssh_key": key})
    assert answer.status_code == 201, answer.text
    return key


def trigger(user: Client, workflow: str = "anywhere", site: str | None = "mare", **headers: str) -> Any:
    return user("POST", f"/workflows/{workflow}", json={"inputs": {}, "site": site}, headers=headers)


def started(user: Client, workflow: str = "anywhere", site: str | None = "mare") -> str:
    answer = trigger(user, workflow, site)
    assert answer.status_code == 201, answer.text
    path: str = answer.headers["Location"]
    return path


def detail(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    text: str = answer.json()["detail"]
    return text


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
