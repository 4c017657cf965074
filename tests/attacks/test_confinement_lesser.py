"""What holds and what doesn't on machines that have less: no namespaces for ordinary users, no Landlock."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import partial
from pathlib import Path

from hpcwaas.engines.cwl.confinement import landlock
from tests.attacks.ordinary import give, ordinary
from tests.attacks.shared_service import SharedService, alices, serving
from tests.attacks.test_confinement import (
    DIRECTORY_TRIES,
    FILE_TRIES,
    PROC_FILES,
    SEEN,
    STATUS_TRIES,
    TOUCHED,
    Scene,
    closed,
    probe,
)
from tests.e2e.processes import BIN, eventually

LANDLOCK = "444,445,446"
_IN_NAMESPACES = 0x10000000
NAMESPACES = {"x86_64": f"272,435,56&{_IN_NAMESPACES}", "aarch64": f"97,435,220&{_IN_NAMESPACES}"}[platform.machine()]


def lesser(missing: str) -> tuple[str, ...]:
    """What makes a kernel older."""
    return (sys.executable, str(Path(__file__).with_name("older_kernel.py")), missing)


def in_use(service: SharedService) -> Scene:
    scene = Scene(service, alices(service))
    eventually(lambda: "tool of alice" in scene.processes())
    return scene


def test_landlock_alone_keeps_content_closed_and_the_start_tells_what_it_leaves_open() -> None:
    with serving(before=lesser(NAMESPACES)) as service:
        scene = in_use(service)
        assert "Executions can change modes and times of files of the service's account" in service.log.read_text()
        files, found = list(scene.files), probe(scene)
    directories = ("data directory", "executions", "execution of alice", "queue", "uploads", "snapshots", "home")
    assert closed(found, FILE_TRIES, files) == {}
    assert closed(found, DIRECTORY_TRIES, directories) == {}
    processes = ("master", "worker", "launcher", "supervisor", "runner", "tool of alice")
    assert closed(found, (*PROC_FILES, *SEEN), processes) == {}
    if landlock.version() >= landlock.SIGNALS_SINCE:
        assert closed(found, TOUCHED, processes) == {}
        assert found["abstract socket"] != "open"
    # What the log told of.
    assert set(closed(found, STATUS_TRIES, ["vault.key"])) >= {"mode of vault.key", "times of vault.key"}
    assert found["socket with a path"] == "open"


def test_without_landlock_a_shared_service_does_not_start(tmp_path: Path) -> None:
    with serving(before=lesser(LANDLOCK), start=False) as service:
        answer = subprocess.run(
            ordinary(
                [*service.before, str(BIN / "hpcwaas-api"), "config", "check", "--config", str(service.configuration)]
            ),
            env=service.environment | service.variables,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 1
        assert "cwl.confinement: this kernel has no Landlock" in answer.stderr
        assert "`none` serves all the same" in answer.stderr


def test_without_confinement_it_says_so_and_everything_is_open() -> None:
    with serving({"cwl": {"confinement": "none"}}, before=lesser(LANDLOCK)) as service:
        ready = partial(service.operator, "GET", "/health/ready")
        eventually(lambda: "Executions are not confined" in ready().text)
        assert (ready().status_code, ready().json()["status"]) == (200, "degraded")
        found = probe(in_use(service))
    assert {"read vault.key", "write database", "read upload of alice"} <= set(
        closed(found, FILE_TRIES, ["vault.key", "database", "upload of alice"])
    )
    # The service closes itself all the same.
    assert closed(found, PROC_FILES, ("master", "worker", "launcher", "supervisor")) == {}


def test_the_tools_of_the_local_mode_are_confined_where_that_can_be(tmp_path: Path) -> None:
    give(tmp_path)
    with serving(before=lesser(LANDLOCK), shared=False) as service:
        assert "Executions can read and change all files" in service.log.read_text()
