"""Whose things users find, see and change, and what operators may."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from sqlalchemy import Engine, event

from hpcwaas.api.application import Services
from hpcwaas.app import assemble
from hpcwaas.configuration.settings import Settings
from hpcwaas.core import acts
from hpcwaas.core.models import Execution, ExecutionFilter, ExecutionState, Level, Status
from hpcwaas.core.people import Principal, Shares, User
from hpcwaas.core.policy import Act
from hpcwaas.errors import Forbidden, NotFound
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.users import UserStore
from tests.service import Client, make_settings
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_worlds import recorded
from tests.waiting import until

UNKNOWN = "00000000-0000-4000-8000-000000000000"
ALICE = Principal("alice", "alice")
BOB = Principal("bob", "bob", groups=frozenset({"climate"}))
ROOT = Principal("root", "root", frozenset({"user", "operator"}))
ROOTS_SCRIPT = replace(ROOT, scopes=frozenset({"executions:read", "executions:write", "keys:write"}))

BY_ID = [
    ("GET", "/executions/{execution}"),
    ("DELETE", "/executions/{execution}"),
    ("POST", "/executions/{execution}/resume"),
    ("GET", "/executions/{execution}/logs"),
    ("GET", "/executions/{execution}/outputs/text"),
    ("GET", "/executions/{execution}/shares"),
    ("PUT", "/executions/{execution}/shares"),
    ("DELETE", "/executions/{execution}/shares"),
    ("GET", "/files/{file}"),
    ("DELETE", "/files/{file}"),
    ("GET", "/ssh_keys/{key}"),
    ("DELETE", "/ssh_keys/{key}"),
    ("POST", "/ssh_keys/{key}/rotate"),
    ("POST", "/ssh_keys/{key}/confirm"),
]
LISTS = {"/executions": "executions", "/files": "files", "/ssh_keys": "ssh_keys"}


@pytest.fixture(scope="module")
def root(service: Callable[[str], Client]) -> Client:
    """An operator."""
    return service("root")


@pytest.fixture(scope="module")
def things(service: Callable[[str], Client]) -> dict[str, str]:
    """Ids of what Alice has: an ended execution, a file, a key."""
    alice = service("alice")
    path = alice.trigger("echo", message="hers")
    alice.finished(path)
    key = alice("POST", "/ssh_keys").json()["id"]
    return {"execution": path.rpartition("/")[2], "file": alice.upload("hers.txt", b"hers"), "key": key}


def ask(user: Client, method: str, path: str) -> requests.Response:
    return user(method, path, **({"json": {"users": ["eve"]}} if method == "PUT" else {}))


@pytest.mark.parametrize(("method", "path"), BY_ID)
def test_what_is_somebody_elses_answers_like_what_does_not_exist(
    bob: Client, things: dict[str, str], method: str, path: str
) -> None:
    foreign = ask(bob, method, path.format(**things))
    unknown = ask(bob, method, path.format(**dict.fromkeys(things, UNKNOWN)))
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    own = {"instance", "request_id"}
    first, second = ({k: v for k, v in answer.json().items() if k not in own} for answer in (foreign, unknown))
    assert first == second
    headers = [{name for name in answer.headers if name != "Date"} for answer in (foreign, unknown)]
    assert headers[0] == headers[1]


@pytest.mark.parametrize(("method", "path"), BY_ID)
def test_an_operator_sees_everything_and_changes_little(
    root: Client, alice: Client, things: dict[str, str], method: str, path: str
) -> None:
    answer = ask(root, method, path.format(**things))
    if method == "GET" or path.endswith("/shares"):
        assert answer.ok, answer.text
    elif (method, path) == ("DELETE", "/executions/{execution}"):
        assert answer.status_code == 409  # it has ended
    else:
        assert answer.status_code == 403
        assert "Only its owner" in answer.json()["detail"]
    assert ask(root, method, path.format(**dict.fromkeys(things, UNKNOWN))).status_code == 404
    for kind in ("execution", "file", "key"):
        where = {"execution": "executions", "file": "files", "key": "ssh_keys"}[kind]
        assert alice("GET", f"/{where}/{things[kind]}").status_code == 200


def test_an_operator_cancels_somebody_elses_execution(alice: Client, bob: Client, root: Client) -> None:
    path = alice.trigger("slow", seconds=60)
    assert bob("DELETE", path).status_code == 404
    until(lambda: root("GET", path).json()["status"] == "RUNNING")
    assert root("DELETE", path).status_code == 202
    assert alice.finished(path)["status"] == "CANCELLED"


@pytest.mark.parametrize("path", LISTS)
def test_lists(alice: Client, bob: Client, root: Client, things: dict[str, str], path: str) -> None:
    def owners(user: Client, **query: str) -> set[str]:
        answer = user("GET", path, params={"limit": "1000", **query} if path != "/ssh_keys" else query)
        assert answer.status_code == 200, answer.text
        return {item["owner"] for item in answer.json()[LISTS[path]]}

    if path == "/ssh_keys":
        bob("POST", path)
    elif path == "/files":
        bob.upload("his.txt", b"his")
    else:
        bob.trigger("echo", message="his")
    assert owners(alice) == owners(alice, owner="alice") == {"alice"}
    assert owners(bob) == {"bob"}
    assert owners(root) == owners(root, owner="root") == set()
    assert owners(root, owner="alice") == {"alice"}
    assert owners(root, owner="*") >= {"alice", "bob"}
    assert owners(root, owner="nobody") == set()
    for owner in ("bob", "*", "nobody"):
        refused = alice("GET", path, params={"owner": owner})
        assert refused.status_code == 403
        assert refused.json()["detail"] == "Only operators can list what belongs to other users."


def test_an_operator_filters_and_turns_the_pages_of_everybodys_executions(
    alice: Client, bob: Client, root: Client
) -> None:
    paths = [user.trigger("echo", message="page") for user in (alice, bob, alice)]
    for user, path in zip((alice, bob, alice), paths, strict=True):
        user.finished(path)
    query = {"owner": "*", "workflow": "echo", "status": "SUCCEEDED", "limit": "2"}
    # What keeps a worker from asking every engine about everybody's is that the keeper has done so a moment ago.
    until(lambda: root("GET", "/executions", params=query).json()["executions"][0]["id"] in paths[2])
    first = root("GET", "/executions", params=query).json()
    second = root("GET", "/executions", params={**query, "cursor": first["next_cursor"]}).json()
    found = [item["id"] for page in (first, second) for item in page["executions"]][:3]
    assert found == [path.rpartition("/")[2] for path in reversed(paths)]


# Below the edge: what is asked of the store, and what is noted.


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path / "data")


@pytest.fixture
def parts(settings: Settings) -> Iterator[Services]:
    parts = assemble(settings)  # without its keeper, which has queries of its own
    yield parts
    parts.close()


@pytest.fixture
def database(settings: Settings, parts: Services) -> Iterator[Database]:
    database = Database(settings.database_url)
    yield database
    database.close()


def intent(database: Database, owner: str = "alice", workflow_id: str = "echo", **inputs: object) -> str:
    """What a crash leaves of an execution."""
    now, state = datetime.now(UTC), ExecutionState(Status.PENDING)
    execution = Execution(str(uuid4()), owner, workflow_id, workflow_id, "cwl", inputs, now, state)
    return ExecutionStore(database).add(execution)[0].id


def queries(task: Callable[[], Any]) -> list[str]:
    """The statements that a refused task sends to the database."""
    statements: list[str] = []

    this_thread = threading.get_ident()

    def note(*arguments: Any) -> None:
        if threading.get_ident() == this_thread:  # the background work has queries of its own
            statements.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        with pytest.raises(NotFound):
            task()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return statements


@pytest.mark.parametrize("known_here", [False, True], ids=["stored", "in memory"])
def test_the_store_is_asked_the_same_about_what_is_foreign_and_what_is_unknown(
    parts: Services, database: Database, known_here: bool
) -> None:
    execution = parts.executions.trigger(ALICE, "echo", {"message": "x"}, None).id
    upload = parts.uploads.save("alice", "a", "text/plain", BytesIO(b"a"), 1).id
    key = parts.keys.create(ALICE, "ed25519", None, None, {}).id
    parts.sharing.put(ALICE, execution, Shares(users=frozenset({"carol"}), groups=frozenset({"physics"})))
    if known_here:
        parts.executions.get(ALICE, execution)
    tasks: list[tuple[Callable[[Principal, str], Any], str]] = [
        (parts.executions.get, execution),
        (parts.executions.cancel, execution),
        (parts.executions.resume, execution),
        (parts.sharing.get, execution),
        (lambda user, each: parts.sharing.put(user, each, Shares()), execution),
        (lambda user, each: parts.logs.read(user, each, Level.INFO, 0, 10), execution),
        (lambda user, each: parts.executions.output(user, each, "text", None, "zip"), execution),
        (parts.uploads.get, upload),
        (parts.uploads.delete, upload),
        (parts.keys.get, key),
        (parts.keys.rotate, key),
        (parts.keys.confirm, key),
        (parts.keys.delete, key),
    ]
    for task, identifier in tasks:
        for user in (BOB, ROOTS_SCRIPT):
            foreign = queries(lambda: task(user, identifier))  # noqa: B023  # called at once
            assert foreign == queries(lambda: task(user, UNKNOWN)), task  # noqa: B023
            assert len([statement for statement in foreign if statement.startswith("SELECT")]) == 1


def test_what_others_touch_is_noted(parts: Services) -> None:
    execution = parts.executions.trigger(ALICE, "slow", {"seconds": 60}, None).id
    upload = parts.uploads.save("alice", "a", "text/plain", BytesIO(b"a"), 1).id
    key = parts.keys.create(ALICE, "ed25519", None, None, {}).id
    parts.sharing.put(ALICE, execution, Shares(groups=frozenset({"climate"})))

    def page(principal: Principal, owner: str | None) -> Any:
        return parts.executions.page(principal, ExecutionFilter(owner), limit=10)

    def noted(task: Callable[[], Any]) -> dict[str, object]:
        notes = acts.begin()
        with contextlib.suppress(Forbidden, NotFound):
            task()
        return notes

    hers = {"owner": "alice"}
    for user in (ALICE, BOB, ROOT):
        expected = {} if user is ALICE else hers
        assert noted(lambda: parts.executions.get(user, execution)) == expected  # noqa: B023
    assert noted(lambda: parts.uploads.get(ALICE, upload)) == noted(lambda: parts.keys.get(ALICE, key)) == {}
    assert noted(lambda: parts.uploads.get(ROOT, upload)) == noted(lambda: parts.keys.get(ROOT, key)) == hers
    assert noted(lambda: parts.uploads.get(BOB, upload)) == noted(lambda: parts.keys.get(BOB, key)) == {}
    assert noted(lambda: parts.keys.rotate(ROOT, key)) == hers
    assert noted(lambda: parts.sharing.get(ROOT, execution)) == hers
    assert noted(lambda: parts.keys.list(ROOT, "alice")) == noted(lambda: page(ROOT, "alice")) == hers
    assert noted(lambda: parts.uploads.page(ROOT, 10, None, "*")) == noted(lambda: page(ROOT, "*")) == {"owner": "*"}
    assert noted(lambda: page(ALICE, "alice")) == noted(lambda: page(ALICE, None)) == {}
    for user in (ALICE, BOB):
        assert noted(lambda: parts.executions.get(user, UNKNOWN)) == {}  # noqa: B023
    assert noted(lambda: parts.executions.get(Principal("eve", "eve"), execution)) == {}
    assert noted(lambda: parts.executions.resume(ROOT, execution)) == hers
    assert noted(lambda: parts.executions.cancel(ROOT, execution)) == hers


def test_an_operators_token_without_the_scope_admin_is_a_plain_users(parts: Services) -> None:
    execution = parts.executions.trigger(ALICE, "echo", {"message": "x"}, None).id
    with pytest.raises(NotFound):
        parts.executions.get(ROOTS_SCRIPT, execution)
    tool = replace(ROOTS_SCRIPT, scopes=frozenset({"executions:read", "admin"}))
    assert parts.executions.changing(tool, execution, Act.CANCEL).owner == "alice"


def test_an_operator_uses_nobodys_files_and_keys(parts: Services) -> None:
    upload = parts.uploads.save("alice", "a", "text/plain", BytesIO(b"a"), 1).id
    assert parts.uploads.lookup("root")(upload) is None
    key = parts.keys.create(ALICE, "ed25519", None, None, {}).id
    details = parts.catalogue.details(ROOT, "echo")
    with pytest.raises(Exception, match="isn't an SSH key of yours"):
        parts.keys.used_by(ROOT, details, {"vault_id": key})


def test_what_a_crash_left_is_started_for_its_owner_with_groups(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    (catalogue / "echo.cwl").write_bytes((Path(__file__).parent / "catalogue" / "echo.cwl").read_bytes())
    (catalogue / "echo.meta.yaml").write_text("authorized_groups: [climate]")
    settings = make_settings(tmp_path / "data", cwl={"catalogue": catalogue})
    parts, database = assemble(settings), Database(settings.database_url)
    records = ExecutionStore(database)
    try:
        reasons = {}
        for owner in ("carol", "alice", "ghost"):
            left = intent(database, owner, message="x")
            parts.executions.recover(records.find_execution(left, None))
            reasons[owner] = records.find_execution(left, None)
        assert reasons["carol"].reference is not None
        assert [reasons[owner].state.status for owner in ("alice", "ghost")] == [Status.FAILED, Status.FAILED]
        assert "no such workflow" in (reasons["alice"].state.reason or "")
        assert "its owner, ghost, isn't a user of this service any more" in (reasons["ghost"].state.reason or "")
    finally:
        parts.close()
        database.close()


def test_the_owner_of_what_a_crash_left_may_have_been_disabled(parts: Services, database: Database) -> None:
    users = UserStore(database)
    users.add(User("dave", "Dave", frozenset(), "basic", datetime.now(UTC), "$argon2id$x"))
    first, second = intent(database, "dave", message="x"), intent(database, "dave", message="x")
    records = ExecutionStore(database)
    parts.executions.recover(records.find_execution(first, None))
    assert records.find_execution(first, None).reference is not None
    users.change("dave", disabled=True)
    parts.executions.recover(records.find_execution(second, None))
    assert records.find_execution(second, None).state.status is Status.FAILED


def test_a_failure_that_another_worker_has_resumed_is_one_no_longer(tmp_path: Path) -> None:
    with Simulator(recorded(duration=0.5), lag=0.1) as simulator:
        settings = make_settings(tmp_path, alien_config={"address": simulator.url})
        one, other = assemble(settings), assemble(settings)
        try:
            workflow = next(each for each in one.catalogue.page(ALICE, "fail_job", None, None)[0].workflows)
            execution = one.executions.trigger(ALICE, workflow.id, {}, None).id

            def status(parts: Services) -> Status:
                return parts.executions.get(ALICE, execution).state.status

            for parts in (one, other):
                until(lambda: status(parts) is Status.FAILED)  # noqa: B023
            other.executions.resume(ALICE, execution)
            until(lambda: status(one) is Status.SUCCEEDED)
        finally:
            one.close()
            other.close()
