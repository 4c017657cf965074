"""The whole job for one user by `waas`, against a service without any configuration."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.processes import Service, eventually

DATA = Path(__file__).parents[2] / "examples" / "data"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("home"))
    service.variables.clear()  # nothing but HOME
    service.data = service.home / ".local" / "share" / "hpcwaas"
    yield service.start()
    service.end()


def ok(service: Service, *arguments: str | Path) -> str:
    answer = service.waas(*arguments)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_from_a_key_to_outputs(service: Service) -> None:
    ok(service, "ssh_keys", "key-gen", "--name", "cluster")
    assert "cluster" in ok(service, "ssh_keys", "list")
    assert "word-statistics" in ok(service, "workflows", "list")
    assert "texts" in ok(service, "workflows", "show", "word-statistics")
    files = [f"texts=@{DATA / name}" for name in ("alice.txt", "moby-dick.txt")]
    given = ["-i", files[0], "-i", files[1], "-i", "top=3"]

    text = ok(service, "workflows", "trigger", "word-statistics", *given, "--follow", "--logs")
    assert "SUCCEEDED" in text
    (execution,) = json.loads(ok(service, "executions", "list", "-o", "json"))
    assert execution["status"] == "SUCCEEDED"
    assert execution["id"] in text
    results = service.home / "results"
    ok(service, "executions", "outputs", execution["id"], "--download", results)
    assert len(json.loads((results / "frequent.json").read_text())) == 3
    (table,) = results.glob("*.csv")
    with table.open(newline="") as stream:
        assert list(next(csv.DictReader(stream))) == ["word", "total", "alice.txt", "moby-dick.txt"]


RUN = """
import ast, asyncio, json, pathlib, sys

async def run():
    names = {}
    for cell in json.loads(pathlib.Path(sys.argv[1]).read_text())["cells"]:
        if cell["cell_type"] == "code":
            code = compile("".join(cell["source"]), "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            running = eval(code, names)
            if running is not None:
                await running

asyncio.run(run())
"""


def test_the_notebook_does_what_it_says(service: Service, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(DATA)
    notebook = str(DATA.parent / "notebook.ipynb")
    done = subprocess.run(
        [sys.executable, "-c", RUN, notebook],
        cwd=tmp_path,
        env=service.environment | {"PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "alice.txt",
        "moby-dick.txt",
        "pride-and-prejudice.txt",
    ]


def test_wrong_inputs_are_all_named_and_start_nothing(service: Service) -> None:
    before = ok(service, "executions", "list", "-o", "json")
    answer = service.waas(
        "workflows", "trigger", "word-statistics", "-i", f"textes=@{DATA / 'alice.txt'}", "-i", "top=many"
    )
    assert answer.returncode == 2
    assert all(word in answer.stderr for word in ("textes", "texts", "top"))
    missing = service.waas("workflows", "trigger", "word-statistics", "-i", "texts=@/nowhere.txt")
    assert (missing.returncode, "/nowhere.txt" in missing.stderr) == (2, True)
    assert service.waas("workflows", "trigger", "word-statistic").returncode == 5
    assert service.waas("executions", "status", "nothing").returncode == 5
    assert service.waas("workflows", "list", HW_ACCESS_TOKEN="wrong", HW_API_URL=service.url).returncode == 6
    assert ok(service, "executions", "list", "-o", "json") == before


def test_a_failure_has_its_reason_and_exit_code_3(service: Service) -> None:
    records = f"records=@{DATA / 'measurements.csv'}"
    answer = service.waas("workflows", "trigger", "failing-halfway", "-i", records, "--follow")
    assert answer.returncode == 3
    assert "Reason: Step check failed: exited with status 1: 2 of 18 records are wrong" in answer.stderr


def test_a_cancelled_one_ends_its_followers_with_exit_code_4(service: Service) -> None:
    execution_id = json.loads(ok(service, "workflows", "trigger", "slow-count", "-i", "seconds=60", "-o", "json"))
    follower = service.waas_started("executions", "logs", execution_id, "-f")
    eventually(lambda: "RUNNING" in ok(service, "executions", "status", execution_id))
    ok(service, "executions", "cancel", execution_id)
    out, err = follower.communicate(timeout=60)
    assert follower.returncode == 4, out + err
    again = service.waas("executions", "cancel", execution_id)
    assert again.returncode == 0, again.stderr


def test_the_operators_side(service: Service) -> None:
    assert service.command("config", "check").stdout == "OK\n"
    shown = service.command("config", "show")
    assert shown.returncode == 0
    assert yaml.safe_load(shown.stdout)["data_dir"] == str(service.data)
    assert service.token not in shown.stdout + shown.stderr
    second = service.command("-l", "127.0.0.1:0")
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert service.url in second.stderr
    assert (service.data.stat().st_mode & 0o777, service.profile.stat().st_mode & 0o777) == (0o700, 0o600)
