"""Outputs of executions and of the plain cwltool, in a form in which they can be compared."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.service import Client


def downloaded(client: Client, value: Any) -> Any:
    """Outputs with what is downloaded from their locations."""
    if isinstance(value, list):
        return [downloaded(client, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "location" not in value or value.get("class") not in ("File", "Directory"):
        return {name: downloaded(client, item) for name, item in value.items()}
    answer = client("GET", value["location"])
    assert answer.status_code == 200, (value, answer.text)
    found = {name: value[name] for name in ("class", "basename", "format") if name in value}
    if value["class"] == "File":
        assert len(answer.content) == value["size"]
        found["contents"] = answer.content.decode()
        if "secondaryFiles" in value:
            found["secondaryFiles"] = downloaded(client, value["secondaryFiles"])
        return found
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return found | {"members": {name: archive.read(name).decode() for name in archive.namelist()}}


def read(value: Any) -> Any:
    """Outputs of the plain cwltool with their contents."""
    if isinstance(value, list):
        return [read(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("class") not in ("File", "Directory"):
        return {name: read(item) for name, item in value.items()}
    found = {name: value[name] for name in ("class", "basename", "format") if name in value}
    path = Path(value["path"])
    if value["class"] == "File":
        found["contents"] = path.read_bytes().decode()
        if "secondaryFiles" in value:
            found["secondaryFiles"] = read(value["secondaryFiles"])
        return found
    members: dict[str, str] = {}
    for directory, folders, files in os.walk(path):
        way = Path(directory).relative_to(path)
        members |= {f"{way / name}/": "" for name in folders}
        members |= {str(way / name): Path(directory, name).read_bytes().decode() for name in files}
    return found | {"members": members}


def run_bare(root: Path, jobs: Mapping[int, Sequence[Path | str]]) -> None:
    """Runs the plain cwltool.

    Args:
        root: a folder of the job's number in it gets what comes out, see `bare_cwltool.py`.
        jobs: document and job file, by their numbers.
    """
    options = ["--quiet", "--relax-path-checks", "--skip-schemas", "--outdir"]
    runs = [[*options, str(root / str(number)), *map(str, words)] for number, words in jobs.items()]
    program = Path(__file__).with_name("bare_cwltool.py")
    subprocess.run([sys.executable, program], input=json.dumps(runs), text=True, check=True, timeout=110)


def of_bare(folder: Path) -> Any:
    """The outputs of a run of the plain cwltool that succeeded."""
    assert (folder / "status").read_text() == "0", (folder / "stderr").read_text()
    return read(json.loads((folder / "stdout").read_bytes()))
