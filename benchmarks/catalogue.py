"""A catalogue of 1000 documents: its first read, one change among them, and a restart, beside cwltool's own loading.

The documents are made here: tools, some with expressions, workflows of `../tools/*.cwl`, packed ones, and 112 of 1000
that are broken. What one process with cwltool takes to load and check the same documents is measured in the same run;
the ratios count. Goals, with two cores: the first read at most 0.75 of that, a change at most 1 second.

    python benchmarks/catalogue.py [DOCUMENTS]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hpcwaas.engines.cwl.workflows import catalogue as looking
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
label: Step {number}
doc: |
  Filters the lines of a file, and counts what is left.
requirements:
  ResourceRequirement: {{coresMin: 2, ramMin: 512}}
{expressions}
baseCommand: [sh, run.sh]
inputs:
  source: {{type: File, doc: What to read., inputBinding: {{position: 1}}}}
  words: {{type: "string[]?", inputBinding: {{prefix: --words, itemSeparator: ","}}}}
  depth: {{type: int, default: {number}, inputBinding: {{prefix: --depth}}}}
  mode: {{type: {{type: enum, symbols: [fast, exact]}}, default: exact, inputBinding: {{prefix: --mode}}}}
arguments: [{argument}]
stdout: result.txt
outputs:
  result: stdout
"""
EXPRESSIONS = "  InlineJavascriptRequirement: {}"
STEP = """\
  s{index}:
    run: {run}
    in: {{source: {source}, depth: depth}}
    out: [result]
"""
WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
label: Workflow {number}
inputs: {{start: File, depth: {{type: int, default: 3}}}}
outputs: {{end: {{type: File, outputSource: s3/result}}}}
steps:
"""

OWN = """\
import sys
from cwltool.context import LoadingContext
from cwltool.load_tool import load_tool
from cwltool.workflow import default_make_tool
options = {"construct_tool_object": default_make_tool, "disable_js_validation": True, "skip_schemas": True}
for line in sys.stdin:
    try:
        load_tool(line.strip(), LoadingContext({**options}))
    except Exception:
        pass  # a broken one takes its time, too
"""
"""Loads documents as a runner would."""


def tool(number: int) -> str:
    """A tool; every third has expressions."""
    if number % 3:
        return TOOL.format(number=number, expressions="", argument="plain")
    argument = '{prefix: --size, valueFrom: "$(inputs.depth * 2)"}'
    return TOOL.format(number=number, expressions=EXPRESSIONS, argument=argument)


def workflow(number: int, run: Callable[[int], str]) -> str:
    """A workflow of four steps."""
    steps = [STEP.format(index=0, run=run(0), source="start")]
    steps += [STEP.format(index=index, run=run(index), source=f"s{index - 1}/result") for index in (1, 2, 3)]
    return WORKFLOW.format(number=number) + "".join(steps)


def packed(number: int) -> str:
    """A document that holds a workflow and its tools."""
    parts = [workflow(number, lambda index: f"'#t{index}'"), *(tool(number + index) for index in range(4))]
    names = ["main", "t0", "t1", "t2", "t3"]
    text = "cwlVersion: v1.2\n$graph:\n"
    for name, part in zip(names, parts, strict=True):
        lines = [line for line in part.splitlines() if not line.startswith("cwlVersion")]
        text += f"- id: {name}\n" + "".join(f"  {line}\n" for line in lines)
    return text


def fill(directory: Path, documents: int) -> None:
    """Makes a catalogue: of 1000 documents 550 tools, 288 workflows, 50 packed ones, 112 broken ones."""
    for folder in ("tools", "workflows", "packed", "broken"):
        (directory / folder).mkdir()
    tools = documents * 55 // 100
    flat, broken = documents * 5 // 100, documents * 112 // 1000
    for number in range(tools):
        (directory / "tools" / f"t{number:04}.cwl").write_text(tool(number), "utf-8")
    for number in range(documents - tools - flat - broken):
        names = [f"../tools/t{(number * 3 + index) % tools:04}.cwl" for index in range(4)]
        text = workflow(number, names.__getitem__)
        (directory / "workflows" / f"w{number:04}.cwl").write_text(text, "utf-8")
    for number in range(flat):
        (directory / "packed" / f"p{number:04}.cwl").write_text(packed(number), "utf-8")
    for number in range(broken):
        text = tool(number).replace("type: int", "type: number") if number % 2 else tool(number) + "a: [\n"
        (directory / "broken" / f"b{number:04}.cwl").write_text(text, "utf-8")


def seconds(task: Callable[[], object]) -> float:
    """What something takes."""
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def read(catalogue: Catalogue) -> None:
    """Waits until all of a catalogue has been read."""
    while not catalogue.workflows() or catalogue.unread():
        time.sleep(0.1)  # little beside what is measured


def main() -> None:
    """Measures and prints."""
    documents = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as name:
        directory, state = Path(name, "catalogue"), Path(name, "state")
        directory.mkdir()
        fill(directory, documents)
        paths = "\n".join(str(path) for path in sorted(directory.rglob("*.cwl")))
        command = [sys.executable, "-c", OWN]
        own = seconds(lambda: subprocess.run(command, input=paths, text=True, check=True, capture_output=True))
        catalogue = Catalogue(directory, state)
        answered = seconds(catalogue.workflows)
        first = answered + seconds(lambda: read(catalogue))
        published, problems = len(catalogue.workflows()), len(catalogue.check().problems)
        path = directory / "workflows" / "w0000.cwl"

        def changed() -> None:
            while not any(workflow.label == "Changed" for workflow in catalogue.workflows()):
                time.sleep(0.02)  # as above

        looking.LOOK_EVERY = 0.0
        time.sleep(1.1)  # the time for the next look has come
        path.write_text(path.read_text("utf-8").replace("Workflow 0", "Changed"), "utf-8")
        change = seconds(changed)
        restart = seconds(lambda: read(Catalogue(directory, state)))
    figures = {
        "cwltool_alone_s": own,
        "first_answer_s": answered,
        "first_read_s": first,
        "ratio": first / own,
        "change_s": change,
        "restart_s": restart,
    }
    print(f"{published} published, {problems} problems")
    print(json.dumps({key: round(value, 3) for key, value in figures.items()}))
    print(f"ratio {first / own:.2f} (goal: at most 0.75) {'met' if first <= 0.75 * own else 'MISSED'}")
    print(f"a change takes {change:.2f} s (goal: at most 1) {'met' if change <= 1 else 'MISSED'}")
    sys.exit(first > 0.75 * own or change > 1)


if __name__ == "__main__":
    main()
