"""What the command finds out with the service, and asks the user, before it uploads anything."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.wire import problem

FILE = {"$ref": "#/$defs/File"}
BAM, FASTQ = "http://edamontology.org/format_2572", "http://edamontology.org/format_1930"
ID = "00000001-0000-4000-8000-0123456789ab"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that the command is run in."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    for name in ("a.bam", "a.exp", "a.txt", "b.txt"):
        (place / name).write_text(name)
    return place


@pytest.fixture
def declare(service: Any) -> Any:
    """Declares inputs of the workflow `word-statistics`."""

    def declared(*required: str, announced: bool = True, **inputs: Any) -> None:
        schema = service.details["word-statistics"]["inputs"]
        schema |= {"properties": inputs, "required": list(required), "x-announced": announced}

    return declared


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Gives answers at a terminal; returns the questions that they were given to."""

    def answers(*lines: str) -> list[str]:
        left, asked = list(lines), []

        def ask(question: str, **options: Any) -> Any:
            asked.append(question)
            if not left:
                raise click.Abort
            return options["type"].convert(left.pop(0), None, None) if options.get("type") else left.pop(0)

        monkeypatch.setattr("waas_cli.prompts.click.prompt", ask)
        monkeypatch.setattr("waas_cli.commands.workflows.at_terminal", lambda: True)
        return asked

    import click

    return answers


def _trigger(alice: Any, *words: str) -> Any:
    return alice("workflows", "trigger", "word-statistics", *words)


def test_the_service_looks_at_the_inputs_before_files_are_sent(alice: Any, service: Any, declare: Any) -> None:
    declare(reads={**FILE, "x-secondaryFiles": ["^.exp"]})
    assert _trigger(alice, "-i", "reads=@a.bam").code == 0
    looked, first, second, started = service.sent("POST", "/")
    beside = [{"class": "File", "basename": "a.exp"}]
    assert looked.query == {"dry_run": "true"}
    assert looked.json == {"inputs": {"reads": {"class": "File", "basename": "a.bam", "secondaryFiles": beside}}}
    assert {first.query["name"], second.query["name"]} == {"a.bam", "a.exp"}
    assert service.files[started.json["inputs"]["reads"]["secondaryFiles"][0]["location"]][1] == b"a.exp"


def test_what_the_service_finds_is_told_with_what_the_command_finds(alice: Any, service: Any, declare: Any) -> None:
    declare("reads", reads=FILE, count={"type": "integer"}, more=FILE)
    service.refuse_announced = [
        [
            {"input": "count", "detail": 'count: "x" was given, expected a whole number.'},
            {"input": "reads", "detail": "reads is required: expected a File."},
            {"input": "more.format", "detail": "more.format is required."},
        ]
    ]
    result = _trigger(alice, "-i", "reads=@nowhere", "-i", "count=x", "-i", "more=@a.txt")
    assert (result.code, service.sent("POST", "/files")) == (2, [])
    assert result.err.splitlines() == [
        "Error: 3 inputs are wrong:",
        "  - --inputs reads=@nowhere: there is no file nowhere.",
        '  - count: "x" was given, expected a whole number.',
        "  - more.format is required.",
    ]


def test_what_the_service_alone_finds_is_told_as_it_is(alice: Any, service: Any, declare: Any) -> None:
    declare(reads=FILE)
    service.refuse_announced = [[{"input": "reads.format", "detail": "reads.format is wrong."}]]
    result = _trigger(alice, "-i", "reads=@a.bam", "-o", "json")
    assert (result.code, result.error["problem"]["inputs"][0]["input"]) == (2, "reads.format")
    assert service.sent("POST", "/files") == []


def test_a_site_has_to_be_chosen_before_files_are_sent(alice: Any, service: Any, declare: Any) -> None:
    declare(reads=FILE)
    detail = "`site`: expected one of local, mare."
    service.sites.refuse_trigger = problem(400, "bad_request", detail)
    result = _trigger(alice, "-i", "reads=@a.bam")
    assert (result.code, service.sent("POST", "/files")) == (2, [])
    assert result.err == f"Error: {detail}\nChoose one with --site SITE. To see them: waas sites list\n"
    result = _trigger(alice, "-i", "reads=@nowhere")
    assert (
        result.err
        == f"Error: 2 inputs are wrong:\n  - --inputs reads=@nowhere: there is no file nowhere.\n  - {detail}\n"
    )


def test_a_format_is_asked_for_at_a_terminal(alice: Any, service: Any, declare: Any, answer: Any) -> None:
    declare(reads={"type": "array", "items": FILE, "x-format": [BAM, FASTQ]})
    service.refuse_announced = [[{"input": "reads[1].format", "detail": "reads[1].format is required."}]]
    asked = answer("2")
    result = _trigger(alice, "-i", "reads=@a.bam", "-i", "reads=@a.txt")
    assert (result.code, asked) == (0, ["Format of a.txt (1-2)"])
    assert f"  2. {FASTQ}" in result.err
    first, second = service.sent("POST", "/workflows")[-1].json["inputs"]["reads"]
    assert (first.get("format"), second["format"]) == (None, FASTQ)


def test_expressions_are_for_the_service(alice: Any, service: Any, declare: Any) -> None:
    pair = {"type": "object", "properties": {"reads": {**FILE, "x-secondaryFiles": ["$(self.nameroot).exp", ".no?"]}}}
    declare(pairs={"type": "array", "items": pair})
    needs = [{"basename": "a.exp", "class": "File", "required": True}]
    service.companions = [{"input": "pairs[0].reads", "basename": "a.bam", "needs": needs}]
    job = {"pairs": [{"reads": {"class": "File", "path": "a.bam"}}]}
    assert _trigger(alice, "-i", f"pairs:={json.dumps(job['pairs'])}").code == 0
    (asked,) = service.sent("POST", "/companions")
    assert asked.json == {"inputs": {"pairs": [{"reads": {"class": "File", "basename": "a.bam"}}]}}
    sent = service.sent("POST", "/workflows")[-1].json["inputs"]["pairs"][0]["reads"]
    assert [each["basename"] for each in sent["secondaryFiles"]] == ["a.exp"]
    needs[0]["basename"] = "a.other"
    assert (
        "The input pairs[0].reads needs a.other beside a.bam"
        in _trigger(alice, "-i", f"pairs:={json.dumps(job['pairs'])}").err
    )


def test_a_service_that_knows_no_expressions_is_sent_the_file(alice: Any, service: Any, declare: Any) -> None:
    declare(reads={**FILE, "x-secondaryFiles": ["$(self.nameroot).exp"]}, announced=False)
    assert _trigger(alice, "-i", "reads=@a.bam").code == 0
    assert "secondaryFiles" not in service.sent("POST", "/workflows")[-1].json["inputs"]["reads"]


SAMPLE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "reads": FILE, "note": {"type": "string"}},
    "required": ["name", "reads"],
}


def test_what_is_missing_is_asked_for_at_a_terminal(alice: Any, service: Any, declare: Any, answer: Any) -> None:
    mode = {"type": "string", "enum": ["fast", "slow"], "description": "How fast."}
    declare(
        "sample", "mode", "counts", "texts", "flag", "given",
        sample=SAMPLE, mode=mode, counts={"type": "array", "items": {"type": "integer"}}, given={"type": "string"},
        texts={"type": "array", "items": FILE}, flag={"type": "boolean"}, other={"type": "string"}, maybe=FILE,
    )  # fmt: skip
    asked = answer("one", "no.bam", "a.bam", "medium", "slow", "1", "x", "2", "", "*.txt", "", "true")
    result = _trigger(alice, "-i", "given=here")
    assert result.code == 0
    counts = ["counts[0]", "counts[1]", "counts[1]", "counts[2]"]
    reads = ["sample.reads"] * 2
    assert asked == ["sample.name", *reads, "mode", "mode", *counts, "texts[0]", "texts[1]", "flag"]
    assert "mode: string: fast, slow. How fast." in result.err
    assert "there is no file no.bam" in result.err
    sent = service.sent("POST", "/workflows")[-1].json["inputs"]
    assert (sent["sample"]["name"], sent["sample"]["reads"]["basename"]) == ("one", "a.bam")
    assert [each["basename"] for each in sent["texts"]] == ["a.txt", "b.txt"]
    assert (sent["mode"], sent["counts"], sent["flag"], sent["given"]) == ("slow", [1, 2], True, "here")
    assert sent.keys() == {"sample", "mode", "counts", "texts", "flag", "given"}


def test_a_real_terminal(service: Any, home: Path, data: Path) -> None:
    ours, its = pty.openpty()
    environment = {**os.environ, "HOME": str(home), "HW_API_URL": service.url, "HW_USER": "alice:alicepw"}
    command = [str(Path(sys.executable).parent / "waas"), "workflows", "trigger", "word-statistics"]
    process = subprocess.Popen(command, env=environment, cwd=data, stdin=its, stdout=subprocess.PIPE, stderr=its)
    os.close(its)
    os.write(ours, b"no.txt\n*.txt\n\n")
    printed, _ = process.communicate(timeout=120)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert (process.returncode, printed.decode().splitlines()[0]) == (0, "Triggering workflow...")
    assert "there is no file no.txt." in shown
    assert "texts: 2 files of *.txt" in shown
    assert [each["basename"] for each in service.sent("POST", "/workflows")[-1].json["inputs"]["texts"]] == [
        "a.txt",
        "b.txt",
    ]


@pytest.mark.parametrize("words", [["--no-input"], ["-o", "json"]])
def test_nobody_is_asked(alice: Any, service: Any, declare: Any, answer: Any, words: list[str]) -> None:
    declare("mode", mode={"type": "string"})
    asked = answer("x")
    _trigger(alice, *words)
    assert asked == []
    assert service.sent("POST", "/workflows")[-1].json["inputs"] == {}


def test_whoever_wants_no_more_questions_has_sent_nothing(alice: Any, service: Any, declare: Any, answer: Any) -> None:
    declare("mode", mode={"type": "string"})
    answer()
    assert _trigger(alice).code == 130
    assert service.sent("POST", "/") == []


def output(name: str, **more: Any) -> dict[str, Any]:
    location = f"/executions/{ID}/outputs/{name}"
    return {"class": "File", "basename": f"{name}.txt", "size": 1, "location": location, **more}


def placed(basename: str, place: str) -> dict[str, Any]:
    return {"class": "File", "basename": basename, "location": f"/executions/{ID}/outputs/{place}"}


@pytest.fixture
def earlier(service: Any) -> None:
    """An execution that has ended."""
    outputs = {
        "file": output("file"),
        "files": [
            output("files", basename=name, location=f"/executions/{ID}/outputs/files?path=0%2F{name}") for name in "ab"
        ],
        "folder": output("folder", **{"class": "Directory", "basename": "folder"}),
        "count": 7,
        "nothing": None,
        "twins": [placed("out.txt", f"twins?path={number}%2Fout.txt") for number in (0, 1)],
    }
    service.add(("SUCCEEDED", []), outputs=outputs)
    service.add(("RUNNING", []))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["one={id}:file"], {"one": output("file")}),
        (["many={id}:files"], {"many": ["files/a", "files/b"]}),
        (["many={id}:files", "many={id}:file"], {"many": ["files/a", "files/b", output("file")]}),
        (["one={id}:files/b"], {"one": "files/b"}),
        (["one={id}:twins/1"], {"one": placed("out.txt", "twins?path=1%2Fout.txt")}),
        (["matrix={id}:files"], {"matrix": [["files/a", "files/b"]]}),
        (["folder={id}:folder"], {"folder": output("folder", **{"class": "Directory", "basename": "folder"})}),
        (["one={id}:folder/deep/x y.txt"], {"one": placed("x y.txt", "folder?path=deep%2Fx+y.txt")}),
        (
            ["folder={id}:folder/deep/"],
            {"folder": {**placed("deep", "folder?path=deep"), "class": "Directory"}},
        ),
        (["count={id}:count"], {"count": 7}),
        (["word={id}:count"], {"word": f"{ID}:count"}),
        (["any={id}:file"], {"any": output("file")}),
        (["one:={same}"], {"one": output("file", basename="new")}),
        (["one:={placed}"], {"one": placed("x.txt", "file")}),
    ],
)  # fmt: skip
def test_outputs_of_earlier_executions_are_inputs(
    alice: Any, service: Any, declare: Any, earlier: None, words: list[str], expected: Any
) -> None:
    declare(
        one=FILE,
        many={"type": "array", "items": FILE},
        folder={"$ref": "#/$defs/Directory"},
        matrix={"type": "array", "items": {"type": "array", "items": FILE}},
        count={"type": "integer"},
        word={"type": "string"},
        any={"type": ["boolean", "number", "string", "array", "object"]},
    )
    same = json.dumps({"class": "File", "location": f"{ID}:file", "basename": "new"})
    whole_file = json.dumps(placed("x.txt", "file"))
    pairs = [part for word in words for part in ("-i", word.format(id=ID, same=same, placed=whole_file))]
    result = _trigger(alice, *pairs)
    assert (result.code, result.err) == (0, "")

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(each) for each in value]
        if isinstance(value, str) and value.startswith("files/"):
            name = value.removeprefix("files/")
            return output("files", basename=name, location=f"/executions/{ID}/outputs/files?path=0%2F{name}")
        return value

    assert service.sent("POST", "/workflows")[-1].json["inputs"] == {key: whole(each) for key, each in expected.items()}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nope:file", "There is no execution nope that you can see."),
        (
            f"{ID}:fil",
            f"The execution {ID} has no output fil. Its outputs: file, files, folder, count, nothing, twins.",
        ),
        (f"{ID}:files/c", f"The output files of the execution {ID} has no file c. Its files: a, b."),
        (f"{ID}:twins/out.txt", f"has 2 files out.txt. Name one by its place in the list, from 0 on: {ID}:twins/0"),
        (f"{ID}:twins/2", f"The output twins of the execution {ID} has no file 2."),
        (f"{ID}:count/c", f"The output count of the execution {ID} has no file c."),
        (f"{ID.replace('1', '2', 1)}:file", "is RUNNING, so it has no outputs yet."),
    ],
)
def test_outputs_that_there_are_not(
    alice: Any, service: Any, declare: Any, earlier: None, word: str, message: str
) -> None:
    declare(one=FILE)
    result = _trigger(alice, "-i", f"one={word}")
    assert (result.code, len(service.executions)) == (2, 2)
    assert message in " ".join(result.err.split("\n"))


def test_an_older_service_takes_no_files_of_executions(alice: Any, service: Any, declare: Any, earlier: None) -> None:
    declare(one=FILE, count={"type": "integer"}, announced=False)
    result = _trigger(alice, "-i", f"one={ID}:file")
    assert (result.code, service.sent("POST", "/")) == (2, [])
    assert f"waas executions outputs {ID} --download DIR" in result.err
    assert _trigger(alice, "-i", f"count={ID}:count").code == 0
