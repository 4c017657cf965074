"""The simulated Yorc's HTTP side: its routes, and how it writes answers and errors."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote

from tests.simulators import go
from tests.simulators.bare_http import Answer, Headers
from tests.simulators.faults import Fault
from tests.simulators.serving import Application, Call
from tests.simulators.yorc_state import Deployment, Workflow, link
from tests.simulators.yorc_store import Kind, Store
from tests.simulators.yorc_tasks import ALIVE, Task, Tasks

JSON: TypeAlias = Any

ACCEPT = "application/json"
ERRORS = {
    400: ("bad_request", "Bad Request"),
    404: ("not_found", "Not Found"),
    406: ("not_acceptable", "Not Acceptable"),
    500: ("internal_server_error", "Internal Server Error"),
}
PANIC = "Something went wrong: [PANIC] "
NO_LEADER = f"{PANIC}Consul communication error: Unexpected response code: 500 (No cluster leader)"
LONGEST_WAIT = 600.0


class Refusal(Exception):
    """Yorc answers with an error.

    Args:
        times: the documents that the body is made of.
        kind: its media type, which is mostly set too late.
    """

    def __init__(self, status: int, detail: str, times: int = 1, kind: bytes = b"text/plain; charset=utf-8") -> None:
        super().__init__(detail)
        self.kind = kind
        self.status = status
        self.detail = detail
        self.times = times


def unknown(times: int = 1) -> Refusal:
    """The answer about what there isn't."""
    return Refusal(404, "Requested content not found.", times)


def panic(why: object) -> Refusal:
    """The answer to what nobody had foreseen."""
    return Refusal(500, f"{PANIC}{why}")


def _answer(status: int, document: JSON = None, headers: Headers = ()) -> Answer:
    body = go.document(document) if document is not None else b""
    kind = ((b"Content-Type", b"application/json"),) if body else ()
    return Answer(status, body, (*kind, *headers, *_length(status, body)))


def _length(status: int, body: bytes) -> Headers:
    if status == 204 or len(body) > go.LONG:
        return ()
    return ((b"Content-Length", str(len(body)).encode()),)


def _refused(method: str, refusal: Refusal) -> Answer:
    identifier, title = ERRORS[refusal.status]
    error = {"id": identifier, "status": refusal.status, "title": title, "detail": refusal.detail}
    body = go.document({"errors": [error]}) * refusal.times
    headers = (*_length(refusal.status, body), (b"Content-Type", refusal.kind))
    return Answer(refusal.status, b"" if method == "HEAD" else body, headers)


def _plain(status: int, text: str, *headers: tuple[bytes, bytes]) -> Answer:
    """The router's own answer."""
    body = f"{text}\n".encode()
    sniff = (b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff")
    return Answer(status, body, (*headers, *sniff, *_length(status, body)))


class YorcApplication(Application):
    """The ASGI application.

    Attributes:
        deployments: by their ids.
    """

    def __init__(self, deployments: list[Deployment], store: Store, tasks: Tasks, delay: float) -> None:
        super().__init__(delay)
        self.deployments = {one.id: one for one in deployments}
        self._store = store
        self._tasks = tasks
        one = r"([^/]+)"
        deployment = rf"/deployments/{one}"
        table: dict[str, dict[str, Callable[..., Awaitable[Answer]]]] = {
            "/server/health": {"GET": self.health},
            "/server/info": {"GET": self.info},
            "/deployments": {"GET": self.list},
            deployment: {"GET": self.deployment, "DELETE": self.undeploy},
            f"{deployment}/purge": {"POST": self.purge},
            f"{deployment}/workflows": {"GET": self.workflows},
            rf"{deployment}/workflows/{one}": {"GET": self.workflow, "POST": self.run},
            rf"{deployment}/tasks/{one}": {"DELETE": self.cancel, "GET": self.task, "PUT": self.resume},
            rf"{deployment}/tasks/{one}/steps": {"GET": self.steps},
            f"{deployment}/outputs": {"GET": self.outputs},
            rf"{deployment}/outputs/{one}": {"GET": self.output},
            r"/(logs|events)": {"GET": self.poll, "HEAD": self.head},
            rf"{deployment}/(logs|events)": {"GET": self.poll_deployment, "HEAD": self.head_deployment},
        }
        self._table = [(re.compile(pattern), methods) for pattern, methods in table.items()]

    def odd(self, fault: Fault) -> Answer:
        """An error with a stack trace."""
        return _refused("GET", panic("runtime error: index out of range\ngoroutine 17 [running]:\n\tmain.go:42"))

    async def answer(self, call: Call, query: str, headers: dict[str, str]) -> Answer:
        """Does what a call asks for."""
        found = ((pattern.fullmatch(call.path), methods) for pattern, methods in self._table)
        match, methods = next((one for one in found if one[0]), (None, {}))
        if match is None:
            return _plain(404, "404 page not found")
        if call.method not in methods:
            allowed = ", ".join(sorted({*methods, "OPTIONS"}))
            return _plain(405, "Method Not Allowed", (b"Allow", allowed.encode()))
        parameters = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        try:
            self._admit(call, headers)
            return await methods[call.method](*map(unquote, match.groups()), body=call.body, parameters=parameters)
        except Refusal as refusal:
            return _refused(call.method, refusal)

    def _admit(self, call: Call, headers: dict[str, str]) -> None:
        # Compared letter by letter.
        if (call.method == "GET" or call.path.endswith("/purge")) and headers.get("accept") != ACCEPT:
            raise Refusal(406, f"Accept header must be set to '{ACCEPT}'.")
        if self._store.leaderless and not call.path.startswith("/server/"):
            raise Refusal(500, NO_LEADER)

    # Deployments

    async def health(self, **_: Any) -> Answer:
        return _answer(200, {"value": "passing"})

    async def info(self, **_: Any) -> Answer:
        return _answer(200, {"yorc_version": "4.4.0-SNAPSHOT", "git_commit": "Must Be defined by MakeFile"})

    async def list(self, **_: Any) -> Answer:
        found = [one.json() for _, one in sorted(self.deployments.items())]
        return _answer(200, {"deployments": found}) if found else _answer(204)

    async def deployment(self, identifier: str, **_: Any) -> Answer:
        found = self._known(identifier)
        here = f"/deployments/{identifier}"
        links = [
            link("self", here),
            *(link("node", f"{here}/nodes/{name}") for name in sorted(found.nodes)),
            *(link("task", f"{here}/tasks/{one.id}") for one in self._tasks.of(found)),
            *(link("output", f"{here}/outputs/{name}") for name in sorted(found.outputs)),
        ]
        return _answer(200, {"id": identifier, "status": found.status, "links": links})

    async def undeploy(self, identifier: str, parameters: dict[str, str], **_: Any) -> Answer:
        found = self._known(identifier)
        self._refuse_beside(self._tasks.alive(found))
        purge = "purge" in parameters
        if found.status == "UNDEPLOYED" and not purge:
            raise Refusal(400, "Deployment already undeployed")

        def finish() -> None:
            found.status = "UNDEPLOYED"
            if purge:
                self.forget(found)

        found.status = "UNDEPLOYMENT_IN_PROGRESS"
        uninstall = found.workflows.get("uninstall", Workflow("uninstall", {}))
        task = self._tasks.run(Task(found, "UnDeploy", uninstall), finish)
        return _accepted(202, task)

    async def purge(self, identifier: str, **_: Any) -> Answer:
        found = self._known(identifier)
        if found.status != "UNDEPLOYED":
            problem = f'can\'t purge a deployment not in "UNDEPLOYED" state, actual status is "{found.status}"'
            raise Refusal(500, problem, kind=b"application/json")
        self.forget(found)
        return _answer(200, {"errors": None})

    def forget(self, deployment: Deployment) -> None:
        """Takes a deployment away, with its tasks and all that was logged."""
        del self.deployments[deployment.id]
        for task in self._tasks.of(deployment):
            del self._tasks.all[task.id]
        self._store.forget(deployment.id)

    async def outputs(self, identifier: str, **_: Any) -> Answer:
        found = self.deployments.get(identifier)
        names = sorted(found.outputs) if found else []
        links = [link("output", f"/deployments/{identifier}/outputs/{name}") for name in names]
        return _answer(200, {"outputs": links}) if links else _answer(204)

    async def output(self, identifier: str, name: str, **_: Any) -> Answer:
        found = self.deployments.get(identifier)
        if found is None:
            raise unknown(times=2)
        if name not in found.outputs:
            raise unknown()
        return _answer(200, {"name": name, "value": found.attributes.get(found.outputs[name], "")})

    # Workflows

    async def workflows(self, identifier: str, **_: Any) -> Answer:
        found = self._known(identifier)
        names = sorted(name for name, one in found.workflows.items() if one.steps)
        links = [link("workflow", f"/deployments/{identifier}/workflows/{name}") for name in names]
        return _answer(200, {"workflows": links})

    async def workflow(self, identifier: str, name: str, **_: Any) -> Answer:
        return _answer(200, self._workflow(self._known(identifier), name).json())

    async def run(self, identifier: str, name: str, body: bytes, parameters: dict[str, str]) -> Answer:
        found = self._known(identifier)
        workflow = self._workflow(found, name)
        self._refuse_beside(self._tasks.alive(found, "Deploy", "UnDeploy", "Purge"))
        request = _parsed(body) if body else {}
        self._check_instances(found, request)
        inputs = request.get("inputs") or {}
        for required in workflow.required if body else ():
            if required not in inputs:
                missing = f"Missing value for required workflow input parameter {required}"
                raise Refusal(400, f'Invalid "inputs" parameter {missing}')
        texts = {key: go.text(value) for key, value in inputs.items()}
        task = Task(found, "CustomWorkflow", workflow, texts, "continueOnError" in parameters)
        return _accepted(201, self._tasks.run(task))

    # Tasks

    async def task(self, identifier: str, task_id: str, **_: Any) -> Answer:
        return _answer(200, self._task(identifier, task_id).json())

    async def steps(self, identifier: str, task_id: str, **_: Any) -> Answer:
        found = [{"name": name, "status": status} for name, status in self._task(identifier, task_id).steps.items()]
        random.shuffle(found)
        return _answer(200, found)

    async def cancel(self, identifier: str, task_id: str, **_: Any) -> Answer:
        task = self._task(identifier, task_id)
        if task.status not in ALIVE:
            raise Refusal(400, f'Cannot cancel a task with status "{task.status}"')
        task.cancelling.set()
        return _answer(202)

    async def resume(self, identifier: str, task_id: str, **_: Any) -> Answer:
        task = self._task(identifier, task_id)
        if task.status != "FAILED":
            only = 'Only task in "FAILED" status can be resumed.'
            raise Refusal(400, f'Cannot resume a task with status "{task.status}". {only}')
        self._tasks.resume(task)
        return _answer(202)

    # Logs and events

    async def poll_deployment(self, identifier: str, kind: Kind, parameters: dict[str, str], **_: Any) -> Answer:
        self._known(identifier)
        return await self._poll(kind, identifier, parameters)

    async def poll(self, kind: Kind, parameters: dict[str, str], **_: Any) -> Answer:
        return await self._poll(kind, None, parameters)

    async def head_deployment(self, identifier: str, kind: Kind, **_: Any) -> Answer:
        self._known(identifier)
        return await self.head(kind)

    async def head(self, kind: Kind, **_: Any) -> Answer:
        return Answer(200, b"", ((b"X-Yorc-Index", str(self._store.index).encode()),))

    async def _poll(self, kind: Kind, deployment: str | None, parameters: dict[str, str]) -> Answer:
        index, wait = 1, 300.0
        if given := parameters.get("index"):
            if not re.fullmatch(r"\d+", given):
                raise Refusal(
                    400, f'Invalid "index" parameter strconv.ParseUint: parsing {json.dumps(given)}: invalid syntax'
                )
            index = int(given)
        if given := parameters.get("wait"):
            try:
                wait = min(go.duration(given), LONGEST_WAIT)
            except ValueError as error:  # the parameter's name is wrong there, too
                raise Refusal(400, f'Invalid "index" parameter {error}') from None
        entries, newest = await self._store.poll(kind, deployment, index, wait)
        header = ((b"X-Yorc-Index", str(newest).encode()),)
        return _answer(200, {kind: entries, "last_index": newest}, header)

    # What there is

    def _known(self, identifier: str) -> Deployment:
        if (found := self.deployments.get(identifier)) is None:
            raise unknown()
        return found

    def _workflow(self, deployment: Deployment, name: str) -> Workflow:
        found = deployment.workflows.get(name)
        if found is None or not found.steps:
            raise unknown()
        return found

    def _task(self, identifier: str, task_id: str) -> Task:
        task = self._tasks.all.get(task_id)
        if task is None:
            raise unknown()
        if task.deployment.id != identifier:
            which = f'Task with id "{task_id}"'
            raise Refusal(400, f'{which} doesn\'t correspond to the deployment with id "{identifier}"')
        return task

    def _refuse_beside(self, task: Task | None) -> None:
        if task is not None:
            which = f'Task with id "{task.id}" and status "{task.status}"'
            raise Refusal(400, f'{which} already exists for target "{task.deployment.id}"')

    def _check_instances(self, deployment: Deployment, request: JSON) -> None:
        for one in request.get("nodesinstances") or []:
            if one["name"] not in deployment.nodes:
                raise Refusal(400, f'Invalid "node" parameter Node "{one["name"]}" must exist')
            for instance in one.get("instances") or []:
                if instance != "0":
                    raise Refusal(400, f'Invalid "instance" parameter Instance "{instance}" must exist')


def _accepted(status: int, task: Task) -> Answer:
    location = f"/deployments/{task.deployment.id}/tasks/{task.id}".encode()
    return _answer(status, headers=((b"Location", location),))


def _parsed(body: bytes) -> JSON:
    """The request to run a workflow. What can't be one is Yorc's own failure."""
    names = {list: "array", str: "string", int: "number", float: "number", bool: "bool"}
    try:
        request = json.loads(body)
    except ValueError as error:
        text = body.decode("utf-8", "replace").strip()
        cut = isinstance(error, json.JSONDecodeError) and error.pos >= len(text)
        raise panic("unexpected end of JSON input" if cut else "invalid character in JSON") from None
    if request is None:
        return {}
    if not isinstance(request, dict):
        raise panic(f"json: cannot unmarshal {names[type(request)]} into Go value of type rest.WorkflowRequest")
    inputs = request.get("inputs")
    if inputs is not None and not isinstance(inputs, dict):
        where = "Go struct field WorkflowRequest.inputs of type map[string]interface {}"
        raise panic(f"json: cannot unmarshal {names[type(inputs)]} into {where}")
    return request
