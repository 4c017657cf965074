"""Executions that are shared."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from hpcwaas.api.application import Services
from hpcwaas.app import assemble
from hpcwaas.core.people import Principal, Shares
from tests.service import Client, make_settings
from tests.waiting import until

UNKNOWN = "00000000-0000-4000-8000-000000000000"
READ_ONLY = "This execution is shared with you read-only."


@pytest.fixture(scope="module")
def carol(service: Callable[[str], Client]) -> Client:
    """A member of the group `climate`."""
    return service("carol")


@pytest.fixture(scope="module")
def root(service: Callable[[str], Client]) -> Client:
    """An operator."""
    return service("root")


@pytest.fixture(scope="module")
def execution(service: Callable[[str], Client]) -> str:
    """Path of an execution of Alice's that has ended."""
    alice = service("alice")
    path = alice.trigger("echo", message="shared")
    alice.finished(path)
    return path


@pytest.fixture
def ended(alice: Client, execution: str) -> str:
    """The same, shared with nobody."""
    assert alice("DELETE", f"{execution}/shares").status_code == 204
    return execution


def share(user: Client, path: str, **shares: Any) -> requests.Response:
    return user("PUT", f"{path}/shares", json=shares)


def shared(user: Client, **query: str) -> list[str]:
    answer = user("GET", "/executions", params={"shared": "true", "limit": "1000", **query})
    assert answer.status_code == 200, answer.text
    return [f"/executions/{item['id']}" for item in answer.json()["executions"]]


def test_sharing_and_ending_it(alice: Client, bob: Client, ended: str) -> None:
    assert alice("GET", f"{ended}/shares").json() == {"users": [], "groups": []}
    answer = share(alice, ended, users=["bob", "alice"], groups=["physics"])
    assert (answer.status_code, answer.json()) == (200, {"users": ["bob"], "groups": ["physics"]})  # not with herself
    assert alice("GET", f"{ended}/shares").json() == answer.json()
    assert bob("GET", ended).status_code == 200
    assert share(alice, ended, groups=["climate"]).json() == {"users": [], "groups": ["climate"]}
    assert bob("GET", ended).status_code == 404
    assert share(alice, ended).json() == {"users": [], "groups": []}
    share(alice, ended, users=["bob"])
    for _ in range(2):
        answer = alice("DELETE", f"{ended}/shares")
        assert (answer.status_code, answer.content) == (204, b"")
        assert bob("GET", ended).status_code == 404


@pytest.mark.parametrize("shares", [{"users": ["bob"]}, {"groups": ["climate"]}], ids=["user", "group"])
def test_they_see_it_and_change_nothing(
    alice: Client, bob: Client, carol: Client, ended: str, shares: dict[str, list[str]]
) -> None:
    share(alice, ended, **shares)
    reader, stranger = (bob, carol) if "users" in shares else (carol, bob)
    whole = alice("GET", ended).json()
    assert reader("GET", ended).json() == whole
    assert reader("GET", f"{ended}/logs").json() == alice("GET", f"{ended}/logs").json()
    assert reader("GET", whole["outputs"]["text"]["location"]).text == "shared\n"
    for method, path in [
        ("DELETE", ended),
        ("POST", f"{ended}/resume"),
        ("GET", f"{ended}/shares"),
        ("PUT", f"{ended}/shares"),
        ("DELETE", f"{ended}/shares"),
    ]:
        arguments = {"json": {"users": ["eve"]}} if method == "PUT" else {}
        refused = reader(method, path, **arguments)
        assert (refused.status_code, refused.json()["detail"]) == (403, READ_ONLY)
        strange = stranger(method, path, **arguments)
        assert strange.status_code == 404
        unknown = stranger(method, path.replace(ended, f"/executions/{UNKNOWN}"), **arguments)
        assert strange.json()["detail"] == unknown.json()["detail"]
    assert stranger("GET", ended).status_code == 404
    assert alice("GET", f"{ended}/shares").json() == {"users": [], "groups": [], **shares}


def test_a_reader_cancels_nothing(alice: Client, bob: Client) -> None:
    path = alice.trigger("slow", seconds=60)
    share(alice, path, users=["bob"])
    assert bob("DELETE", path).json()["detail"] == READ_ONLY
    assert alice("GET", path).json()["status"] in ("PENDING", "RUNNING")
    alice("DELETE", path)


def test_what_others_share_with_me_is_listed(alice: Client, bob: Client, carol: Client, root: Client) -> None:
    mine = carol.trigger("echo", message="mine")
    paths = [alice.trigger("echo", message=str(number)) for number in range(3)]
    for path in paths:
        alice.finished(path)
        share(alice, path, users=["carol"], groups=["climate"])  # by both ways, and there once
    carol.finished(mine)
    share(carol, mine, groups=["climate"])  # her own group, but her own execution
    share(carol, mine, users=["bob"], groups=["climate"])
    assert [path for path in shared(carol) if path in [*paths, mine]] == paths[::-1]
    assert mine in shared(bob)
    assert not {*paths, mine} & {*shared(alice), *shared(root)}
    assert not set(paths) & set(shared(bob))
    first = carol("GET", "/executions", params={"shared": "true", "limit": "2"}).json()
    rest = shared(carol, cursor=first["next_cursor"])
    assert [f"/executions/{item['id']}" for item in first["executions"]] + rest == shared(carol)
    assert shared(carol, status="CANCELLED") == []
    own = carol("GET", "/executions").json()["executions"]
    assert {item["owner"] for item in own} == {"carol"}
    share(alice, paths[0])
    assert paths[0] not in shared(carol)


def test_the_list_of_what_is_shared_is_up_to_date(alice: Client, bob: Client) -> None:
    path = alice.trigger("slow", seconds=0)
    share(alice, path, users=["bob"])
    until(lambda: path in shared(bob, status="SUCCEEDED"))


@pytest.mark.parametrize("owner", ["bob", "carol", "*"])
def test_shared_is_not_combined_with_owner(bob: Client, root: Client, owner: str) -> None:
    answer = root("GET", "/executions", params={"shared": "true", "owner": owner})
    assert (answer.status_code, answer.json()["detail"]) == (400, "`owner` and `shared` can't be combined.")
    if owner != "bob":
        assert bob("GET", "/executions", params={"shared": "true", "owner": owner}).status_code == 403


def test_an_operator_shares_and_ends_it(alice: Client, bob: Client, root: Client, ended: str) -> None:
    assert share(root, ended, users=["bob", "alice", "root"]).json() == {"users": ["bob", "root"], "groups": []}
    assert bob("GET", ended).status_code == 200
    assert root("DELETE", f"{ended}/shares").status_code == 204
    assert bob("GET", ended).status_code == 404
    assert alice("GET", ended).status_code == 200


@pytest.mark.parametrize(
    "body",
    [None, [], {"users": "bob"}, {"users": [""]}, {"users": ["bob", "bob"]}, {"user": ["bob"]}, {"groups": [1]}],
    ids=str,
)
def test_what_is_no_list_of_users_and_groups_is_refused(alice: Client, ended: str, body: Any) -> None:
    share(alice, ended, users=["bob"])
    assert alice("PUT", f"{ended}/shares", json=body).status_code == 400
    assert alice("GET", f"{ended}/shares").json() == {"users": ["bob"], "groups": []}


def test_odd_names_are_kept_as_they_are(alice: Client, ended: str) -> None:
    names = sorted(["Zoë 💧", "a:b", "../x", "%", "*", "a" * 255])
    assert share(alice, ended, users=names, groups=names).json() == {"users": names, "groups": names}
    assert alice("GET", f"{ended}/shares").json() == {"users": names, "groups": names}


def test_a_follower_is_shut_out_when_sharing_ends(alice: Client, bob: Client) -> None:
    path = alice.trigger("slow", seconds=300)
    share(alice, path, users=["bob"])
    until(lambda: "second 0" in bob("GET", f"{path}/logs", params={"timeout": "0"}).text)
    position = bob("GET", f"{path}/logs", params={"timeout": "0", "levels": "15"}).json()["total_results"]
    parked: list[requests.Response] = []
    query = {"timeout": "60s", "levels": "15", "from": str(position + 1000)}
    follower = threading.Thread(target=lambda: parked.append(bob("GET", f"{path}/logs", params=query)))
    follower.start()
    time.sleep(0.3)  # it waits
    alice("DELETE", f"{path}/shares")
    assert bob("GET", f"{path}/logs", params={"timeout": "0"}).status_code == 404
    alice("DELETE", path)
    follower.join()
    assert [answer.status_code for answer in parked] == [404]  # the end isn't for him any more


# Several workers.


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[tuple[Services, Services]]:
    settings = make_settings(tmp_path)
    workers = assemble(settings), assemble(settings)
    yield workers
    for each in workers:
        each.close()


def test_another_worker_knows_at_once(workers: tuple[Services, Services]) -> None:
    alice, bob = Principal("alice", "alice"), Principal("bob", "bob")
    one, other = workers
    execution = one.executions.trigger(alice, "echo", {"message": "x"}, None).id
    until(lambda: one.executions.get(alice, execution).state.status.over)
    one.sharing.put(alice, execution, Shares(users=frozenset({"bob"})))
    assert other.executions.get(bob, execution).owner == "alice"
    assert other.executions.get(alice, execution).owner == "alice"  # it is in the worker's memory by now
    one.sharing.put(alice, execution, Shares())
    with pytest.raises(Exception, match="no such execution"):
        other.executions.get(bob, execution)
