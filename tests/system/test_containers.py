"""Tools in containers, really: udocker and PRoot, inside of the confinement of executions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import log_text
from tests.service import Client, as_user, make_settings, serving
from tests.system.test_toil import ARGUMENTS, BIN

IMAGE = "localhost/tiny:1"
TOOL = f"""\
cwlVersion: v1.2
class: CommandLineTool
requirements: {{DockerRequirement: {{dockerPull: "{IMAGE}"}}}}
baseCommand: [sh, -c, 'read -r where < /where; read -r given < "$0"; echo "$given $where" > told.txt; echo > /where']
inputs: {{given: {{type: File, inputBinding: {{}}}}}}
outputs: {{told: {{type: File, outputBinding: {{glob: told.txt, loadContents: true}}}}}}
successCodes: [0, 2]
"""
TOOLS_VERSION = "1.2.11"
"""What udocker takes its tools for: PRoot is the system's, and nothing is to be downloaded."""

pytestmark = pytest.mark.system


def make_image(folder: Path) -> Path:
    """A shell that needs no libraries, and a file that tells the image from the machine."""
    shell = str(shutil.which("busybox"))
    where, image = folder / "where", folder / "image.tar"
    where.write_text("in the image\n")
    (folder / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (folder / "group").write_text("root:x:0:\n")
    with tarfile.open(image, "w", dereference=True) as archive:
        archive.add(shell, "bin/sh")
        archive.add(where, "where")
        archive.add(folder / "passwd", "etc/passwd")
        archive.add(folder / "group", "etc/group")
    return image


@pytest.fixture(scope="module", params=["cwltool", "toil"])
def alice(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A user of a service that has udocker, with the image in it, and one of the runners."""
    # Debian's PRoot has its temporary files in /tmp, where executions find their own directory for them; not if the
    # service has anything there, such as its data.
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    patch = pytest.MonkeyPatch()
    try:
        for name in ("catalogue", "bin", "udocker/lib", "image"):
            (folder / name).mkdir(parents=True)
        (folder / "catalogue" / "boxed.cwl").write_text(TOOL)
        (folder / "udocker" / "lib" / "VERSION").write_text(TOOLS_VERSION)
        program = folder / "bin" / "udocker"
        # It refuses to run as root, which tests may do.
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m udocker.maincmd --allow-root "$@"\n')
        program.chmod(0o755)
        path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        patch.setenv("PATH", path)
        patch.setenv("UDOCKER_DIR", str(folder / "udocker"))
        patch.setenv("UDOCKER_USE_PROOT_EXECUTABLE", str(shutil.which("proot")))
        command: list[str | Path] = [program, "import", make_image(folder / "image"), IMAGE]
        subprocess.run(command, check=True, capture_output=True)
        toil = {
            "command": ["env", f"PATH={BIN}{os.pathsep}{path}", "toil-cwl-runner"],
            "arguments": [word for word in ARGUMENTS if word != "--no-container"],
        }
        runner = {"runner": toil} if request.param == "toil" else {}
        cwl = runner | {"catalogue": folder / "catalogue", "containers": "udocker", "writable": ["/tmp"]}
        with serving(make_settings(folder / "data", cwl=cwl)) as url:
            yield as_user(url, "alice")
    finally:
        patch.undo()
        shutil.rmtree(folder)


def test_tools_run_in_containers_and_each_has_the_image_as_it_was(alice: Client) -> None:
    upload = alice.upload("given.txt", b"hello\n")
    for _ in range(2):
        path = alice.trigger("boxed", given=upload)
        ended = alice.finished(path)
        assert ended["status"] == "SUCCEEDED", (ended["reason"], log_text(alice, path))
        assert alice("GET", f"{path}/outputs/told").text == "hello in the image\n"
