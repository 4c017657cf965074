"""The agent of a site as the service uses it: as a program, in a HOME of its own."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from hpcwaas.engines.cwl.sites.agent import source
from tests.waiting import until

RUNNER = """\
#!/bin/bash
outputs=$2 document=$3 job=$4
"""
"""What a runner that a test writes begins with."""


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@dataclass
class Site:
    """An account on a site.

    Attributes:
        home: its HOME.
        environment: of its commands, besides HOME and PATH.
    """

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable

    def __post_init__(self) -> None:
        self.home.mkdir(exist_ok=True)
        self.root = self.home / "work dir"
        self.path = f"{self.home}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        (self.home / "bin").mkdir(exist_ok=True)
        self.agent = self.home / "agent.py"
        self.agent.write_bytes(source())
        self.do("probe", make=True)
        self.agent = self.agent.rename(self.root / "bin" / "agent.py")

    def popen(self, command: str, **order: Any) -> subprocess.Popen[bytes]:
        """Begins a command of the agent."""
        process = subprocess.Popen(
            [self.python, self.agent, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"HOME": str(self.home), "PATH": self.path, **self.environment},
            cwd=self.home,
        )
        assert process.stdin
        process.stdin.write(json.dumps({"work_dir": str(self.root), "token": "t0k", **order}).encode())
        return process

    def raw(self, command: str, **order: Any) -> bytes:
        """What a command of the agent writes."""
        process = self.popen(command, **order)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
        return output

    def do(self, command: str, **order: Any) -> Any:
        """The answer of a command of the agent."""
        return answer_in(self.raw(command, **order))

    def send(self, content: bytes) -> str:
        """Puts an upload to where the service does; its digest."""
        digest = hashlib.sha256(content).hexdigest()
        (self.root / "content" / f"{digest}.part").write_bytes(content)
        return digest

    def program(self, name: str, text: str) -> None:
        """Makes a program that is found by its name."""
        path = self.home / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def order(self, runner: str | None = None, **changes: Any) -> dict[str, Any]:
        """What `start` takes for one execution.

        Args:
            runner: script, after the head that names its arguments.
            changes: of the request.
        """
        identifier = uuid4().hex
        if runner is not None:  # a name of its own: another one may be about to begin
            self.program(f"runner-{identifier}", RUNNER + runner)
        if "document" not in changes:
            digest = self.send(tar_of({"main.cwl": b"cwlVersion: v1.2\n"}))
            self.do("start", accept={"workflows": [digest]})
            changes["document"] = f"workflows/{digest}/main.cwl"
        request = {
            "version": 1,
            "id": identifier,
            "fragment": None,
            "steps": [{"name": "one", "label": None}, {"name": "two", "label": "Second"}],
            "inputs": [],
            "command": [f"runner-{identifier}" if runner is not None else "runner"],
            "arguments": [],
            "kind": "other",
            "scheduler": "none",
            "leader": "login",
            "slurm": {},
            "prologue": None,
            "environment": {},
            "time": None,
            "log": 1 << 20,
            "resume": False,
            "attempt": 1,
            **changes,
        }
        return {"id": identifier, "request": request, "job": changes.pop("job", {})}

    def start(self, runner: str | None = None, **changes: Any) -> str:
        """Starts an execution; its id."""
        order = self.order(runner, **changes)
        answer = self.do("start", executions=[order])["executions"][order["id"]]
        assert answer == {"started": True}, answer
        return str(order["id"])

    def directory(self, identifier: str) -> Path:
        """An execution's directory."""
        return self.root / "executions" / identifier

    def look(self, identifier: str, log: int | None = None, have: str | None = None, **order: Any) -> dict[str, Any]:
        """How an execution stands."""
        answer = self.do("look", executions={identifier: {"log": log, "have": have}}, **order)
        return dict(answer["executions"][identifier], news=answer["news"])

    def state(self, identifier: str) -> dict[str, Any]:
        """The state of an execution."""
        content = (self.directory(identifier) / "state.json").read_bytes()
        return dict(json.loads(content))

    def running(self, identifier: str, file: str) -> None:
        """Waits until the runner of an execution has made a file in its directory."""
        until(lambda: (self.directory(identifier) / "work" / file).exists(), 60)

    def finished(self, identifier: str) -> dict[str, Any]:
        """Waits for the end of an execution and of its supervisor; its state and outputs."""
        found = self.look(identifier)
        deadline = time.monotonic() + 90
        while not found["state"] or found["state"]["status"] not in ("SUCCEEDED", "FAILED", "CANCELLED"):
            assert time.monotonic() < deadline, found
            news = self.look(identifier, have=found["stamp"], news=found["news"], wait=10)
            found = self.look(identifier) if news["state"] else found | {"news": news["news"]}
        until(lambda: gone(self.claim(identifier)["pid"]), 60)
        return dict(found["state"], outputs=found["outputs"])

    def claim(self, identifier: str) -> dict[str, Any]:
        """Who supervises an execution."""
        return dict(json.loads((self.directory(identifier) / "supervisor.json").read_bytes()))

    def log(self, identifier: str) -> Sequence[str]:
        """The lines of an execution's log."""
        lines = (self.directory(identifier) / "log.jsonl").read_bytes().splitlines()
        return [json.loads(line)[2] for line in lines]


def gone(pid: int) -> bool:
    """Whether a process has ended; the dead may wait to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].startswith((b"Z", b"X"))
    except OSError:
        return True


def answer_in(output: bytes) -> Any:
    """The answer in what the agent wrote, whatever stands before it."""
    return json.loads(output.partition(b"\n@@HPCWAAS t0k\n")[2])


def text_of(found: Mapping[str, Any]) -> bytes:
    """The piece of the log in an answer."""
    return base64.b64decode(found["log"] or "")
