"""Tools in containers on a site, really: udocker and PRoot, on its login node and in jobs of its Slurm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import udocker

from tests.e2e.processes import log_text
from tests.system.slurm_site import Site, SiteService, one_node
from tests.system.test_containers import IMAGE, TOOL, TOOLS_VERSION, make_image

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ENGINES = {"login": ("cwltool", {}), "job": ("cwltool", {"leader": "job"}), "toil": ("toil", {})}
PATIENCE = 120.0


def install_udocker(site: Site) -> str:
    """Puts udocker, its image and what it takes for its tools where an account has them; gives lines of a prologue."""
    programs = site.directory / "programs"
    (programs / "bin").mkdir(parents=True)
    shutil.copytree(Path(udocker.__file__).parent, programs / "udocker", ignore=shutil.ignore_patterns("__pycache__"))
    program = programs / "bin" / "udocker"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={programs} exec /usr/bin/python3 -B -m udocker.maincmd "$@"\n')
    program.chmod(0o755)
    (site.directory / "image").mkdir()
    image = make_image(site.directory / "image")
    prologue = f"export PATH={programs}/bin:$PATH UDOCKER_USE_PROOT_EXECUTABLE={shutil.which('proot')}\n"
    tools = f"mkdir -p .udocker/lib && echo {TOOLS_VERSION} > .udocker/lib/VERSION"
    command = ["runuser", "-l", site.alice.name, "-c", f"{prologue} {tools} && udocker import {image} {IMAGE}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return prologue


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with one_node() as site:
        yield site


@pytest.fixture(scope="module")
def service(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteService]:
    sites = {
        name: site.settings(kind, work_dir=f"{{home}}/{name}", containers="udocker", **more)
        for name, (kind, more) in ENGINES.items()
    }
    without = Path(sites["login"]["prologue"])
    prologue = site.directory / "with-udocker.sh"
    prologue.write_text(without.read_text() + install_udocker(site))
    sites = {name: {**settings, "prologue": str(prologue)} for name, settings in sites.items()}
    sites["missing"] = {**sites["login"], "prologue": str(without)}
    service = SiteService(tmp_path_factory.mktemp("service"), sites)
    (service.catalogue / "boxed.cwl").write_text(TOOL)
    try:
        service.start()
        client = service.as_user("alice")
        key = service.connect("alice", "login", site.alice)
        for each in sites:
            answer = client("PUT", f"/sites/{each}/account", json={"user": site.alice.name, "ssh_key": key})
            assert answer.ok, answer.text
        yield service
    finally:
        service.end()


def test_a_tool_runs_in_its_container(service: SiteService) -> None:
    alice = service.as_user("alice")
    upload = alice.upload("given.txt", b"hello\n")
    for path in [service.start_on(alice, where, "boxed", given=upload) for where in ENGINES]:
        ended = alice.finished(path, within=PATIENCE)
        assert ended["status"] == "SUCCEEDED", (ended["reason"], log_text(alice, path))
        assert alice("GET", f"{path}/outputs/told").text == "hello in the image\n"


def test_the_check_of_an_account_looks_for_the_engine(service: SiteService) -> None:
    alice = service.as_user("alice")

    def checked(site: str) -> dict[str, Any]:
        answer = alice("POST", f"/sites/{site}/account/check").json()
        assert answer["usable"] is True  # for tools that ask for no container
        (point,) = [point for point in answer["points"] if point["id"] == "containers"]
        return dict(point)

    assert (checked("login")["status"], checked("login")["detail"]) == ("ok", "Udocker is there, on the login node.")
    missing = checked("missing")
    assert missing["status"] == "warning"
    assert "there is no program `udocker`, after the site's `prologue`" in missing["detail"]
    assert "containers: none" in missing["advice"]
