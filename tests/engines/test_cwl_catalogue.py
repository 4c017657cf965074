"""The catalogue with real cwltool: what it publishes of documents, and that cwltool runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hpcwaas.core.models import StoredUpload, Upload
from hpcwaas.engines.cwl.inputs.archives import unpack
from hpcwaas.engines.cwl.inputs.checks import prepare_job
from hpcwaas.engines.cwl.inputs.job import dump_order
from hpcwaas.engines.cwl.inputs.sources import Sources
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.engines.cwl.workflows.slurm import StepNeeds, totals
from hpcwaas.errors import NotFound
from tests.engines.cwl_bench import DATA as RUN
from tests.engines.cwl_documents import DATA, ids, tool
from tests.unit.cwl_world import look_here


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """The documents of tests/data/cwl, described once."""
    return Catalogue(DATA, tmp_path_factory.mktemp("state"))


def test_documents_of_all_versions_and_forms_are_published(examples: Catalogue) -> None:
    assert examples.check().problems == []
    assert ids(examples) == ["everything", "legacy", "linked", "packed", "piped"]
    everything = examples.workflows()[0]
    assert everything.name == "Every type"
    assert everything.label == "Everything"
    assert everything.description == "Takes a value of every type.\nShows them all."
    assert everything.authorized_users == frozenset({"alice", "bob"})
    assert (everything.engine, everything.environment_name) == ("cwl", "local")
    assert examples.workflows()[1].name == "legacy"
    assert examples.workflows()[1].authorized_users is None


def test_inputs_stand_in_the_order_of_the_document(examples: Catalogue) -> None:
    details = examples.details("everything")
    properties = details.inputs["properties"]
    assert list(properties)[:3] == ["zero", "a_boolean", "an_int"]
    assert {name: item["x-type"] for name, item in properties.items()} == {
        "zero": "null",
        "a_boolean": "boolean",
        "an_int": "int",
        "a_long": "long",
        "a_float": "float",
        "a_double": "double",
        "a_string": "string?",
        "a_file": "File",
        "a_directory": "Directory",
        "an_archive": "Directory",
        "something": "Any",
        "an_enum": "enum",
        "a_colour": "Colour",
        "a_record": "Pair",
        "samples": "Sample[]",
        "a_union": "int | string | File[] | Colour",
        "a_matrix": "(int?)[][]",
        "with_index": "File?",
        "own_file": "File",
        "own_directory": "Directory",
    }
    assert properties["own_file"]["default"] == {"class": "File", "basename": "own.txt"}
    assert properties["a_file"]["x-format"] == ["http://example.org/text"]
    assert properties["with_index"]["x-secondaryFiles"] == [".idx", "^.alt?", "$(self.basename).expr?"]
    assert properties["samples"]["items"]["properties"]["reads"]["x-secondaryFiles"] == [".idx"]
    assert "zero" not in details.inputs["required"]
    jsonschema.Draft202012Validator.check_schema(details.inputs)
    assert str(DATA) not in json.dumps(details.inputs), "no paths of this machine"


def test_outputs_and_steps(examples: Catalogue) -> None:
    details = examples.details("everything")
    assert [(output.name, output.type) for output in details.outputs] == [("shown", "string"), ("lines", "int")]
    assert details.outputs[1].label == "Lines"
    assert [(step.name, step.after) for step in details.steps] == [
        ("count", ()),
        ("inner", ("count",)),
        ("show", ("count", "inner")),
    ]
    assert details.steps[2].label == "Show it"
    assert [step.name for step in examples.details("legacy").steps] == ["legacy"]
    assert [step.name for step in examples.details("piped").steps] == ["reverse"]
    assert [step.name for step in examples.details("packed").steps] == ["say"]


def test_streams_and_types_that_contain_themselves(examples: Catalogue) -> None:
    assert examples.details("piped").inputs["properties"]["text"]["x-type"] == "File"
    assert examples.details("legacy").outputs[0].type == "File"
    assert examples.details("linked").inputs["properties"]["list"]["properties"]["next"]["x-type"] == "Any?"


def test_snapshots_hold_all_files_and_are_read_only(examples: Catalogue) -> None:
    snapshot = examples.snapshot(examples.details("everything"))
    folder = snapshot.path.parent
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert found == [
        "data/deep/file",
        "data/own.txt",
        "data/own.txt.idx",
        "lib.js",
        "main.cwl",
        "ontology.ttl",
        "tools/graph.cwl",
        "tools/show.cwl",
        "types.yml",
    ]
    assert not any(path.stat().st_mode & 0o222 for path in folder.rglob("*") if path.is_file())


def test_unknown_workflows(examples: Catalogue) -> None:
    with pytest.raises(NotFound):
        examples.details("../everything")


class User:
    """Uploads of a user."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.uploads: dict[str, StoredUpload] = {}

    def upload(self, name: str, content: bytes = b"one\ntwo\n", path: Path | None = None) -> str:
        key = f"id{len(self.uploads)}"
        path = path or self._directory / key
        if not path.exists():
            path.write_bytes(content)
        self.uploads[key] = StoredUpload(Upload(key, "u", name, "x/y", 0, "0" * 64, datetime.now(UTC)), path)
        return key


def test_cwltool_runs_an_order_with_a_value_of_every_type(examples: Catalogue, tmp_path: Path) -> None:
    user = User(tmp_path)
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "ü.txt").write_text("x")
    archive = shutil.make_archive(str(tmp_path / "packed"), "gztar", source)

    def sample(name: str, **more: Any) -> dict[str, Any]:
        index = {"class": "File", "basename": f"{name}.idx", "contents": "index"}
        reads = {"class": "File", "location": user.upload(name), "secondaryFiles": [index]}
        return {"name": name, "reads": reads, **more}

    inputs = {
        "a_boolean": True,
        "an_int": "12",
        "a_long": 2**40,
        "a_float": 1e-7,
        "a_string": 'ü \U0001f600 \x85 \u2028 \x7f " \\ # : {} $(x)',
        "a_file": user.upload("my file ü.txt"),
        "a_directory": {
            "class": "Directory",
            "listing": [
                {"class": "File", "location": user.upload("a.txt")},
                {
                    "class": "Directory",
                    "basename": "in",
                    "listing": [{"class": "File", "basename": "l", "contents": "x"}],
                },
            ],
        },
        "an_archive": user.upload("packed.tar.gz", path=Path(archive)),
        "something": {"a": [1, None, {"b": "c"}]},
        "a_colour": "red",
        "a_record": {"first": 1, "second": ["x", "y"]},
        "samples": [sample("s1", colour="green"), sample("s2")],
        "a_union": [user.upload("u.txt")],
        "a_matrix": [[1, None], []],
        "with_index": {"class": "File", "location": user.upload("w.bin"), "secondaryFiles": [user.upload("w.bin.idx")]},
    }
    details = examples.details("everything")
    job = prepare_job(examples.snapshot(details), inputs, Sources(user.uploads.get, look_here))

    execution = tmp_path / "execution"
    for staged in job.staged:
        target = execution / staged.target
        target.parent.mkdir(parents=True, exist_ok=True)
        if staged.unpack:
            unpack(staged.source, target, staged.unpack, 10**6)
        else:
            shutil.copy(staged.source, target)
    (execution / "job.json").write_text(dump_order(job.order), "utf-8")
    command = [
        str(Path(sys.executable).with_name("cwltool")),
        "--quiet",
        "--relax-path-checks",
        "--skip-schemas",
        "--no-container",
    ]
    command += ["--outdir", "out", str(job.document), "job.json"]
    done = subprocess.run(command, cwd=execution, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    values, files, count = json.loads(result["shown"])
    assert result["lines"] == count == 2
    assert values[:4] == [True, 12, 2**40, 1e-7]
    assert values[5] == inputs["a_string"]
    assert values[6:] == ["one", "red", inputs["a_record"], inputs["a_matrix"], inputs["something"]]
    assert files[0] == "my file ü.txt"
    assert files[1] == "own.txt+own.txt.idx"
    assert [item["reads"] for item in files[2]] == ["s1+s1.idx", "s2+s2.idx"]
    assert files[3:] == ["a_directory", "packed", ["u.txt"]]


NEEDS = """cwlVersion: v1.2
$namespaces: {cwltool: "http://commonwl.org/cwltool#"}
$graph:
- class: CommandLineTool
  id: small
  baseCommand: echo
  inputs: {n: {type: int?}}
  outputs: []
  requirements: {ResourceRequirement: {coresMin: 2, ramMin: 1024}, ToolTimeLimit: {timelimit: 600}}
- class: CommandLineTool
  id: parallel
  baseCommand: echo
  inputs: {n: {type: int?}}
  outputs: []
  hints:
    cwltool:MPIRequirement: {processes: 8}
    ResourceRequirement: {ramMin: $(inputs.n)}
- class: Workflow
  id: inner
  inputs: {n: int?}
  outputs: []
  steps:
    first: {run: "#small", in: {n: n}, out: []}
    second: {run: "#small", in: {n: n}, out: []}
- class: Workflow
  id: main
  inputs: {n: int?, many: "int[]"}
  outputs: []
  requirements: {SubworkflowFeatureRequirement: {}, ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}}
  steps:
    one: {run: "#inner", in: {n: n}, out: []}
    two: {run: "#parallel", in: {n: n}, out: []}
    each: {run: "#small", scatter: n, in: {n: many}, out: []}
"""


def test_what_steps_need_is_known_before_they_run(directory: Path, make: Callable[[], Catalogue]) -> None:
    (directory / "a.cwl").write_text(NEEDS)
    catalogue = make()
    needs = {step.name: step for step in catalogue.snapshot(catalogue.details("a")).needs}
    assert needs["one"] == StepNeeds("one", 2, 1024, 1200, (), ("inner", "small"), process="inner")
    unknown = ("ResourceRequirement",)
    assert needs["two"] == StepNeeds("two", 8, None, None, unknown, ("parallel",), mpi=True, process="parallel")
    # How often a scatter runs is known only when it does.
    assert needs["each"] == StepNeeds(
        "each", 2, 1024, None, (), ("small",), scatter=True, process="small", over=(("many", None),)
    )


def test_how_often_scatters_run_is_known_where_inputs_say_it(directory: Path, make: Callable[[], Catalogue]) -> None:
    (directory / "a.cwl").write_text((RUN / "scatters.cwl").read_text())
    catalogue = make()
    needs = catalogue.snapshot(catalogue.details("a")).needs

    known = {"some": 3, "none": 3, "empty": 0, "expressions": 3, "nested": 6, "flat": 6, "inner": 3}
    assert totals(needs, {"numbers": [1, 2, 3], "letters": ["a", "b"]}) == known  # `made` is for what a step makes
    assert totals(needs, {"letters": None}) == {"empty": 0}


CHAINED = """cwlVersion: v1.2
$graph:
- class: CommandLineTool
  id: tool
  baseCommand: echo
  inputs: {n: Any}
  outputs: {n: {type: string, outputBinding: {outputEval: $(inputs.n)}}}
- class: Workflow
  id: main
  inputs: {given: {type: "int[]", default: [1, 2]}, more: "int[]"}
  outputs: []
  requirements: {MultipleInputFeatureRequirement: {}, ScatterFeatureRequirement: {}}
  steps:
    first: {run: "#tool", scatter: n, in: {n: given}, out: [n]}
    second: {run: "#tool", scatter: n, in: {n: first/n}, out: [n]}
    merged: {run: "#tool", scatter: n, in: {n: {source: [given, more], linkMerge: merge_flattened}}, out: [n]}
"""


def test_how_often_a_scatter_behind_another_runs_is_known(directory: Path, make: Callable[[], Catalogue]) -> None:
    (directory / "a.cwl").write_text(CHAINED)
    catalogue = make()
    needs = catalogue.snapshot(catalogue.details("a")).needs

    assert totals(needs, {"more": [1]}) == {"first": 2, "second": 2}
    assert totals(needs, {"more": [1], "given": [1, 2, 3]}) == {"first": 3, "second": 3}


UNTIMELY = """cwlVersion: v1.2
class: Workflow
inputs: {n: int, many: "int[]"}
outputs: []
requirements: {SubworkflowFeatureRequirement: {}, ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}}
steps:
  plain: {run: &tool TOOL, in: {n: n}, out: []}
  each: {run: *tool, scatter: n, in: {n: many}, out: []}
  maybe: {run: *tool, when: $(true), in: {n: n}, out: []}
  late: {run: LATE, in: {n: n}, out: []}
  inner: {run: INNER, scatter: n, in: {n: many}, out: []}
"""


def test_a_time_limit_that_toil_would_evaluate_too_early_is_known(
    directory: Path, make: Callable[[], Catalogue]
) -> None:
    tool = "{class: CommandLineTool, baseCommand: echo, inputs: {n: int}, outputs: [], requirements: {%s}}"
    limit = "ToolTimeLimit: {timelimit: $(inputs.n)}"
    late = f"{limit}, ResourceRequirement: {{ramMin: $(inputs.n)}}"
    step = f"{{run: {tool % limit}, in: {{n: n}}, out: []}}"
    inner = f"{{class: Workflow, inputs: {{n: int}}, outputs: [], steps: {{deep: {step}}}}}"
    text = UNTIMELY.replace("TOOL", tool % limit).replace("LATE", tool % late).replace("INNER", inner)
    (directory / "a.cwl").write_text(text)
    catalogue = make()
    needs = catalogue.snapshot(catalogue.details("a")).needs
    assert {step.name for step in needs if step.untimely} == {"plain", "inner"}
    assert {step.name for step in needs if "ToolTimeLimit" in step.unknown} == {step.name for step in needs}


def test_a_site_that_there_is_not_is_told_to_operators(directory: Path, tmp_path: Path) -> None:
    (directory / "a.cwl").write_text(tool())
    (directory / "a.meta.yaml").write_text("sites: [local, mre]")
    catalogue = Catalogue(directory, tmp_path / "state", sites=("local", "mare"))
    assert catalogue.details("a").workflow.sites == frozenset({"local", "mre"})
    assert list(catalogue.check().problems) == [
        "a: its metadata name the site mre, which isn't in the settings; did they mean mare?"
    ]


def test_processes_of_mpi_are_a_hint(directory: Path, make: Callable[[], Catalogue]) -> None:
    head = tool().replace("class: Comm", '$namespaces: {cwltool: "http://commonwl.org/cwltool#"}\nclass: Comm')
    (directory / "a.cwl").write_text(head + "requirements: {cwltool:MPIRequirement: {processes: 2}}\n")
    [problem] = make().check().problems
    assert "MPIRequirement' is not a class of CWL's standard; write it under `hints`" in problem
