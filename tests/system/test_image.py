"""The images, built from the Dockerfile and run, without a container engine: by buildah, on a base made of Debian."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.e2e.processes import eventually
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".images"
"""What takes long and is kept: the base. `make clean` removes it."""
BASE = "docker.io/library/python:3.13-slim"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


class Buildah:
    """Runs buildah with a storage of its own."""

    def __init__(self, run: Path) -> None:
        storage = CACHE / "storage"
        self._command = ["buildah", "--storage-driver", "overlay", "--root", str(storage), "--runroot", str(run)]

    def __call__(self, *arguments: str | Path, fails: bool = False) -> str:
        """Runs a command to its end; gives what it printed."""
        done = subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, timeout=800, check=False, cwd=ROOT
        )
        assert fails or done.returncode == 0, f"{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout.strip()

    def configuration(self, image: str) -> dict[str, Any]:
        """What the image says about how it is run."""
        found: dict[str, Any] = json.loads(self("inspect", "--type", "image", image))["OCIv1"]["config"]
        return found

    @contextlib.contextmanager
    def container(self, image: str) -> Iterator[str]:
        """A container of an image."""
        name = self("from", "--pull-never", image)
        try:
            yield name
        finally:
            self("rm", name)

    def inside(self, name: str, *command: str) -> list[str]:
        """The command line that runs something in a container."""
        return [*self._command, "run", "--isolation", "chroot", name, "--", *command]


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Buildah:
    missing = [name for name in ("buildah", "debootstrap") if not shutil.which(name)]
    assert not missing, f"{missing} not installed: on Debian, apt-get install buildah debootstrap"
    assert os.geteuid() == 0, "debootstrap makes a base for root only"
    CACHE.mkdir(exist_ok=True)
    run = Buildah(tmp_path_factory.mktemp("run"))
    if BASE not in run("images", "--format", "{{.Name}}:{{.Tag}}"):
        _make_base(run)
    return run


def _make_base(buildah: Buildah) -> None:
    rootfs = CACHE / "rootfs"
    if not (CACHE / "rootfs.done").exists():
        shutil.rmtree(rootfs, ignore_errors=True)
        packages = "--include=python3,python3-venv,ca-certificates"
        log = subprocess.run(
            ["debootstrap", "--variant=minbase", packages, "stable", rootfs],
            capture_output=True,
            text=True,
            check=False,
        )
        assert log.returncode == 0, log.stdout[-3000:]
        (CACHE / "rootfs.done").touch()
    (rootfs / "usr/local/bin/python").unlink(missing_ok=True)
    (rootfs / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    # Of this machine: what it trusts may be needed to reach the package index.
    shutil.copyfile(CERTIFICATES, rootfs / CERTIFICATES.relative_to("/"))
    name = buildah("from", "scratch")
    buildah("copy", name, rootfs, "/")
    buildah("config", "--env", "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin", name)
    buildah("config", "--env", f"PIP_CERT={CERTIFICATES}", name)
    buildah("commit", "--rm", name, BASE)


def built(buildah: Buildah, target: str | None) -> Iterator[str]:
    """Builds an image and removes it."""
    image = f"localhost/hpcwaas-{target or 'default'}"
    which = ["--target", target] if target else []
    buildah("bud", "--isolation", "chroot", "--pull-never", "--layers", "--format", "docker", *which, "-t", image, ".")
    yield image
    buildah("rmi", image)


@pytest.fixture(scope="module")
def service(buildah: Buildah) -> Iterator[str]:
    yield from built(buildah, None)


@pytest.fixture(scope="module")
def cli(buildah: Buildah) -> Iterator[str]:
    yield from built(buildah, "cli")


def run(buildah: Buildah, image: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `docker run --rm IMAGE ARGUMENTS` does."""
    configuration = buildah.configuration(image)
    command = [*configuration["Entrypoint"], *(arguments or configuration.get("Cmd") or ())]
    with buildah.container(image) as name:
        return subprocess.run(buildah.inside(name, *command), capture_output=True, text=True, timeout=120, check=False)


def test_the_service_answers_for_help(buildah: Buildah, service: str) -> None:
    done = run(buildah, service, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: hpcwaas-api")
    assert run(buildah, service, "config", "reference").returncode == 0
    assert run(buildah, service, "--nonsense").returncode == 2


def test_the_service_starts_and_is_healthy(buildah: Buildah, service: str) -> None:
    configuration = buildah.configuration(service)
    assert configuration["User"] == "10001:10001"
    assert configuration["Entrypoint"][0] == "tini"
    port = free_port()
    with buildah.container(service) as name:
        command = buildah.inside(name, *configuration["Entrypoint"], "-l", f"127.0.0.1:{port}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:

                def ready() -> bool:
                    assert process.poll() is None, process.stdout and process.stdout.read()
                    try:
                        return requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=60).status_code == 200
                    except requests.ConnectionError:
                        return False

                eventually(ready, 60)
                assert requests.get(f"http://127.0.0.1:{port}/health/live", timeout=60).json() == {"status": "ok"}
            finally:
                # buildah hands no signal on to what it runs.
                inside = psutil.Process(process.pid).children(recursive=True)
                for child in inside:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.terminate()
                assert psutil.wait_procs(inside, 30)[1] == []


def test_the_command_answers_for_help_as_it_always_did(buildah: Buildah, cli: str) -> None:
    done = run(buildah, cli, "help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: waas")
    assert run(buildah, cli, "--version").returncode == 0
    assert run(buildah, cli, "workflows", "list").returncode != 0  # no service is known


def test_the_command_brings_no_service_along(buildah: Buildah, cli: str) -> None:
    with buildah.container(cli) as name:
        command = buildah.inside(name, "/opt/hpcwaas/bin/pip", "list", "--format=freeze")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        installed = {line.partition("==")[0] for line in done.stdout.split()}
        assert "waas" in installed
        assert installed & {"hpcwaas", "flask", "Flask"} == set()
