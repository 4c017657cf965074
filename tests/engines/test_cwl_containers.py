"""Containers of tools: which engine starts them, what the runner is told, and what users hear when there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.engines.cwl.checks import problems
from hpcwaas.engines.cwl.containers import Containers
from hpcwaas.engines.cwl.settings import CWLSettings
from tests.e2e.processes import eventually, log_text
from tests.service import Client, as_user, make_settings, serving

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
{how}: {{DockerRequirement: {{dockerPull: "example.invalid/boxed:1"}}}}
baseCommand: [echo, hello]
inputs: {{}}
outputs: {{text: stdout}}
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a program on PATH, before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def put(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return put


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """One tool that requires a container, one that has it as a hint, and a workflow around the first."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    for name, how in (("required", "requirements"), ("hinted", "hints")):
        (folder / f"{name}.cwl").write_text(TOOL.format(how=how))
    (folder / "around.cwl").write_text(
        "cwlVersion: v1.2\nclass: Workflow\ninputs: {}\noutputs: {}\n"
        "steps: {first: {run: required.cwl, in: {}, out: []}}\n"
    )
    return folder


@pytest.fixture
def service(tmp_path: Path, catalogue: Path) -> Iterator[Client]:
    """A user of a service without containers."""
    with serving(make_settings(tmp_path / "data", cwl={"catalogue": catalogue, "containers": "none"})) as url:
        yield as_user(url, "alice")


def settings(**members: Any) -> CWLSettings:
    return CWLSettings.model_validate(members)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("docker", ()),
        ("podman", ("--podman",)),
        ("singularity", ("--singularity",)),
        ("apptainer", ("--singularity",)),
        ("udocker", ("--user-space-docker-cmd=udocker",)),
        ("none", ("--no-container",)),
    ],
)
def test_each_engine_is_one_setting(name: str, arguments: tuple[str, ...]) -> None:
    assert Containers(settings(containers=name)).arguments == arguments


def test_without_the_setting_the_runner_is_told_nothing() -> None:
    containers = Containers(settings())
    assert (containers.arguments, containers.socket, containers.environment()) == ((), None, {})


def test_an_argument_is_added_to_the_default_ones() -> None:
    given = settings(runner={"extra_arguments": ["--no-container"]})
    containers = Containers(given)
    words = given.runner.words(containers.arguments)
    assert words[-1] == "--no-container"
    assert words[:-1] == settings().runner.words()
    assert "--relax-path-checks" in words
    assert containers.name == "none"


def test_an_engine_in_the_arguments_alone_is_the_runners_own() -> None:
    own = settings(runner={"extra_arguments": ["--user-space-docker-cmd=dx-docker"]})
    assert Containers(own).name == ""
    assert Containers(settings(runner={"command": ["some-runner"]})).name == ""


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"containers": "udocker"}, "there is no program udocker on PATH"),
        ({"containers": "podman", "runner": {"command": ["sh"]}}, "is for cwltool and Toil"),
        ({"containers": "none", "runner": {"extra_arguments": ["--podman"]}}, "--podman in the runner's arguments"),
    ],
)
def test_a_setting_that_cannot_work_stops_the_start(
    members: dict[str, Any], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sh").symlink_to(str(shutil.which("sh")))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = dict(problems(settings(catalogue=tmp_path, **members), local=True))
    assert expected in found["containers"]


@pytest.mark.parametrize("name", ["podman", "singularity", "apptainer"])
def test_an_engine_that_mounts_needs_executions_that_are_not_confined(
    name: str, program: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    program("podman", "true")
    program("singularity", "true")
    confined = settings(catalogue=tmp_path, containers=name, confinement="landlock")
    assert "mounts file systems, which a confined execution can't" in dict(problems(confined, local=True))["containers"]
    free = settings(catalogue=tmp_path, containers=name, confinement="none")
    assert "containers" not in dict(problems(free, local=True))


@pytest.mark.parametrize(("user", "expected"), [(0, "no container for root"), (1000, "info --format {{.Host.Arch}}`")])
def test_podman_that_cannot_start_containers_stops_the_start(
    user: int, expected: str, program: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    program("podman", "echo 'newuidmap: not found' >&2; exit 125")
    free = settings(catalogue=tmp_path, containers="podman", confinement="none")
    told = dict(problems(free, local=True))["containers"]
    assert expected in told
    assert ("newuidmap: not found. Make that command succeed" in told) is (user != 0)


def test_the_service_of_podman_serves_confined_executions(program: Callable[[str, str], None], tmp_path: Path) -> None:
    program("podman", "true")
    place = {"PATH": os.environ["PATH"], "CONTAINER_HOST": f"unix://{tmp_path}/podman.sock", "HOME": "/home/service"}
    containers = Containers(settings(containers="podman"), place)
    assert list(containers.problems(confined=True)) == []
    assert containers.readable() == [tmp_path / "podman.sock", Path("/etc/containers")]
    assert containers.environment() == {"CONTAINER_HOST": place["CONTAINER_HOST"]}
    alone = Containers(settings(containers="podman"), {"HOME": "/home/service", "XDG_CONFIG_HOME": "/etc/service"})
    assert alone.environment() == {"XDG_DATA_HOME": "/home/service/.local/share", "XDG_CONFIG_HOME": "/etc/service"}


def test_an_engine_that_does_not_answer_is_told(program: Callable[[str, str], None]) -> None:
    program("docker", "echo 'Cannot connect to the Docker daemon.' >&2; exit 1")
    assert Containers(settings(containers="docker")).silent() == (
        "No container can be started: `docker version --format {{.Server.Version}}` failed: Cannot connect to the "
        "Docker daemon."
    )
    program("docker", "echo 28.2")
    assert Containers(settings(containers="docker")).silent() is None


def test_what_requires_a_container_is_refused_before_it_starts(service: Client) -> None:
    expected = (
        "runs in a container, example.invalid/boxed:1, and containers are turned off on this machine (setting "
        "cwl.containers). Run the workflow on a site that has containers, or ask an operator of the service."
    )
    for workflow, step in (("required", "required"), ("around", "first")):
        for parameters in ({}, {"dry_run": "true"}):
            answer = service("POST", f"/workflows/{workflow}", params=parameters, json={"inputs": {}})
            assert answer.status_code == 400, answer.text
            assert answer.json()["detail"] == f"Step {step} {expected}"


def test_a_hint_is_passed_over_and_the_log_says_so(service: Client) -> None:
    path = service.trigger("hinted")
    assert service.finished(path)["status"] == "SUCCEEDED"
    log = "\n".join(entry["content"] for entry in service("GET", f"{path}/logs").json()["logs"])
    assert (
        "A tool has the hint to run in the container example.invalid/boxed:1. Containers are turned off here, so it "
        "runs without." in log
    )


def test_an_image_that_cannot_be_had_is_a_plain_reason(
    tmp_path: Path, catalogue: Path, program: Callable[[str, str], None]
) -> None:
    program("docker", '[ "$1" = pull ] && echo "no route to the registry" >&2 && exit 1; [ "$1" = version ]')
    expected = (
        "A tool asks for a container (DockerRequirement), and none could be started: `docker pull "
        "example.invalid/boxed:1` failed with status 1. Ask an operator of the service: the setting cwl.containers "
        "says what starts containers on this machine, and the log may tell more."
    )
    with serving(make_settings(tmp_path / "data", cwl={"catalogue": catalogue})) as url:
        alice = as_user(url, "alice")
        for path in [alice.trigger(workflow) for workflow in ("required", "hinted", "around")]:
            ended = alice.finished(path)
            assert ended["status"] == "FAILED"
            assert ended["reason"].removeprefix("Step first failed: ") == expected  # known or not when it ends


def test_a_cancelled_execution_leaves_no_container_with_the_daemon(
    tmp_path: Path, catalogue: Path, program: Callable[[str, str], None]
) -> None:
    identifier, killed = "0123456789abcdef" * 4, tmp_path / "killed"
    program(
        "docker",
        'case "$1" in\n'
        "inspect) echo '[{}]';;\n"
        "run) for word; do\n"
        f'  case "$word" in --cidfile=*) printf {identifier} > "${{word#--cidfile=}}"; echo begun >&2; esac\n'
        "  done; exec sleep 300;;\n"
        f'kill) shift; echo "$@" > {killed};;\n'
        "esac",
    )
    with serving(make_settings(tmp_path / "data", cwl={"catalogue": catalogue})) as url:
        alice = as_user(url, "alice")
        path = alice.trigger("required")
        eventually(lambda: "begun" in log_text(alice, path))
        assert alice("DELETE", path).status_code == 202
        assert alice.finished(path)["status"] == "CANCELLED"
    assert killed.read_text() == f"{identifier}\n"
