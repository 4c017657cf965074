"""The catalogue with real cwltool: what it publishes, what it says of broken documents, and how it follows changes."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hpcwaas.core.models import StoredUpload, Upload
from hpcwaas.engines.cwl import catalogue as catalogue_module
from hpcwaas.engines.cwl import describer
from hpcwaas.engines.cwl.archives import unpack
from hpcwaas.engines.cwl.catalogue import Catalogue
from hpcwaas.engines.cwl.describer import describe_entries
from hpcwaas.engines.cwl.entries import Entry
from hpcwaas.engines.cwl.inputs import prepare_job
from hpcwaas.engines.cwl.job import dump_order
from hpcwaas.errors import NotFound, Unavailable

DATA = Path(__file__).parent.parent / "data" / "cwl"

TOOL = "cwlVersion: v1.2\nclass: CommandLineTool\nlabel: {label}\nbaseCommand: echo\ninputs: {inputs}\noutputs: {{}}\n"


def tool(label: str = "Echo", inputs: str = "{}") -> str:
    return TOOL.format(label=label, inputs=inputs)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue"
    path.mkdir()
    return path


@pytest.fixture
def make(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Catalogue]:
    # Each call looks, so that tests needn't wait for the next look.
    monkeypatch.setattr(catalogue_module, "LOOK_EVERY", 0.0)
    return lambda: Catalogue(directory, tmp_path / "state")


def ids(catalogue: Catalogue) -> list[str]:
    return [workflow.id for workflow in catalogue.workflows()]


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
    assert everything.authorized_users == {"alice", "bob"}
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
    assert properties["with_index"]["x-secondaryFiles"] == [".idx", "^.alt?"]
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
    job = prepare_job(details, examples.snapshot(details), inputs, user.uploads.get, http_inputs=False)

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


WORKFLOW = (
    "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nrequirements: {SubworkflowFeatureRequirement: {}}\n"
    "steps:\n"
)

BROKEN = {
    "yaml.cwl": ("cwlVersion: v1.2\nclass: Workflow\ninputs:\n  a: int\n b: [\n", "yaml.cwl:5: "),
    "type.cwl": ("cwlVersion: v1.2\nclass: Workflow\ninputs:\n  a: intt\noutputs: []\nsteps: []\n", "type.cwl:4: "),
    "field.cwl": (tool() + "bogus: 1\n", "field.cwl:7: invalid field 'bogus'"),
    "run.cwl": (
        WORKFLOW + "  s:\n    run: gone.cwl\n    in: []\n    out: []\n",
        "run.cwl:8: Field 'run' contains undefined reference to 'gone.cwl'",
    ),
    "http.cwl": (
        WORKFLOW + "  s: {run: 'http://127.0.0.1:9/x.cwl', in: [], out: []}\n",
        "http.cwl:7: ",
    ),
    "outside.cwl": (
        tool(inputs="{a: {type: File, default: {class: File, location: ../../x}}}"),
        "outside.cwl:5: x lies",
    ),
    "link.cwl": (
        tool(inputs="{a: {type: File, default: {class: File, location: link}}}"),
        "link.cwl:5: link is a link",
    ),
    "noversion.cwl": ("class: CommandLineTool\n", "noversion.cwl: No cwlVersion"),
    "future.cwl": ("cwlVersion: v9.9\nclass: CommandLineTool\n", "future.cwl: "),
    "list.cwl": ("- a\n", "list.cwl: "),
    "empty.cwl": ("", "empty.cwl: the document is empty"),
    "latin.cwl": ("doc: \udcff\n", "latin.cwl: the document isn't UTF-8"),
    "operation.cwl": ("cwlVersion: v1.2\nclass: Operation\ninputs: []\noutputs: []\n", "operation.cwl: an Operation"),
    "deep.cwl": ("cwlVersion: v1.2\nclass: CommandLineTool\ninputs: " + "[" * 2000 + "]" * 2000, "deep.cwl: "),
    "cycle.cwl": (
        WORKFLOW + "  s: {run: cycle.cwl, in: [], out: []}\n",
        "cycle.cwl",
    ),
    "graph.cwl": (
        "cwlVersion: v1.2\n$graph:\n"
        + "".join(
            f"- {{class: ExpressionTool, id: {name}, inputs: [], outputs: [], expression: x}}\n" for name in "ab"
        ),
        "graph.cwl: none of a, b is called main",
    ),
}


def test_broken_documents_are_reported_and_hide_nothing(
    directory: Path, make: Callable[[], Catalogue], caplog: pytest.LogCaptureFixture
) -> None:
    for name, (content, _) in BROKEN.items():
        (directory / name).write_bytes(content.encode(errors="surrogateescape"))
    (directory / "link").symlink_to("/etc/passwd")
    (directory / "aaa.cwl").write_text(tool())
    (directory / "zzz.cwl").write_text(tool())
    (directory / "not ok.cwl").write_text(tool())
    catalogue = make()
    with caplog.at_level(logging.WARNING):
        assert ids(catalogue) == ["aaa", "zzz"]
        check = catalogue.check()
        assert ids(make()) == ["aaa", "zzz"]
    assert check.status == "degraded"
    assert len(check.problems) == len(BROKEN) + 1
    for _, problem in BROKEN.values():
        assert [found for found in check.problems if found.startswith(problem)], problem
    assert not any(str(directory) in problem or "\n" in problem for problem in check.problems)
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == len(set(logged)) == len(check.problems), "once for each, whoever asks again"


def test_changes_are_seen(directory: Path, make: Callable[[], Catalogue]) -> None:
    catalogue = make()
    assert ids(catalogue) == []
    (directory / "a.cwl").write_text(tool())
    (directory / "b.cwl").write_text(tool("", "{x: }"))
    assert ids(catalogue) == ["a"]
    assert catalogue.check().status == "degraded"
    version = catalogue.details("a").version
    (directory / "b.cwl").write_text(tool("B"))
    assert ids(catalogue) == ["a", "b"]
    assert catalogue.check().status == "ok"
    assert catalogue.details("a").version == version
    (directory / "a.cwl").write_text(tool("Other"))
    assert catalogue.workflows()[0].label == "Other"
    assert catalogue.details("a").version != version
    (directory / "a.meta.yaml").write_text("authorized_users: [alice]")
    assert catalogue.workflows()[0].authorized_users == {"alice"}
    (directory / "a.meta.yaml").write_text("authorized_users: alice")
    assert ids(catalogue) == ["b"]
    (directory / "a.meta.yaml").unlink()
    (directory / "b.cwl").unlink()
    assert ids(catalogue) == ["a"]


def test_changes_of_what_a_document_is_made_of_are_seen(directory: Path, make: Callable[[], Catalogue]) -> None:
    shutil.copytree(DATA / "everything", directory / "everything")
    catalogue = make()
    versions = {catalogue.details("everything").version}
    for name in ("lib.js", "tools/graph.cwl", "data/deep/file"):
        with (directory / "everything" / name).open("a") as stream:
            stream.write("\n")
        versions.add(catalogue.details("everything").version)
    (directory / "everything" / "data" / "own.txt.gone").touch()
    versions.add(catalogue.details("everything").version)
    assert len(versions) == 5
    (directory / "everything" / "README").touch()
    (directory / "everything" / "meta.yaml").unlink()
    assert catalogue.details("everything").version in versions


def test_an_old_version_stays_what_it_was(directory: Path, make: Callable[[], Catalogue]) -> None:
    (directory / "a.cwl").write_text(tool("Old"))
    catalogue = make()
    old = catalogue.details("a")
    (directory / "a.cwl").write_text(tool("New", "{x: int}"))
    assert catalogue.details("a").workflow.label == "New"
    snapshot = catalogue.snapshot(old)
    assert "Old" in snapshot.path.read_text()
    assert snapshot.inputs == ()


def test_a_restart_describes_nothing(
    directory: Path, make: Callable[[], Catalogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "a.cwl").write_text(tool())
    (directory / "b.cwl").write_text("")
    first = make()
    assert ids(first) == ["a"]
    monkeypatch.setattr(describer.subprocess, "Popen", None)
    second = make()
    assert ids(second) == ["a"]
    assert second.check().problems == first.check().problems


def test_lost_snapshots_are_made_again(directory: Path, make: Callable[[], Catalogue], tmp_path: Path) -> None:
    (directory / "a.cwl").write_text(tool())
    details = make().details("a")
    shutil.rmtree(tmp_path / "state" / "snapshots")
    catalogue = make()
    assert catalogue.snapshot(catalogue.details("a")).path.is_file()
    assert catalogue.details("a") == details


@pytest.mark.parametrize("content", ["", "{", '{"made_by": "an older version"}'])
def test_a_damaged_index_is_made_again(
    directory: Path, make: Callable[[], Catalogue], tmp_path: Path, content: str
) -> None:
    (directory / "a.cwl").write_text(tool())
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "catalogue.json").write_text(content)
    assert ids(make()) == ["a"]


def test_many_threads_and_processes_describe_once(
    directory: Path, make: Callable[[], Catalogue], tmp_path: Path
) -> None:
    for number in range(5):
        (directory / f"w{number}.cwl").write_text(tool(f"W{number}"))
    starts: list[int] = []
    original = describer.subprocess.Popen

    class Counted(original):  # type: ignore[type-arg, misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            starts.append(threading.get_ident())
            super().__init__(*args, **kwargs)

    catalogues = [make(), make(), make()]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(12) as pool:
        patch.setattr(describer.subprocess, "Popen", Counted)
        lists = list(pool.map(lambda number: ids(catalogues[number % 3]), range(24)))
    assert all(found == [f"w{number}" for number in range(5)] for found in lists)
    assert len(starts) == 1


def test_it_looks_once_a_second(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "a.cwl").write_text(tool())
    catalogue = Catalogue(directory, tmp_path / "state")
    assert ids(catalogue) == ["a"]
    (directory / "b.cwl").write_text(tool())
    time.sleep(1.05)
    assert ids(catalogue) == ["a", "b"]
    monkeypatch.setattr(catalogue_module, "LOOK_EVERY", 60.0)
    time.sleep(1.05)
    assert ids(catalogue) == ["a", "b"]
    (directory / "b.cwl").unlink()
    assert ids(catalogue) == ["a", "b"], "the time for the next look has not come"


def test_a_directory_that_cannot_be_read(directory: Path, make: Callable[[], Catalogue]) -> None:
    catalogue = make()
    (directory / "a.cwl").write_text(tool())
    assert ids(catalogue) == ["a"]
    directory.rename(directory.with_name("moved"))
    with pytest.raises(Unavailable) as caught:
        catalogue.workflows()
    assert str(directory) not in caught.value.detail
    check = catalogue.check()
    assert check.status == "failed"
    assert str(directory) in check.problems[0]
    directory.with_name("moved").rename(directory)
    assert ids(catalogue) == ["a"]
    assert catalogue.check().status == "ok"


def test_without_cwltool_the_old_list_stays(
    directory: Path, make: Callable[[], Catalogue], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (directory / "a.cwl").write_text(tool())
    catalogue = make()
    assert ids(catalogue) == ["a"]
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'cwltool'\" >&2\nexit 1\n")
    broken.chmod(0o755)
    (directory / "b.cwl").write_text(tool())
    monkeypatch.setattr(describer.sys, "executable", str(broken))
    assert ids(catalogue) == ["a"]
    check = catalogue.check()
    assert check.status == "failed"
    assert "No module named 'cwltool'" in check.problems[0]


def test_documents_that_hang_or_crash_take_no_other_with_them(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    bomb = "\n".join(f"      {line}" for line in levels)
    (directory / "bomb.cwl").write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: x\noutputs: []\n"
        f"inputs:\n  x:\n    type: Any\n    default:\n{bomb}"
    )
    (directory / "large.cwl").write_text(tool() + "#" * 17 * 2**20)
    os.mkfifo(directory / "fifo.cwl")
    for name in ("first", "last"):
        (directory / f"{name}.cwl").write_text(tool())
    entries = [Entry(name, f"{name}.cwl") for name in ("first", "bomb", "fifo", "large", "last")]
    answers = {entry.id: answer for entry, answer in describe_entries(directory, entries, entry_timeout=2)}
    assert answers["first"]["description"]["label"] == "Echo"
    assert answers["last"]["description"]["label"] == "Echo"
    assert answers["bomb"]["error"].startswith("bomb.cwl: ")
    assert answers["fifo"]["error"].startswith("fifo.cwl: ")
    assert "16 MiB" in answers["large"]["error"]
