"""A small service that answers as the contract says, on a real socket, and a way to run the command against it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from waas_cli.literals import encode
from waas_cli.main import main

from tests.cli.identity import IdentityStub
from tests.cli.places import KeysStub, SitesStub
from tests.cli.wire import NO_ROUTE, NOT_FOUND, Answer, Request, check, problem

DATA = Path(__file__).parent / "data"


@dataclass
class Execution:
    """Every long poll of its log leads to the next frame: a status and the log entries that come with it."""

    id: str
    frames: list[tuple[str, list[tuple[str, str]]]]
    workflow: str = "Public@env-pub@exec_job"
    outputs: dict[str, Any] | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None
    site: str = "local"
    frame: int = 0
    cancelled: bool = False
    inputs: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    waits_for: dict[int, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        return "CANCELLED" if self.cancelled else self.frames[self.frame][0]

    @property
    def over(self) -> bool:
        return self.status in ("SUCCEEDED", "FAILED", "CANCELLED")

    def entries(self) -> list[tuple[int, str, str]]:
        lines = [line for _, lines in self.frames[: self.frame + 1] for line in lines]
        return [(index, level, content) for index, (level, content) in enumerate(lines)]

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = check(
            "ExecutionSummary",
            {
                "id": self.id,
                "status": self.status,
                "workflow_id": self.workflow,
                "workflow_name": "exec_job",
                "engine": "cwl",
                "owner": "alice",
                "site": self.site,
                "created_at": "2026-11-23T09:25:41.308Z",
                "started_at": "2026-11-23T09:25:42.000Z",
                "ended_at": "2026-11-23T09:25:44.500Z" if self.over else None,
                "reason": self.reason if self.over else self.waits_for.get(self.frame),
                "removing_since": None,
            },
        )
        return found

    def details(self) -> dict[str, Any]:
        outputs = {"outputs": self.outputs} if self.over and self.outputs is not None else {}
        members = {**self.summary(), "inputs": self.inputs, "steps": self.steps, **outputs, **self.more}
        found: dict[str, Any] = check("Execution", members)
        return found


class Service:
    """The state behind the handler; tests set it up and look at it.

    Attributes:
        old: behave like the service before this one.
        moves: every look at the list of executions leads each of them to its next frame.
        trouble: answers to give instead of the real ones, first come first served: a status with headers, or `drop`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.old = False
        self.listed_with: dict[str, Any] = {}
        self.workflows: list[dict[str, Any]] = json.loads((DATA / "workflows.json").read_text())
        self.details: dict[str, Any] = json.loads((DATA / "details.json").read_text())
        self.executions: dict[str, Execution] = {}
        self.files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self.keyring = KeysStub()
        self.keys = self.keyring.keys
        self.sites = SitesStub(self.keyring)
        self.contents: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.trouble: list[tuple[str, str, int | str, dict[str, str]]] = []
        self.next_frames: list[tuple[str, list[tuple[str, str]]]] = [("RUNNING", [])]
        self.refuse_inputs: list[dict[str, Any]] = []
        self.refuse_announced: list[list[dict[str, Any]]] = []
        self.problems: list[dict[str, Any]] | None = None
        self.ignored: dict[str, list[str]] = {}
        self.companions: list[dict[str, Any]] | None = None
        self.forgets_companions = False
        self.page_size = 2
        self.moves = False
        self.identity = IdentityStub(self.executions)

    def add(self, *frames: tuple[str, list[tuple[str, str]]], **members: Any) -> str:
        identity = f"{len(self.executions) + 1:08x}-0000-4000-8000-0123456789ab"
        self.executions[identity] = Execution(identity, list(frames), **members)
        return identity

    def looked_at_list(self) -> None:
        """Whoever looks at the list of executions again sees the next frame of each."""
        for each in self.executions.values():
            each.frame = min(each.frame + 1, len(each.frames) - 1)

    def sent(self, method: str, pattern: str) -> list[Request]:
        return [each for each in self.requests if each.method == method and re.search(pattern, each.path)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, or every answer waits for a delayed acknowledgement
    service: Service

    def log_message(self, *_: object) -> None:
        pass

    def respond(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, unquote(parts.path), query, dict(self.headers), body)
        self.service.requests.append(request)
        for index, (method, pattern, what, headers) in enumerate(self.service.trouble):
            if method == request.method and re.search(pattern, request.path):
                del self.service.trouble[index]
                if what == "drop":
                    self.close_connection = True
                    return
                assert isinstance(what, int)
                status, content, more = problem(what, "trouble", "Out of order.")
                self.write(status, content, {**more, **headers})
                return
        answer = self.service.identity.public(request)
        if self.service.old:
            answer = NO_ROUTE if answer else None
        if answer is None and not self.service.identity.knows(request):
            answer = problem(401, "unauthorized", "Credentials are missing or wrong.")
        self.write(*(answer or self.service.identity.private(request) or self.route(request)))

    do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815

    def write(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        raw = content if isinstance(content, bytes) else b"" if content is None else encode(content)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def workflow(self, identity: str) -> Answer:
        if identity == "problems" and self.service.problems is not None:
            return 200, check("WorkflowProblems", {"problems": self.service.problems, **self.service.ignored}), {}
        known = self.service.details.get(identity)
        return (200, check("WorkflowDetails", known), {}) if known else NOT_FOUND

    def route(self, request: Request) -> Answer:
        match (request.method, request.path.strip("/").split("/")):
            case ("GET", ["workflows"]):
                words = request.query.get("q", "").lower()
                found = [each for each in self.service.workflows if words in json.dumps(each).lower()]
                return 200, check("Workflows", {"workflows": found, **self.service.listed_with}), {}
            case ("GET", ["workflows", identity]) if not self.service.old:
                return self.workflow(identity)
            case ("POST", ["workflows", _, "companions"]) if self.service.companions is not None:
                return 200, {"companions": self.service.companions}, {}
            case ("POST", ["workflows", identity]):
                return self.trigger(request, identity)
            case ("GET", ["executions"]):
                wanted = request.query.get("status", "").split(",")
                chosen = [
                    each.summary()
                    for each in self.service.executions.values()
                    if (each.status in wanted or not wanted[0])
                    and each.id in request.query.get("id", each.id).split(",")
                ]
                if self.service.old and "id" in request.query:
                    return problem(400, "bad_request", "Extra query parameter(s) id not in spec")
                if self.service.moves:
                    self.service.looked_at_list()
                return self.page("executions", "Executions", chosen[::-1], request)
            case (_, ["executions", identity, *rest]):
                execution = self.service.executions.get(identity)
                return self.execution(request, execution, rest) if execution else NOT_FOUND
            case (_, ["files", *rest]):
                return self.file(request, rest)
            case (_, ["ssh_keys", *rest]):
                return self.service.keyring.answer(request, rest)
            case (_, ["sites", *rest]) if not self.service.old:
                return self.service.sites.answer(request, rest)
        return NO_ROUTE

    def page(self, member: str, schema: str, items: list[Any], request: Request) -> Answer:
        start = int(request.query.get("cursor", 0))
        size = min(int(request.query.get("limit", 50)), self.service.page_size)
        following = str(start + size) if start + size < len(items) else None
        return 200, check(schema, {member: items[start : start + size], "next_cursor": following}), {}

    def trigger(self, request: Request, identity: str) -> Answer:
        check("Trigger", request.json)
        inputs = request.json["inputs"]
        if identity not in [each["id"] for each in self.service.workflows]:
            return NOT_FOUND
        if self.service.refuse_inputs:
            return problem(400, "bad_request", "2 inputs are wrong.", inputs=self.service.refuse_inputs)
        if self.service.refuse_announced and request.query.get("dry_run") == "true":
            return problem(400, "bad_request", "Inputs are wrong.", inputs=self.service.refuse_announced.pop(0))
        if self.service.sites.refuse_trigger is not None:
            return self.service.sites.refuse_trigger
        if request.query.get("dry_run") == "true":
            where = self.service.sites.dry_run(request.json.get("site"))
            return 200, check("DryRun", {"valid": True, "workflow_id": identity, "inputs": inputs, **where}), {}
        made = self.service.add(*self.service.next_frames, workflow=identity, inputs=inputs)
        return 201, None, {"Location": f"/executions/{made}"}

    def execution(self, request: Request, execution: Execution, rest: list[str]) -> Answer:
        match (request.method, rest):
            case ("GET", []):
                status = {"id": execution.id, "status": execution.status}
                return 200, status if self.service.old else execution.details(), {}
            case ("DELETE", []) if request.query.get("purge") == "true":
                del self.service.executions[execution.id]
                return 204, None, {}
            case ("DELETE", []):
                execution.cancelled = True
                return 202, None, {"Warning": f'299 - "{execution.reason}"'} if execution.reason else {}
            case ("POST", ["resume"]) if execution.status == "FAILED":
                execution.frames, execution.frame = [("RUNNING", [])], 0
                return 202, None, {}
            case ("POST", ["resume"]):
                return problem(409, "conflict", f"The execution is {execution.status}.")
            case ("POST", ["close"]):
                check("CloseRequest", request.json)
                execution.cancelled = True
                return 200, execution.details(), {}
            case ("GET", ["logs"]):
                return 200, self.logs(request, execution), {}
            case ("GET", ["outputs", name]):
                return self.output(request, name)
        return NO_ROUTE

    def logs(self, request: Request, execution: Execution) -> Any:
        start, size = int(request.query.get("from", 0)), int(request.query.get("size", -1))
        levels = int(request.query.get("levels", 0)) or 14
        if request.query.get("timeout") != "0":
            execution.frame = min(execution.frame + 1, len(execution.frames) - 1)
        bits = {"DEBUG": 1, "INFO": 2, "WARN": 4, "ERROR": 8}
        wanted = [entry for entry in execution.entries() if bits[entry[1]] & levels]
        entries = [
            {"index": index, "level": level, "timestamp": f"2026-11-23T09:12:{34 + index}.658Z", "content": content}
            for index, level, content in wanted[start:][: None if size < 0 else size]
        ]
        page = {"logs": entries, "total_results": len(wanted), "from": start}
        if self.service.old:
            return page
        return check("Logs", {**page, "status": execution.status, "over": execution.over})

    def output(self, request: Request, name: str) -> Answer:
        content = self.service.contents.get(name + ("?" + request.query["path"] if "path" in request.query else ""))
        if content is None:
            return NOT_FOUND
        ranged = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if ranged:
            return 206, content[int(ranged[1]) :], {"Content-Type": "application/octet-stream"}
        return 200, content, {"Content-Type": "application/octet-stream"}

    def file(self, request: Request, rest: list[str]) -> Answer:
        match (request.method, rest):
            case ("POST", []):
                made: dict[str, Any] = {
                    "id": f"file-{len(self.service.requests)}",
                    "name": request.query["name"],
                    "media_type": request.headers["Content-Type"],
                    "size": len(request.body),
                    "sha256": hashlib.sha256(request.body).hexdigest(),
                    "owner": "alice",
                    "created_at": "2026-11-23T09:25:41.308Z",
                }
                if "companion_of" in request.query and not self.service.forgets_companions:
                    made["companion_of"] = request.query["companion_of"]
                self.service.files[made["id"]] = (check("File", made), request.body)
                return 201, made, {"Location": f"/files/{made['id']}"}
            case ("GET", []):
                return self.page("files", "Files", [made for made, _ in self.service.files.values()], request)
            case ("DELETE", [identity]) if identity in self.service.files:
                del self.service.files[identity]
                return 204, None, {}
        return NOT_FOUND


@pytest.fixture
def service() -> Iterator[Service]:
    handler = type("OwnHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that hangs up is no trouble
    handler.service = Service(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield handler.service  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)


Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory and no HW_ variables."""
    import os

    for name in [name for name in os.environ if name.startswith(("HW_", "XDG_")) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    directory = tmp_path / "home"
    directory.mkdir()
    monkeypatch.setenv("HOME", str(directory))
    return directory


@pytest.fixture
def waas(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process, exactly as given."""

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        assert "\r" not in captured.out + captured.err
        assert isinstance(end.value.code, int)
        return Result(end.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def alice(waas: Run, service: Service, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command as a user of the service."""
    monkeypatch.setenv("HW_API_URL", service.url)
    monkeypatch.setenv("HW_USER", "alice:alicepw")
    return waas


@pytest.fixture
def tar() -> Callable[[dict[str, bytes]], bytes]:
    """Makes a tar file."""

    def make(members: dict[str, bytes]) -> bytes:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return raw.getvalue()

    return make
