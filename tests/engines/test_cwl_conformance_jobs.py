"""Job files of cwltool, unchanged, through the command and the service: the plain cwltool makes the same of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.cwl_outputs import downloaded, of_bare, run_bare
from tests.service import PASSWORDS, Client, as_user, make_settings, serving

DATA = Path(__file__).parent.parent / "data" / "conformance" / "jobs"
CASES: list[dict[str, Any]] = yaml.safe_load((DATA / "cases.yaml").read_text("utf-8"))
WAAS = [sys.executable, "-c", "from waas_cli.main import main; main()"]


def _name(number: int) -> str:
    return f"{CASES[number]['workflow']}-{CASES[number]['job']}"


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = make_settings(
        tmp_path_factory.mktemp("jobs"), cwl={"catalogue": DATA, "max_running": 3, "limits": {"cores": 2}}
    )
    with serving(settings) as url:
        yield as_user(url, "alice")


@pytest.fixture(scope="module")
def started(alice: Client, tmp_path_factory: pytest.TempPathFactory) -> list[subprocess.CompletedProcess[str]]:
    """How the command ended that was to start each case."""
    home = str(tmp_path_factory.mktemp("home"))
    account = {"HW_API_URL": alice.url, "HW_USER": f"alice:{PASSWORDS['alice']}"}
    environment = {"PATH": os.environ["PATH"], "HOME": home, "XDG_STATE_HOME": home, **account}

    def start(case: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        words = ["workflows", "trigger", case["workflow"], "--inputs-file", DATA / "jobs" / case["job"], "-o", "json"]
        return subprocess.run(
            [*WAAS, *words], env=environment, cwd=home, capture_output=True, text=True, check=False, timeout=100
        )

    with ThreadPoolExecutor(3) as pool:
        return [*pool.map(start, CASES)]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bare")
    given = {number: case for number, case in enumerate(CASES) if case.get("bare", True)}
    documents = {number: DATA / f"{case['workflow'].replace('.', '/')}.cwl" for number, case in given.items()}
    run_bare(root, {number: (documents[number], DATA / "jobs" / case["job"]) for number, case in given.items()})
    return root


@pytest.mark.parametrize("number", range(len(CASES)), ids=_name)
def test_outcome(
    alice: Client, started: list[subprocess.CompletedProcess[str]], request: pytest.FixtureRequest, number: int
) -> None:
    case, done = CASES[number], started[number]
    if "refused" in case:
        assert done.returncode == 2, done
        assert re.search(case["refused"], done.stderr), done.stderr
        if case.get("bare") == "fails":
            assert (request.getfixturevalue("bare") / str(number) / "status").read_text() != "0"
        return
    assert done.returncode == 0, done.stderr
    assert re.search(case.get("notes", ""), done.stderr), done.stderr
    ended = alice.finished(f"/executions/{json.loads(done.stdout)}")
    assert ended["status"] == "SUCCEEDED", ended["reason"]
    expected = case.get("outputs") or of_bare(request.getfixturevalue("bare") / str(number))
    assert downloaded(alice, ended["outputs"]) == expected
