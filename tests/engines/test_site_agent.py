"""The agent of a site: from the start of an execution to its end, as the service drives it."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from hpcwaas.engines.cwl.inputs.job import dump_order
from hpcwaas.engines.cwl.sites import agent
from hpcwaas.engines.cwl.sites.agent import source
from tests.engines.agents import Site, answer_in, tar_of
from tests.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"
DONE = "echo '{}'\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site") / "home")


def workflow(site: Site, folder: Path) -> str:
    """Sends a workflow; the directory that it becomes."""
    digest = site.send(tar_of({path.name: path.read_bytes() for path in folder.iterdir()}))
    assert site.do("start", accept={"workflows": [digest]})["accepted"] == [digest]
    return f"workflows/{digest}"


def test_is_one_file_that_needs_no_newer_python_and_nothing_else(tmp_path: Path) -> None:
    program = tmp_path / "agent.py"
    program.write_bytes(source())
    tree = ast.parse(program.read_bytes(), feature_version=(3, 6))

    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    vermin = Path(sys.executable).with_name("vermin")
    done = subprocess.run([vermin, "-t=3.6-", "--no-tips", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_its_parts_give_one_name_to_one_thing_and_are_all_there() -> None:
    folder = Path(agent.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(agent.PARTS)
    defined: Counter[str] = Counter()
    for part in agent.PARTS:
        for node in ast.parse((folder / f"{part}.py").read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined[node.name] += 1
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                names = [name for name in ast.walk(node) if isinstance(name, ast.Name)]
                defined.update({name.id for name in names if isinstance(name.ctx, ast.Store)})
    assert [name for name, times in defined.items() if times > 1] == []


def test_runs_a_workflow_with_cwltool(site: Site) -> None:
    steps = [{"name": name, "label": None} for name in ("count", "merge")]
    texts = [site.send(b"the cat the dog\n"), site.send(b"the cat\n")]
    files = [{"class": "File", "location": f"inputs/{number}/a%20b.txt"} for number in range(2)]
    assert site.do("start", accept={"content": texts})["accepted"] == texts
    identifier = site.start(
        document=f"{workflow(site, EXAMPLES / 'word-statistics')}/main.cwl",
        kind="cwltool",
        command=["cwltool"],
        steps=steps,
        inputs=[{"sha256": text, "target": f"inputs/{number}/a b.txt"} for number, text in enumerate(texts)],
        job={"texts": files, "top": 1},
    )

    state = site.finished(identifier)

    assert state["status"] == "SUCCEEDED", site.log(identifier)
    assert [(step["name"], step["status"]) for step in state["steps"]] == [
        ("count", "SUCCEEDED"),
        ("merge", "SUCCEEDED"),
    ]
    assert state["exit"] == 0
    assert state["outputs"]["frequent"] == ["the"]
    table = state["outputs"]["table"]
    assert (site.directory(identifier) / "outputs" / table["location"]).read_text().splitlines()[1] == "the,3,2,1"
    assert any("a b.txt: 4 words" in line for line in site.log(identifier))
    assert not (site.directory(identifier) / "work").exists()


def test_an_execution_that_was_started_is_not_started_again(site: Site) -> None:
    order = site.order("touch ../up; until [ -e ../go ]; do sleep 0.05; done; echo begun >&2; " + DONE)
    first = [site.popen("start", executions=[order]) for _ in range(3)]
    answers = [answer_in(each.communicate(timeout=60)[0])["executions"][order["id"]] for each in first]

    assert {"started": True} in answers
    site.running(order["id"], "up")
    assert site.do("start", executions=[order])["executions"] == {order["id"]: {"started": False}}
    (site.directory(order["id"]) / "work" / "go").touch()
    assert site.finished(order["id"])["status"] == "SUCCEEDED"
    assert site.log(order["id"]).count("begun") == 1
    assert site.do("start", executions=[order])["executions"] == {order["id"]: {"started": False}}


def test_what_is_missing_is_told_and_nothing_made(site: Site) -> None:
    order = site.order(DONE, inputs=[{"sha256": "5" * 64, "target": "inputs/0/x"}])
    (site.root / "content" / f"{'5' * 64}.part").write_bytes(b"12345")

    answer = site.do("start", executions=[order])["executions"][order["id"]]

    assert answer == {"missing": {"content": {"5" * 64: 5}, "workflows": {}}}
    assert not site.directory(order["id"]).exists()
    answer = site.do("start", accept={"content": ["5" * 64]}, executions=[order])
    assert answer["wrong"] == ["5" * 64]
    assert answer["executions"][order["id"]] == {"missing": {"content": {"5" * 64: 0}, "workflows": {}}}


def test_an_input_object_is_the_same_for_who_reads_yaml(site: Site) -> None:
    job = {"a": '😀 ünï \u2028 \x85 \ufeff "q"\n', "b": [1.5, None, True]}
    identifier = site.start(DONE, job=job)
    site.finished(identifier)

    assert (site.directory(identifier) / "job.json").read_text() == dump_order(job)


def test_cancel_ends_processes_that_do_not_want_to_end(site: Site) -> None:
    deaf = "trap '' TERM HUP INT\n"
    sleep = "while :; do sleep 1; done"
    identifier = site.start(f"{deaf}(setsid sh -c '{sleep}' &)\ntouch ../up\n{sleep}\n")
    site.running(identifier, "up")

    assert site.do("cancel", ids=[identifier])["executions"] == {identifier: {"over": False}}

    state = site.finished(identifier)
    assert (state["status"], state["reason"]) == ("CANCELLED", "Cancelled on request.")
    assert [step["status"] for step in state["steps"]] == ["CANCELLED", "CANCELLED"]
    assert not strays(identifier)


def strays(identifier: str) -> list[int]:
    """Processes of an execution."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HPCWAAS_EXECUTION={identifier}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_supervisor_that_died_is_seen_and_buried(site: Site) -> None:
    identifier = site.start("touch ../up; sleep 1000\n")
    site.running(identifier, "up")
    assert site.look(identifier)["alive"] is True
    claim = json.loads((site.directory(identifier) / "supervisor.json").read_bytes())

    os.kill(claim["pid"], signal.SIGKILL)
    until(lambda: site.look(identifier)["alive"] is False)
    answer = site.do("bury", executions={identifier: {"status": "FAILED", "reason": "The login node was restarted."}})

    assert answer["executions"] == {identifier: {"buried": True, "jobs_left": []}}
    state = site.state(identifier)
    assert (state["status"], state["reason"]) == ("FAILED", "The login node was restarted.")
    assert site.log(identifier)[-1] == "The login node was restarted."
    assert not strays(identifier)
