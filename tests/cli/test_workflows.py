"""`waas workflows`: listing, showing, triggering."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

WORKFLOW = "Public@env-pub@exec_job"
ID = "00000001-0000-4000-8000-0123456789ab"


@pytest.mark.parametrize("words", [["workflows", "list"], ["w"], ["wf", "ls"], ["workflow", "l"], ["workflows"]])
def test_list_in_json_is_the_array(alice: Any, service: Any, words: list[str]) -> None:
    result = alice(*words, "-o", "json")
    assert (result.code, result.err) == (0, "")
    assert result.json == service.workflows
    assert result.out.count("\n") == 1


def test_list_in_a_pipe_has_a_line_for_each(alice: Any, service: Any) -> None:
    lines = alice("workflows", "list").out.splitlines()
    assert lines[0] == "Public@env-pub@exec_job\texec_job\tPublic\tenv-pub\tEnvironment\t"
    assert [line.split("\t")[0] for line in lines] == [workflow["id"] for workflow in service.workflows]


def test_what_is_missing_from_the_list_is_told_beside_it(alice: Any, service: Any) -> None:
    missing = "The workflows of the engine `alien4cloud` are missing. Alien4Cloud can't be reached."
    service.listed_with = {"warnings": [missing]}
    listed = alice("workflows", "list")
    assert (listed.code, listed.err) == (0, f"{missing}\n")
    assert listed.out.splitlines()[0].startswith("Public@env-pub@exec_job\t")
    result = alice("workflows", "list", "-o", "json")
    assert (result.code, json.loads(result.err)) == (0, {"note": missing})
    assert result.json == service.workflows


def test_list_with_words(alice: Any) -> None:
    assert alice("workflows", "list", "-q", "statistics").out.startswith("word-statistics\t")


def test_an_empty_list(alice: Any, service: Any) -> None:
    service.workflows = []
    assert alice("workflows", "list").out == "No workflows found.\n"
    assert alice("workflows", "list", "-o", "json").out == "[]\n"


def test_show(alice: Any) -> None:
    result = alice("workflows", "show", "word-statistics")
    assert (result.code, result.err) == (0, "")
    assert "Word statistics over text files" in result.out
    assert "Counts the words." in result.out
    assert "texts\tFile[]\tyes\t\tThe text files." in result.out
    assert "top\tint?\tno\t10\tHow many words." in result.out
    assert "mode\tenum?: fast, slow\tno" in result.out
    assert "table\tFile\tOne line for each word." in result.out
    assert "merge\tcount" in result.out
    assert "waas workflows trigger word-statistics -i texts=@FILE --follow" in result.out


def test_show_in_json(alice: Any, service: Any) -> None:
    assert alice("workflows", "show", "word-statistics", "-o", "json").json == service.details["word-statistics"]


def test_show_what_does_not_exist(alice: Any) -> None:
    result = alice("workflows", "show", "nope")
    assert (result.code, result.out) == (5, "")
    assert result.err == "Error: There is no such thing.\nTo see what there is, run: waas workflows list\n"
    assert alice("workflows", "show", "..").code == 5


def test_control_characters_do_not_reach_the_reader(alice: Any, service: Any) -> None:
    service.details["word-statistics"]["label"] = "\x1b[31mred\x1b]0;title\x07\x9b1m\u202etxt"
    out = alice("workflows", "show", "word-statistics").out
    assert "word-statistics: redtxt" in out


@pytest.mark.parametrize("word", ["trigger", "run", "r", "t"])
def test_trigger(alice: Any, service: Any, word: str) -> None:
    result = alice("workflows", word, WORKFLOW, "-i", "a=1,b=2", "-i", "c=x=y")
    assert result.code == 0
    assert result.out == f"Triggering workflow...\nSUCCESS: Workflow triggered with execution ID: {ID}\n"
    assert result.err == ""
    (sent,) = service.sent("POST", "/workflows/")
    assert sent.json == {"inputs": {"a": "1", "b": "2", "c": "x=y"}}
    assert len(sent.headers["Idempotency-Key"]) == 36


def test_trigger_in_json_prints_the_id(alice: Any) -> None:
    result = alice("workflows", "trigger", WORKFLOW, "-o", "json")
    assert (result.code, result.out, result.err) == (0, f'"{ID}"\n', "")


def test_an_older_service_gets_strings_and_no_second_try(alice: Any, service: Any) -> None:
    service.old = True
    assert alice("workflows", "trigger", WORKFLOW, "-i", "a=1", "-i", "b:=2").code == 0
    assert service.sent("POST", "/")[0].json == {"inputs": {"a": "1", "b": 2}}
    service.trouble = [("POST", "/workflows/", "drop", {})]
    assert alice("workflows", "trigger", WORKFLOW).code == 1
    assert len(service.sent("POST", "/")) == 2


def test_typed_inputs(alice: Any, service: Any) -> None:
    arguments = ["top=5,ratio=0.5", "verbose=true", "numbers=1,2", "names=a", "names=b", "text=a,b", "mode=fast"]
    pairs = [word for argument in arguments for word in ("-i", argument)]
    assert alice("workflows", "trigger", "word-statistics", *pairs).code == 0
    assert service.sent("POST", "/")[0].json["inputs"] == {
        "top": 5,
        "ratio": 0.5,
        "verbose": True,
        "numbers": [1, 2],
        "names": ["a", "b"],
        "text": "a,b",
        "mode": "fast",
    }


def test_files_and_directories_are_uploaded(alice: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("it was the best of times")
    (tmp_path / "empty.txt").touch()
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("a")
    (folder / "link.txt").symlink_to(tmp_path / "notes.txt")
    inputs = [f"texts=@{tmp_path}/notes.txt", f"texts=@{tmp_path}/empty.txt", f"folder=@{folder}"]
    assert alice("workflows", "trigger", "word-statistics", *(w for i in inputs for w in ("-i", i))).code == 0
    sent = service.sent("POST", "/workflows/")[0].json["inputs"]
    contents = [service.files[value["location"]][1] for value in sent["texts"]]
    assert contents == [b"it was the best of times", b""]
    assert [value["basename"] for value in sent["texts"]] == ["notes.txt", "empty.txt"]
    assert (sent["folder"]["class"], sent["folder"]["basename"]) == ("Directory", "folder")
    described, packed = service.files[sent["folder"]["location"]]
    assert described["name"] == "folder.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
        assert sorted(archive.getnames()) == ["link.txt", "sub", "sub/a.txt"]
        assert all(member.isfile() or member.isdir() for member in archive)


def test_a_packed_directory_stays_as_it_is(alice: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "folder.zip").write_bytes(b"zip")
    assert alice("workflows", "trigger", "word-statistics", "-i", f"folder=@{tmp_path}/folder.zip").code == 0
    sent = service.sent("POST", "/workflows/")[0].json["inputs"]["folder"]
    assert sent == {"class": "Directory", "location": next(iter(service.files))}


def test_inputs_file_is_beaten_by_inputs(alice: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "job.yml").write_text("top: 3\nratio: 0.5\ntexts: [{class: File, path: a.txt}]\n")
    assert alice("w", "t", "word-statistics", "--inputs-file", str(tmp_path / "job.yml"), "-i", "top=7").code == 0
    sent = service.sent("POST", "/workflows/")[0].json["inputs"]
    assert (sent["top"], sent["ratio"]) == (7, 0.5)
    assert service.files[sent["texts"][0]["location"]][1] == b"a"


PROBLEMS = [
    {"input": "tpo", "detail": "input `tpo` is unknown", "given": "5", "expected": None, "suggestion": "top"},
    {"input": "texts", "detail": "is missing", "given": None, "expected": "File[]", "suggestion": None},
]


def test_all_wrong_inputs_are_listed_and_uploads_taken_back(alice: Any, service: Any, tmp_path: Path) -> None:
    service.refuse_inputs = PROBLEMS
    (tmp_path / "a.txt").write_text("a")
    result = alice("workflows", "trigger", "word-statistics", "-i", "tpo=5", "-i", f"texts=@{tmp_path}/a.txt")
    assert result.code == 2
    assert result.err.splitlines() == [
        "Error: 2 inputs are wrong.",
        "  - input `tpo` is unknown (given: 5) (did you mean top?)",
        "  - texts: is missing (expected: File[])",
    ]
    assert service.files == {}


def test_wrong_inputs_are_not_said_twice(alice: Any, service: Any) -> None:
    service.refuse_inputs = [{"input": "x", "detail": "2 inputs are wrong."}]
    result = alice("workflows", "trigger", "word-statistics")
    assert result.err.splitlines() == ["Error: the inputs are wrong:", "  - x: 2 inputs are wrong."]


def test_wrong_inputs_in_json(alice: Any, service: Any) -> None:
    service.refuse_inputs = PROBLEMS
    result = alice("workflows", "trigger", "word-statistics", "-o", "json")
    assert (result.code, result.out) == (2, "")
    assert result.error["problem"]["inputs"] == PROBLEMS


def test_dry_run(alice: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    words = ["workflows", "trigger", "word-statistics", "-i", f"texts=@{tmp_path}/a.txt", "--dry-run"]
    result = alice(*words)
    assert (result.code, result.err) == (0, "")
    assert result.out == "SUCCESS: The inputs are right. Nothing was started.\n"
    assert alice(*words, "-o", "json").json["valid"] is True
    assert (service.executions, service.files) == ({}, {})
    assert alice(*words, "--follow").code == 2


def test_idempotency_key_and_the_own_retry(alice: Any, service: Any) -> None:
    service.trouble = [("POST", "/workflows/", "drop", {}), ("POST", "/workflows/", 503, {"Retry-After": "0"})]
    assert alice("workflows", "trigger", WORKFLOW, "--idempotency-key", "mine").code == 0
    assert [each.headers["Idempotency-Key"] for each in service.sent("POST", "/")] == ["mine"] * 3
    service.trouble = [("POST", "/workflows/", "drop", {})]
    assert alice("workflows", "trigger", WORKFLOW).code == 0
    first, second = service.sent("POST", "/")[-2:]
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] != "mine"


@pytest.mark.parametrize("output", ["text", "json"])
def test_trigger_what_does_not_exist(alice: Any, service: Any, output: str) -> None:
    result = alice("workflows", "trigger", "Nope@e@w", "-o", output)
    assert (result.code, result.out) == (5, "")
    assert "There is no such thing." in result.err
    assert service.sent("POST", "/") == []


def test_forbidden(alice: Any, service: Any) -> None:
    service.trouble = [("POST", "/workflows/", 403, {})]
    assert alice("workflows", "trigger", WORKFLOW, "-o", "json").error["exit_code"] == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-i", "texts={top}/a b.txt"], "Put an @ before it: -i 'texts=@{top}/a b.txt'"),
        (["-i", "folder={top}"], "Put an @ before it: -i folder=@{top}"),
        (["-i", "texts=@{top}/none"], "there is no file in the directory {top}/none."),
        (["-i", "texts=@{top}/*.csv"], "there is no file {top}/*.csv."),
        (["-i", "texts=@"], "give the name of a file after the @"),
        (["-i", "texts=@/dev/null"], "/dev/null is neither a file nor a directory"),
        (["texts=@{top}/a b.txt", "top=5"], "Give inputs with -i: -i 'texts=@{top}/a b.txt' -i top=5"),
    ],
)
def test_mistakes_of_newcomers(alice: Any, service: Any, tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "a b.txt").write_text("a")
    (tmp_path / "none").mkdir()
    result = alice("workflows", "trigger", "word-statistics", *(word.format(top=tmp_path) for word in words))
    assert (result.code, result.out) == (2, "")
    assert message.format(top=tmp_path) in result.err
    assert service.sent("POST", "/") == []


def test_a_word_that_no_file_has_is_an_id(alice: Any, service: Any) -> None:
    for word in ("file-1", "\x00", "x" * 5000, "~nobody-of-that-name/x"):
        assert alice("workflows", "trigger", "word-statistics", "-i", f"texts={word}").code == 0
        assert service.sent("POST", "/")[-1].json["inputs"] == {"texts": [word]}


def test_names_that_are_not_unicode(alice: Any, service: Any, tmp_path: Path) -> None:
    name = os.fsdecode(b"gr\xf6\xdfe.txt")
    (tmp_path / name).write_text("a")
    assert alice("workflows", "trigger", "word-statistics", "-i", f"texts=@{tmp_path / name}").code == 0
    assert service.sent("POST", "/files")[0].query["name"] == "gr\ufffd\ufffde.txt"
    assert alice("workflows", "show", name).code == 5


def test_operators_see_what_is_wrong_with_what_is_published(alice: Any, service: Any) -> None:
    assert alice("workflows", "problems").code != 0  # to others it is a workflow that there isn't
    service.problems = []
    assert alice("workflows", "problems").out == "No problems.\n"
    bad = {"workflow": "bad", "published": False, "problem": "bad.cwl:2: wrong", "warnings": []}
    odd = {"workflow": None, "published": False, "problem": None, "warnings": ["odd\x1b[2J"]}
    service.problems = [bad, odd]
    assert alice("workflows", "problems").out.splitlines()[0] == "bad: bad.cwl:2: wrong"
    assert "\x1b" not in alice("workflows", "problems").out
    assert alice("workflows", "problems", "-o", "json").json == [bad, odd]
    service.problems = [{**odd, "workflow": name, "warnings": ["tool.cwl:3: odd"]} for name in "abcde"]
    service.ignored = {"ignored": ["old.CWL: its name doesn't end in .cwl\x1b"]}
    lines = alice("workflows", "problems").out.splitlines()
    assert lines[:2] == ["a, b, c and 2 more: tool.cwl:3: odd", "Not published, on purpose:"]
    assert lines[2].startswith("  old.CWL: its name doesn't end in .cwl")
