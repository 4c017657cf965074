"""Who may do what: every operation of the contract as everybody who may call.

A new operation needs a row in `ROWS`, which says how it is asked about something of Alice's and what comes of it.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest
import requests

from hpcwaas.api import contract
from tests.matrix import Headers, Standing, World, fill, unknown, world

_VERBS = ("get", "post", "put", "patch", "delete")
_CONTRACT = contract.read()


@dataclass(frozen=True)
class Operation:
    """An operation of the contract. Its scope is None when anybody may call."""

    method: str
    path: str
    scope: str | None
    lists: bool


OPERATIONS = {
    operation["operationId"]: Operation(
        verb.upper(),
        path,
        None if operation.get("security") == [] or {} in operation.get("security", ()) else operation["x-scope"],
        any(each.get("$ref", "").endswith("/Owner") for each in operation.get("parameters", ())),
    )
    for path, item in _CONTRACT["paths"].items()
    for verb, operation in item.items()
    if verb in _VERBS
}


@dataclass(frozen=True)
class Row:
    """What comes of an operation on something of Alice's.

    Attributes:
        scope: what a personal access token needs.
        owner, other, shared, operator: statuses, by how the caller stands to it.
        things: kind of thing by parameter of the path.
        spends: the kind of thing that is gone, or another, when it has been done; see `World.spend`.
        arguments: of the request.
    """

    scope: str
    owner: int
    other: int
    shared: int
    operator: int
    things: Mapping[str, str]
    spends: str | None = None
    arguments: Mapping[str, Any] | None = None

    def status(self, standing: Standing) -> int:
        match standing:
            case Standing.UNKNOWN:
                return 401
            case Standing.WEAK:
                return 403
        return int(getattr(self, standing.value))


@dataclass(frozen=True)
class Public:
    """What comes of an operation that needs no credentials."""

    status: int
    arguments: Mapping[str, Any] | None = None
    shows_more: bool = False  # to operators; so credentials, if there are any, have to be right


WORKFLOW, EXECUTION = {"workflow_id": "workflow"}, {"execution_id": "execution"}
OUTPUT = {"execution_id": "execution", "output_name": "output"}
RUNNING, FAILED = {"execution_id": "running"}, {"execution_id": "failed"}
FILE, KEY, TOKEN, SITE = {"file_id": "file"}, {"key_id": "key"}, {"token_id": "token"}, {"site_id": "site"}
TRIGGER = {"inputs": {"message": "x"}, "site": "local"}
STREAM = {"accept": "text/event-stream"}  # of an execution that has ended, it ends
NEW_ACCOUNT = {"user": "u2", "ssh_key": "?"}
NEW_TOKEN = {"name": "?", "scopes": ["workflows:read"]}

COMMAND = {
    "redirect_uri": "http://127.0.0.1:49152/",
    "state": "a1b2c3d4e5f6",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "code_challenge_method": "S256",
    "proof": "wrong",
    "decision": "accept",
}
ROWS: dict[str, Row | Public] = {
    "listWorkflows": Row("workflows:read", 200, 200, 200, 200, {}),
    "listWorkflowProblems": Row("workflows:read", 404, 404, 404, 200, {}),
    "getWorkflow": Row("workflows:read", 200, 404, 404, 404, WORKFLOW),
    "findCompanions": Row("workflows:read", 200, 404, 404, 404, WORKFLOW, arguments={"json": {"inputs": {}}}),
    "triggerWorkflow": Row("executions:write", 201, 404, 404, 404, WORKFLOW, arguments={"json": TRIGGER}),
    "listExecutions": Row("executions:read", 200, 200, 200, 200, {}),
    "getEvents": Row("executions:read", 406, 406, 406, 406, {}),  # a stream would never end
    "getExecution": Row("executions:read", 200, 404, 200, 200, EXECUTION),
    "cancelExecution": Row("executions:write", 202, 404, 403, 202, RUNNING, "running"),
    "resumeExecution": Row("executions:write", 409, 404, 403, 403, FAILED),  # this engine resumes nothing
    "closeExecution": Row(
        "executions:write", 409, 404, 403, 200, RUNNING, "running", {"json": {"reason": "gone"}}
    ),  # this engine has it, so only an operator may
    "getShares": Row("executions:read", 200, 404, 403, 200, EXECUTION),
    "putShares": Row("executions:write", 200, 404, 403, 200, EXECUTION, "execution", {"json": {"users": ["frank"]}}),
    "deleteShares": Row("executions:write", 204, 404, 403, 204, EXECUTION, "execution"),
    "getExecutionLogs": Row("executions:read", 200, 404, 200, 200, EXECUTION),
    "getExecutionEvents": Row("executions:read", 200, 404, 200, 200, EXECUTION, arguments=STREAM),
    "getExecutionOutput": Row("executions:read", 200, 404, 200, 200, OUTPUT),
    "listFiles": Row("executions:read", 200, 200, 200, 200, {}),
    "uploadFile": Row(
        "executions:write", 201, 201, 201, 201, {}, arguments={"params": {"name": "a.txt"}, "data": b"x"}
    ),
    "getFile": Row("executions:read", 200, 404, 404, 200, FILE),
    "deleteFile": Row("executions:write", 204, 404, 404, 403, FILE, "file"),
    "listSshKeys": Row("keys:write", 200, 200, 200, 200, {}),
    "createSshKey": Row("keys:write", 201, 201, 201, 201, {}, arguments={"json": {}}),
    "getSshKey": Row("keys:write", 200, 404, 404, 200, KEY),
    "deleteSshKey": Row("keys:write", 204, 404, 404, 403, KEY, "key"),
    "rotateSshKey": Row("keys:write", 200, 404, 404, 403, KEY, "key"),
    "confirmSshKey": Row("keys:write", 200, 404, 404, 403, KEY),
    "listSites": Row("workflows:read", 200, 200, 200, 200, {}),
    "getSite": Row("workflows:read", 200, 404, 404, 404, SITE),
    "getSiteAccount": Row("keys:write", 200, 404, 404, 404, SITE),
    "putSiteAccount": Row("keys:write", 200, 404, 404, 404, SITE, arguments={"json": NEW_ACCOUNT}),
    "deleteSiteAccount": Row("keys:write", 204, 404, 404, 404, SITE, "site"),
    "checkSiteAccount": Row("executions:write", 200, 404, 404, 404, SITE),
    "getTerms": Row("any", 200, 200, 200, 200, {}),
    "acceptTerms": Row("own", 409, 409, 409, 409, {}, arguments={"json": {"version": "1"}}),
    "whoami": Row("any", 200, 200, 200, 200, {}),
    "listTokens": Row("own", 200, 200, 200, 200, {}),
    "createToken": Row("own", 201, 201, 201, 201, {}, arguments={"json": NEW_TOKEN}),
    "deleteToken": Row("own", 204, 404, 404, 204, TOKEN, "token"),
    "logout": Row("any", 204, 204, 204, 204, {}, "credentials"),
    "getAuthMethods": Public(200),
    "login": Public(303, {"params": {"moved": "true"}}),
    "confirmLogin": Public(403, {"data": COMMAND}),
    "answerTerms": Public(400, {"data": {"ticket": "wrong", "decision": "accept"}}),
    "authorize": Public(400),
    "startDevice": Public(200),
    "showActivation": Public(200, {"params": {"moved": "true"}}),
    "activate": Public(403, {"data": {"user_code": "BCDF-GHJK", "proof": "wrong"}}),
    "issueToken": Public(400, {"data": {"grant_type": "refresh_token", "refresh_token": "hpcwaas_ref_wrong"}}),
    "getMetrics": Public(404),
    "getLiveness": Public(200),
    "getReadiness": Public(200, shows_more=True),
}
PROTECTED = [name for name, row in ROWS.items() if isinstance(row, Row)]
PUBLIC = [name for name, row in ROWS.items() if isinstance(row, Public)]
BY_ID = [name for name, row in ROWS.items() if isinstance(row, Row) and row.things]


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("matrix")) as found:
        yield found


@pytest.fixture
def matrix(shared_world: World, caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    """The world; what is done in it leaves no secret anywhere."""
    caplog.set_level(logging.INFO)
    shared_world.forgive()
    yield shared_world
    told = caplog.text + shared_world.audit_file.read_text()
    assert not [secret for secret in shared_world.secrets if secret in told]


class Asked:
    """An operation, asked about something."""

    def __init__(self, matrix: World, name: str) -> None:
        self._matrix = matrix
        self.operation = OPERATIONS[name]
        row = ROWS[name]
        self._arguments = row.arguments or {}
        self._kinds = row.things if isinstance(row, Row) else {}
        self._spends = row.spends if isinstance(row, Row) else None

    def things(self) -> Mapping[str, str]:
        """Things of Alice's, by the parameters of the path."""
        return {name: self._matrix.thing(kind) for name, kind in self._kinds.items()}

    def __call__(
        self, headers: Headers, things: Mapping[str, str], method: str | None = None
    ) -> tuple[requests.Response, str]:
        arguments = dict(self._arguments)
        if arguments.get("json") is NEW_TOKEN:
            arguments["json"] = {**NEW_TOKEN, "name": str(uuid.uuid4())}
        if arguments.get("json") is NEW_ACCOUNT:
            arguments["json"] = {**NEW_ACCOUNT, "ssh_key": self._matrix.thing("login_key")}
        path = fill(self.operation.path, things)
        answer, request_id = self._matrix.ask(method or self.operation.method, path, headers, **arguments)
        if answer.ok and self._spends is not None:
            self._matrix.spend(self._spends)
        return answer, request_id


def protected(name: str) -> Row:
    row = ROWS[name]
    assert isinstance(row, Row)
    return row


def seen(asked: tuple[requests.Response, str], things: Mapping[str, str]) -> tuple[object, ...]:
    """An answer but for its date, and for what the request itself brought."""
    answer, request_id = asked
    headers = [(name, value.replace(request_id, "")) for name, value in answer.raw.headers.items() if name != "date"]
    body = answer.content.replace(request_id.encode(), b"")
    for thing in things.values():
        body = body.replace(thing.encode(), b"")
    return answer.status_code, headers, body


def sized(answer: tuple[object, ...]) -> list[tuple[str, str]]:
    """Its headers, its size aside."""
    headers = cast(list[tuple[str, str]], answer[1])
    return [(name, value) for name, value in headers if name != "content-length"]


def test_every_operation_has_a_row_and_every_row_an_operation() -> None:
    assert set(ROWS) == set(OPERATIONS)
    for name, operation in OPERATIONS.items():
        assert getattr(ROWS[name], "scope", None) == operation.scope, name


@pytest.mark.parametrize("name", PROTECTED)
def test_who_signs_in(matrix: World, name: str) -> None:
    row = protected(name)
    ask = Asked(matrix, name)
    expected, found, acts, expected_acts = {}, {}, {}, {}
    for caller, (standing, headers) in matrix.callers(row.scope).items():
        expected[caller] = row.status(standing)
        things = ask.things()
        answer, request_id = ask(headers(), things)
        found[caller] = answer.status_code
        # Whatever may change something is an act, and what shows somebody else's, and what is refused.
        foreign = standing in (Standing.SHARED, Standing.OPERATOR) and row.things and answer.ok
        taken = name == "getExecutionOutput" and answer.ok
        expected_acts[caller] = int(
            ask.operation.method != "GET" or answer.status_code == 403 or bool(foreign) or taken
        )
        acts[caller] = matrix.acts(request_id)
        if name == "getExecutionLogs" and standing is Standing.OWNER:  # the first look of an hour is one
            expected_acts[caller] = acts[caller]
        if answer.status_code in (403, 404):
            for secret in ("alice", "erin", "climate", *(things.values() if standing is Standing.OTHER else ())):
                assert secret not in json.dumps({**answer.json(), "instance": None}), caller
    assert found == expected
    assert acts == expected_acts


@pytest.mark.parametrize("name", PROTECTED)
def test_who_does_not_sign_in(matrix: World, name: str) -> None:
    ask = Asked(matrix, name)
    things = ask.things()
    answers = {}
    for caller, headers in matrix.strangers().items():
        if "password" in caller or "user" in caller:
            matrix.forgive()
        answer, request_id = ask(headers, things)
        answers[caller] = seen((answer, request_id), things)
        assert matrix.acts(request_id) == 0, caller  # they are counted; see tests/attacks/test_audit.py
    nobody = answers["nobody"]
    assert nobody[0] == 401
    blank = answers.pop("malformed: Bearer blank")  # is told what is wrong with it, and no more than that
    assert blank[0] == 401
    assert "white space" in str(blank[2])
    assert sized(blank) == sized(nobody)
    assert {caller: answer for caller, answer in answers.items() if answer != nobody} == {}
    # Whether there is such a thing, they aren't told either.
    nothing = {parameter: unknown(thing) for parameter, thing in things.items()}
    assert seen(ask({}, nothing), nothing) == nobody


@pytest.mark.parametrize("name", BY_ID)
def test_what_is_somebody_elses_answers_like_what_does_not_exist(matrix: World, name: str) -> None:
    row = protected(name)
    ask = Asked(matrix, name)
    things = ask.things()
    nothing = {parameter: unknown(thing) for parameter, thing in things.items()}
    asked = 0
    for caller, (standing, headers) in matrix.callers(row.scope).items():
        if row.status(standing) != 404 and standing is not Standing.WEAK:
            continue
        for method in {ask.operation.method, "HEAD"} if ask.operation.method == "GET" else {ask.operation.method}:
            credentials = headers()
            foreign, unknown_ = (seen(ask(credentials, each, method), each) for each in (things, nothing))
            assert foreign == unknown_, (caller, method)
            asked += 1
    assert asked > 3


@pytest.mark.parametrize("name", [name for name in PROTECTED if OPERATIONS[name].lists])
def test_lists_show_what_is_somebody_elses_to_operators_alone(matrix: World, name: str) -> None:
    row = protected(name)
    ask = Asked(matrix, name)
    for kind in ("execution", "file", "key", "token"):
        matrix.thing(kind)
    for caller, (standing, headers) in matrix.callers(row.scope).items():
        credentials = headers()
        for owner in ("alice", "*", "nobody"):
            answer, request_id = matrix.ask("GET", ask.operation.path, credentials, params={"owner": owner})
            mine = standing is Standing.OWNER and owner == "alice"
            assert answer.status_code == (200 if mine or standing is Standing.OPERATOR else 403), (caller, owner)
            assert ('"alice"' in answer.text) == (answer.ok and owner != "nobody"), (caller, owner)
            assert matrix.acts(request_id) == int(not mine), (caller, owner)
        plain, _ = matrix.ask("GET", ask.operation.path, credentials)
        assert ('"alice"' in plain.text) == (standing is Standing.OWNER), caller


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_asks_for_no_credentials(matrix: World, name: str) -> None:
    row = ROWS[name]
    assert isinstance(row, Public)
    ask = Asked(matrix, name)
    callers = {**matrix.strangers(), **{who: headers() for who, (_, headers) in matrix.callers("any").items()}}
    found = {caller: ask(headers, {})[0].status_code for caller, headers in callers.items()}
    refused = dict.fromkeys(matrix.strangers().keys() - {"nobody"}, 401) if row.shows_more else {}
    assert found == dict.fromkeys(callers, row.status) | refused
