"""A plain user reads, changes and stops nothing that isn't theirs, whatever a workflow does with their text."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.attacks.ordinary import ACCOUNT
from tests.attacks.shared_service import LONG, SECRETS, SharedService, alices, attack, attacks, serving, text
from tests.e2e.processes import eventually

PROBE = Path(__file__).with_name("probe.py")


@dataclass(frozen=True)
class Scene:
    """A service in use, and what of it an attacker knows."""

    service: SharedService
    ids: dict[str, str]

    @property
    def cwl(self) -> Path:
        return self.service.data / "cwl"

    def execution(self, name: str) -> Path:
        return self.cwl / "executions" / self.ids[name]

    @property
    def upload(self) -> Path:
        return next(path for path in (self.service.data / "files").rglob(f"*{self.ids['upload']}*") if path.is_file())

    @property
    def files(self) -> dict[str, Path]:
        return {
            "vault.key": self.service.data / "vault.key",
            "database": self.service.data / "hpcwaas.db",
            "audit log": self.service.data / "audit.jsonl",
            "upload of alice": self.upload,
            "request of alice": self.execution("over") / "request.json",
            "inputs of alice": self.execution("over") / "job.json",
            "log of alice": self.execution("over") / "log.jsonl",
            "state of alice": self.execution("runs") / "state.json",
            "output of alice": next(self.execution("over").joinpath("outputs").glob("*.txt")),
            "lock": self.execution("runs") / "supervisor.lock",
            "launcher's log": self.cwl / "launcher.log",
            "snapshot of another workflow": next(self.cwl.glob("catalogue/snapshots/*/files/script.cwl")),
            "configuration": self.service.configuration,
        }

    @property
    def secrets(self) -> list[str]:
        return [
            *SECRETS.values(),
            self.files["vault.key"].read_text().strip(),
            "alice's password",
            "SQLite format",
            '"operation":',
        ]

    def processes(self) -> dict[str, int]:
        found = {}
        for kind in ("master", "worker", "launcher", "supervisor", "runner"):
            for process in self.service.processes(kind):
                if process.uids().real == ACCOUNT:
                    found[kind] = process.pid
        for process in psutil.process_iter(["cmdline", "uids"]):
            line, uids = process.info["cmdline"], process.info["uids"]
            if line and uids and line[:2] == ["sleep", LONG] and uids.real == ACCOUNT:
                found["tool of alice"] = process.pid
        return found


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with serving() as service:
        scene = Scene(service, alices(service))
        eventually(lambda: len(scene.processes()) == 6)
        yield scene


@pytest.fixture(scope="module")
def found(scene: Scene) -> dict[str, Any]:
    """How the tries of a hostile tool ended."""
    return probe(scene)


def probe(scene: Scene) -> dict[str, Any]:
    service = scene.service
    abstract = f"attacks-{os.getpid()}-{id(scene)}"
    with socket.socket(socket.AF_UNIX) as hidden, socket.socket(socket.AF_UNIX) as visible:
        hidden.bind("\0" + abstract)
        visible.bind(str(service.home / "agent.sock"))
        (service.home / "agent.sock").chmod(0o777)
        for listener in (hidden, visible):
            listener.listen()
        targets: dict[str, Any] = {
            "files": {name: str(path) for name, path in scene.files.items()},
            "directories": {
                "data directory": str(service.data),
                "executions": str(scene.cwl / "executions"),
                "execution of alice": str(scene.execution("runs")),
                "queue": str(scene.cwl / "queue"),
                "uploads": str(service.data / "files"),
                "snapshots": str(scene.cwl / "catalogue" / "snapshots"),
                "catalogue": str(service.catalogue),
                "home": str(service.home),
            },
            "processes": scene.processes(),
            "abstract": abstract,
            "socket": str(service.home / "agent.sock"),
        }
        assert len(targets["processes"]) == 6, targets["processes"]
        script = service.mallory.upload("probe.py", PROBE.read_bytes())
        # The tool learns by its command alone what to try.
        command = f"cat > targets.json <<'END'\n{json.dumps(targets)}\nEND\npython3 - targets.json <"
        execution, _ = attack(service, "command", command=command, script=script)
        assert execution["status"] == "SUCCEEDED", execution
        (service.home / "agent.sock").unlink()
        outcome: dict[str, Any] = json.loads(text(service, execution))
        return outcome


def test_the_probe_would_find_what_is_open(tmp_path: Path) -> None:
    """The tries themselves work: outside of an execution they succeed."""
    file = tmp_path / "file"
    file.write_text("x")
    with socket.socket(socket.AF_UNIX) as listener, subprocess.Popen(["sleep", "60"]) as victim:
        listener.bind("\0" + f"probe-{os.getpid()}")
        listener.listen()
        targets = {
            "files": {"vault.key": str(file)},
            "directories": {"data directory": str(tmp_path)},
            "processes": {"master": victim.pid},
            "abstract": f"probe-{os.getpid()}",
            "socket": str(tmp_path / "none"),
        }
        (tmp_path / "targets.json").write_text(json.dumps(targets))
        answer = subprocess.run(
            [sys.executable, PROBE, "targets.json"], cwd=tmp_path, capture_output=True, check=True, text=True
        )
        victim.kill()
        for place in ("/dev/shm", "/tmp"):
            Path(place, f"probe-{os.getpid()}").unlink()
    outcome = json.loads(answer.stdout)
    for name in ("read", "write", "truncate", "mode of", "times of", "hard link to", "read by link", "removal of"):
        assert outcome[f"{name} vault.key"] == "open", name
    for name in ("list", "new file in", "new directory in", "mode of"):
        assert outcome[f"{name} data directory"] == "open", name
    for name in ("cmdline of", "environ of", "descriptors of", "into cwd of", "signal to", "limits for"):
        assert outcome[f"{name} master"] == "open", name
    assert outcome["abstract socket"] == "open"


def closed(outcome: dict[str, Any], kinds: Iterable[str], names: Iterable[str]) -> dict[str, Any]:
    """Those of the tries that found something open."""
    keys = [f"{kind} {name}" for kind in kinds for name in names]
    return {key: outcome[key] for key in keys if outcome[key] == "open"}


FILE_TRIES = ("read", "write", "truncate", "hard link to", "read by link", "removal of")
STATUS_TRIES = ("mode of", "times of", "owner of", "attributes of")
DIRECTORY_TRIES = ("list", "new file in", "new directory in", "new link in")
PROC_FILES = ("environ of", "maps of", "mem of", "auxv of", "io of", "descriptors of", "into cwd of", "into root of")
SEEN = ("cmdline of", "status of", "stat of", "limits of", "exe of")
TOUCHED = ("signal to", "stop of", "signal by descriptor to", "trace of", "memory of")
RESTRAINED = ("limits for", "priority of", "cores of")


def test_files_of_the_service_and_of_others_are_closed(scene: Scene, found: dict[str, Any]) -> None:
    assert closed(found, (*FILE_TRIES, *STATUS_TRIES), scene.files) == {}
    directories = ("data directory", "executions", "execution of alice", "queue", "uploads", "snapshots", "home")
    assert closed(found, (*DIRECTORY_TRIES, "mode of"), (*directories, "catalogue")) == {}


def test_other_processes_are_out_of_sight_and_reach(scene: Scene, found: dict[str, Any]) -> None:
    assert closed(found, (*PROC_FILES, *SEEN, *TOUCHED, *RESTRAINED), scene.processes()) == {}
    assert max(found["processes seen"]) < 100  # they count from 1
    assert found["own /proc/self/maps"] == "open"  # some programs need it
    assert {found["abstract socket"], found["socket with a path"]} <= {"PermissionError", "FileNotFoundError"}


def test_a_tool_has_what_it_needs_and_inherits_nothing(scene: Scene, found: dict[str, Any]) -> None:
    assert found["shared memory"] == "open"
    (planted,) = found["shared memory seen"]
    assert not Path("/dev/shm", planted).exists()
    assert not Path("/tmp", planted).exists()
    assert (found["core dumps"], found["new privileges"]) == (0, "1")
    assert found["descriptors"] == []
    assert found["terminal"] != "open"
    assert {found["mount in it"], found["writable mount"]} == {"PermissionError"}
    assert set(found["variables"]) <= {
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "PWD",
        "OLDPWD",
        "_",
    }


ESCAPES = [
    "../../../../../../{target}",
    "{up}{target}",
    "{target}",
    "{up}{parent}/[{first}]*",
    "{up}{parent}/*",
    "*/../../../../../*",
    "..",
    "/proc/{master}/environ",
    "{up}proc/{master}/environ",
]


def test_outputs_are_taken_from_the_output_directory_only(scene: Scene) -> None:
    target = scene.files["vault.key"]
    master = scene.processes()["master"]
    words = {"target": target, "parent": target.parent, "first": target.name[0], "up": "../" * 20, "master": master}
    patterns = [escape.format(**words) for escape in ESCAPES]
    others = [(workflow, pattern) for workflow in ("contents", "listing", "secondary") for pattern in patterns[:1]]
    tries = [*(("glob", pattern) for pattern in patterns), *others]
    for (workflow, pattern), (execution, seen) in zip(
        tries, attacks(scene.service, [(workflow, {"pattern": pattern}) for workflow, pattern in tries]), strict=True
    ):
        assert execution["status"] == "FAILED", (workflow, pattern)
        assert execution["reason"], (workflow, pattern)
        assert [secret for secret in scene.secrets if secret in seen] == [], (workflow, pattern)


def test_an_output_outside_is_refused_by_name(scene: Scene) -> None:
    execution, _ = attack(scene.service, "glob", pattern="../../[hv]*")
    assert "../../[hv]* leads out of the output directory" in execution["reason"]
    execution, seen = attack(scene.service, "glob", pattern="harmless.txt")
    assert execution["status"] == "SUCCEEDED"
    assert "harmless" in seen


def test_files_that_an_expression_or_a_tool_names_are_refused(scene: Scene) -> None:
    tries: list[tuple[str, dict[str, str]]] = []
    for name in ("vault.key", "upload of alice"):
        path = str(scene.files[name])
        report = json.dumps({"file": {"class": "File", "location": f"file://{path}"}})
        tries += [
            ("literal", {"path": path, "kind": "File"}),
            ("literal", {"path": str(Path(path).parent), "kind": "Directory"}),
            ("passed", {"path": path}),
            ("reported", {"report": report}),
            ("reported", {"report": report.replace("location", "path").replace("file://", "")}),
        ]
    for (workflow, inputs), (execution, seen) in zip(tries, attacks(scene.service, tries), strict=True):
        assert execution["status"] == "FAILED" or not execution["outputs"].get("file"), (workflow, inputs)
        assert [secret for secret in scene.secrets if secret in seen] == [], (workflow, inputs)


def test_links_in_outputs_lead_nowhere(scene: Scene) -> None:
    names = ("vault.key", "upload of alice", "database")
    links = "; ".join(f"ln -s '{scene.files[name]}' link{number}" for number, name in enumerate(names))
    out = "while [ ! -e outputs ] && [ $PWD != / ]; do cd ..; done"
    commands = (
        f"mkdir folder; cd folder; {links}",
        f'{links}; printf \'{{"text": {{"class": "File", "path": "%s/link0"}}}}\' $PWD > cwl.output.json',
        # The directory of the outputs itself becomes a link.
        f"{out}; rm -rf outputs; ln -s '{scene.service.data}' outputs",
    )
    for _, seen in attacks(scene.service, [("command", {"command": command}) for command in commands]):
        assert [secret for secret in scene.secrets if secret in seen] == []


def test_nothing_outside_is_overwritten(scene: Scene) -> None:
    text_of_mallory = scene.service.mallory.upload("mine.txt", b"overwritten\n")
    before = {name: path.read_bytes() for name, path in scene.files.items() if name not in ("database", "audit log")}
    planted = scene.service.home / ".hpcwaas-api.yaml"
    targets = [*(str(scene.files[name]) for name in ("vault.key", "upload of alice", "state of alice")), str(planted)]
    given = {"option": {"text": text_of_mallory}, "stdout": {}, "entry": {}}
    tries = [(workflow, {"name": path, **more}) for workflow, more in given.items() for path in targets]
    attacks(scene.service, [*tries, ("option", {"name": "../" * 20 + targets[1].lstrip("/"), **given["option"]})])
    unchanged = {name: scene.files[name].read_bytes() for name in before}
    changing = {"launcher's log", "lock"}
    assert {name for name in before if unchanged[name] != before[name]} <= changing
    assert not planted.exists()
    assert scene.service.mallory("GET", f"/files/{text_of_mallory}").json()["size"] == len(b"overwritten\n")


def test_a_tool_cannot_say_how_its_execution_ended(scene: Scene) -> None:
    forged = json.dumps({"status": "SUCCEEDED", "started_at": None, "ended_at": None, "reason": None, "steps": []})
    script = f"""
        here=$PWD; while [ ! -e "$here/request.json" ] && [ "$here" != / ]; do here=$(dirname "$here"); done
        for name in state.json request.json outputs.json log.jsonl cancel supervisor.lock state.json.new; do
            echo '{forged}' > "$here/$name"; rm -f "$here/$name"; mv "$here/$name" "$here/x"; chmod 0 "$here/$name"
        done
        chmod 0 "$here"; mv "$here/work" "$here/elsewhere"
        exit 7
    """
    execution, _ = attack(scene.service, "command", command=script)
    assert execution["status"] == "FAILED"
    assert "7" in execution["reason"]


def test_all_processes_of_a_tool_end_with_it_and_it_ends_no_others(scene: Scene) -> None:
    before = scene.processes()
    mark = f"sleep {2 * 10**6 + os.getpid()}"  # not for as long as alice's own tool, which runs on
    execution, _ = attack(scene.service, "command", command=f"(setsid {mark} &) ; sleep 0.2; kill -9 -1; kill -9 1")
    assert execution["status"] in ("FAILED", "SUCCEEDED")
    assert scene.processes() == before
    lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if mark in line]
    assert scene.service.mallory("GET", "/workflows").status_code == 200


def test_a_fork_bomb_is_stopped_and_nobody_else_notices() -> None:
    with serving({"cwl": {"limits": {"processes": 100}}}) as service:
        path = service.alice.trigger("script", script="sleep 3; echo fine > a.txt")
        execution, _ = attack(service, "command", command="while :; do sleep 60 & done")
        assert execution["status"] == "FAILED"
        assert "more than 100 processes and threads" in execution["reason"] or "fork" in execution["reason"]
        assert service.alice.finished(path, 60)["status"] == "SUCCEEDED"
