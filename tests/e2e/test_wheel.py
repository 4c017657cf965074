"""A wheel built from the tree holds everything, and works in an empty environment elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import waas_cli
import yaml

import hpcwaas

ROOT = Path(__file__).parents[2]
SOURCES = ("LICENSE", "README.md", "openapi.yaml", "pyproject.toml", "setup.cfg", "setup.py")
FOLDERS = ("cli", "examples", "hpcwaas")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds in a copy, so that the tree stays clean, with the setuptools that is here, so that no index is needed."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        shutil.copy(ROOT / name, tree)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", tree / "dist", tree], check=True, timeout=120)
    (wheel,) = (tree / "dist").iterdir()
    return wheel


def sources(folder: str, installed: str) -> set[str]:
    """The files of a folder of the tree under the names that they have when they are installed."""
    files = (path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {f"{installed}/{path.as_posix()}" for path in files if "__pycache__" not in path.parts}


COMMAND = {
    name
    for name in sources("cli", "waas_cli")
    if not name.startswith(("waas_cli/pyproject.toml", "waas_cli/MANIFEST.in", "waas_cli/packaging/"))
}


def test_wheel_holds_everything_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = {name.partition(".dist-info/")[2] for name in archive.namelist()} - {""}

    assert names == (
        sources("hpcwaas", "hpcwaas") | COMMAND | sources("examples", "hpcwaas/examples") | {"hpcwaas/openapi.yaml"}
    )
    assert {"hpcwaas/py.typed", "waas_cli/py.typed", "hpcwaas/store/migrations/env.py"} <= names
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= metadata


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the command alone is built from."""
    tree = tmp_path_factory.mktemp("command")
    shutil.copytree(ROOT / "cli", tree / "cli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "requirements", tree / "requirements")
    shutil.copy(ROOT / "Makefile", tree)
    return tree


def make(tree: Path, target: str, *words: str) -> None:
    command = ["make", "--no-print-directory", f"VENV={sys.prefix}", target, *words]
    subprocess.run(command, cwd=tree, check=True, timeout=300)


@pytest.fixture(scope="module")
def command_wheel(tree: Path) -> Path:
    make(tree, "command", "WHEEL=--no-build-isolation --no-index")
    (wheel,) = (tree / "dist").glob("waas-*.whl")
    return wheel


def test_the_command_alone_is_a_wheel_of_the_same_version(command_wheel: Path) -> None:
    assert waas_cli.__version__ == hpcwaas.__version__
    assert command_wheel.name.startswith(f"waas-{hpcwaas.__version__}-")
    with zipfile.ZipFile(command_wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        pages = {name for name in names if ".data/data/share/man/man1/waas" in name}
        assert names - pages == COMMAND
        (page,) = [name for name in pages if name.endswith("/waas-workflows-trigger.1")]
        assert archive.read(page).decode().startswith('.TH "WAAS-WORKFLOWS-TRIGGER" 1')
        assert len(pages) > 20


@pytest.mark.system
@pytest.mark.timeout(700)
def test_the_command_alone_works_without_the_service(command_wheel: Path, url: str, tmp_path: Path, home: Path) -> None:
    venv.create(tmp_path, with_pip=True)
    pip: list[str | Path] = [tmp_path / "bin" / "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "-c", ROOT / "constraints.txt", command_wheel], check=True, timeout=300)
    listed = subprocess.run([*pip, "list", "--format=freeze"], capture_output=True, text=True, check=True, timeout=60)

    assert len(listed.stdout.split()) < 16
    assert "hpcwaas" not in listed.stdout
    assert "slow-count" in answer_of([tmp_path / "bin" / "waas"], home)
    assert (tmp_path / "share" / "man" / "man1" / "waas.1").exists()


@pytest.mark.system
@pytest.mark.timeout(700)
def test_the_command_in_one_file_works(tree: Path, url: str, home: Path) -> None:
    make(tree, "pyz")
    pyz = tree / "dist" / "waas.pyz"

    # Isolated: nothing that is installed for the user or named by a variable is found.
    assert "slow-count" in answer_of([sys.executable, "-I", "-S", pyz], home)
    with zipfile.ZipFile(pyz) as archive:
        assert [name for name in archive.namelist() if name.endswith((".so", ".pyd", ".pyc"))] == []


def answer_of(waas: list[str | Path], home: Path) -> str:
    """The workflows that a command lists; it finds the service as its user's other commands do."""
    environment = {"PATH": os.defpath, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
    command = [*waas, "workflows", "list"]
    answer = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a new environment that has the wheel and nothing else in it."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    install: list[str | Path] = [environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-c", ROOT / "constraints.txt", f"{wheel}[cwl]"], check=True, timeout=600)
    return environment / "bin"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def environment(installed: Path, home: Path) -> dict[str, str]:
    return {
        "PATH": f"{installed}{os.pathsep}{os.defpath}",
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "HWA_DATA_DIR": str(home / "data"),
    }


@pytest.fixture(scope="module")
def url(installed: Path, home: Path, environment: dict[str, str]) -> Iterator[str]:
    """The address of a service that runs from the wheel on a free port."""
    command: list[str | Path] = [installed / "hpcwaas-api", "--listen-address", "127.0.0.1:0"]
    with (home / "log").open("wb") as log:
        service = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
    try:
        profile = home / "state" / "waas" / "local.yaml"
        deadline = time.monotonic() + 60
        while not (profile.exists() and profile.stat().st_size):
            assert service.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.1)
        found = yaml.safe_load(profile.read_text())
        # Who asks first waits for the catalogue to be read, and `waas` says so after a while.
        token = {"Authorization": f"Bearer {found['access_token']}"}
        assert requests.get(f"{found['api_url']}/workflows", headers=token, timeout=120).ok
        yield found["api_url"]
    finally:
        service.terminate()
        service.wait(60)


@pytest.mark.system
@pytest.mark.timeout(700)
@pytest.mark.parametrize(
    ("command", "says"), [("hpcwaas-api --help", "Usage: hpcwaas-api"), ("waas --version", "0.1.0")]
)
def test_commands_answer(command: str, says: str, installed: Path, home: Path, environment: dict[str, str]) -> None:
    name, *arguments = command.split()
    answer = subprocess.run(
        [installed / name, *arguments],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert says in answer.stdout


@pytest.mark.system
@pytest.mark.timeout(700)
@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/openapi.yaml", "/openapi.json", "/ui/"])
def test_service_answers(path: str, url: str) -> None:
    answer = requests.get(url + path, timeout=60)

    assert answer.status_code == 200
    assert answer.content


@pytest.mark.system
@pytest.mark.timeout(700)
def test_example_runs(url: str, installed: Path, home: Path, environment: dict[str, str]) -> None:
    trigger: list[str | Path] = [
        installed / "waas",
        "workflows",
        "trigger",
        "slow-count",
        "-i",
        "seconds=1",
        "--follow",
        "--logs",
    ]

    answer = subprocess.run(trigger, cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "1 of 1" in answer.stdout + answer.stderr
