"""Outputs of executions as inputs of others, companions of uploads, and files that are announced, through the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.service import Client, as_user, make_settings, serving

COPY = """
cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
inputs:
  text:
    type: File
    secondaryFiles: [{pattern: .idx, required: false}, {pattern: "$(self.nameroot).top", required: false}]
baseCommand: [sh, -c]
arguments:
  - |-
    cat "$0"* > out.txt; echo index > out.txt.idx; mkdir -p tree/in; cp "$0" tree/in/x; chmod +w "$0"; echo no > "$0"
  - $(inputs.text)
outputs:
  text: {type: File, outputBinding: {glob: out.txt}, secondaryFiles: [.idx]}
  tree: {type: Directory, outputBinding: {glob: tree}}
  many: {type: "File[]", outputBinding: {glob: "out.txt*"}}
"""
LIST = """
cwlVersion: v1.2
class: CommandLineTool
inputs: {tree: Directory}
baseCommand: [sh, -c]
arguments: ['cd "$0"; find . -type f; cat in/x', $(inputs.tree.path)]
outputs: {found: {type: stdout}}
stdout: found.txt
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("taken")
    catalogue = directory / "catalogue"
    catalogue.mkdir()
    (catalogue / "copy.cwl").write_text(COPY)
    (catalogue / "list.cwl").write_text(LIST)
    settings = make_settings(directory / "data", cwl={"catalogue": catalogue}, limits={"requests": None})
    with serving(settings) as address:
        yield address


@pytest.fixture(scope="module")
def alice(url: str) -> Client:
    return as_user(url, "alice")


@pytest.fixture(scope="module")
def first(alice: Client) -> Any:
    """An execution of alice's that has ended."""
    ended = alice.finished(alice.trigger("copy", text=alice.upload("a.txt", b"one\n")))
    assert ended["status"] == "SUCCEEDED", ended["reason"]
    assert ended["inputs_from"] == []
    return ended


def refusal(client: Client, workflow: str, **inputs: Any) -> Any:
    answer = client("POST", f"/workflows/{workflow}", json={"inputs": inputs})
    assert answer.status_code == 400, answer.text
    return answer.json()


def test_an_output_is_an_input_as_it_stands_there(alice: Client, first: Any) -> None:
    given = first["outputs"]["text"]
    assert {"size", "checksum", "secondaryFiles"} <= given.keys()
    second = alice.finished(alice.trigger("copy", text=given))
    assert second["status"] == "SUCCEEDED", second["reason"]
    assert second["inputs_from"] == [first["id"]]
    assert second["inputs"]["text"] == given
    assert alice("GET", second["outputs"]["text"]["location"]).text == "one\nindex\n"
    # A tool that writes to its input doesn't write to the output that it was.
    assert alice("GET", given["location"]).text == "one\n"
    listed = alice("GET", "/executions", params={"inputs_from": first["id"]}).json()["executions"]
    assert second["id"] in [item["id"] for item in listed]
    assert alice("GET", "/executions", params={"inputs_from": second["id"]}).json()["executions"] == []


def test_a_location_alone_brings_the_secondary_files(alice: Client, first: Any) -> None:
    ended = alice.finished(alice.trigger("copy", text=first["outputs"]["text"]["location"]))
    assert alice("GET", ended["outputs"]["text"]["location"]).text == "one\nindex\n"
    one = alice.finished(alice.trigger("copy", text=first["outputs"]["many"][1]))
    assert alice("GET", one["outputs"]["text"]["location"]).text == "index\n"


def test_nothing_lies_beside_a_file_that_is_written_out(alice: Client) -> None:
    literal = {"class": "File", "basename": "a.txt", "contents": "one\n"}
    ended = alice.finished(alice.trigger("copy", text=literal))
    assert ended["status"] == "SUCCEEDED", ended["reason"]
    assert alice("GET", ended["outputs"]["text"]["location"]).text == "one\n"


def test_a_directory_of_outputs_and_a_file_in_it(alice: Client, first: Any) -> None:
    tree = first["outputs"]["tree"]
    ended = alice.finished(alice.trigger("list", tree=tree))
    assert ended["status"] == "SUCCEEDED", ended["reason"]
    assert alice("GET", ended["outputs"]["found"]["location"]).text == "./in/x\none\n"
    inside = f"{tree['location']}?path=in/x"
    ended = alice.finished(alice.trigger("copy", text=inside))
    assert alice("GET", ended["outputs"]["text"]["location"]).text == "one\n"
    for path, words in (("in/gone", "It isn't there any more"), ("in", "is a Directory; expected a File")):
        [problem] = refusal(alice, "copy", text=f"{tree['location']}?path={path}")["inputs"]
        assert problem["input"] == "text"
        assert words in problem["detail"]


def test_what_is_somebody_elses_is_like_what_there_never_was(url: str, alice: Client, first: Any) -> None:
    bob = as_user(url, "bob")
    given = first["outputs"]["text"]["location"]
    unknown = given.replace(first["id"], "0" * len(first["id"]))
    words = [refusal(bob, "copy", text=place)["detail"].replace(place, "") for place in (given, unknown)]
    assert words[0] == words[1]
    assert alice("PUT", f"/executions/{first['id']}/shares", json={"users": ["bob"], "groups": []}).status_code < 300
    ended = bob.finished(bob.trigger("copy", text=given))
    assert (ended["status"], ended["inputs_from"]) == ("SUCCEEDED", [first["id"]])
    # Who shares an output sees no execution of others for it.
    listed = alice("GET", "/executions", params={"inputs_from": first["id"]}).json()["executions"]
    assert ended["id"] not in [item["id"] for item in listed]
    assert alice("PUT", f"/executions/{first['id']}/shares", json={"users": [], "groups": []}).status_code < 300
    withdrawn = refusal(bob, "copy", text=given)["detail"].replace(given, "")
    assert withdrawn == words[1]


@pytest.mark.parametrize(
    ("change", "way", "words"),
    [
        ({"size": 5}, "text.size", "expected 4"),
        ({"checksum": "sha1$00"}, "text.checksum", "the digest of the file"),
        ({"nameroot": "other"}, "text.nameroot", "follows from the name"),
        ({"location": "PLACE/nothing"}, "text", "has no output 'nothing'. Its outputs: many, text, tree"),
        ({"location": "PLACE/many"}, "text", "no file or directory"),
        ({"location": "PLACE/tree"}, "text", "is a Directory; expected a File"),
        ({"location": "PLACE/text?path=..%2F..%2Fx"}, "text", "has no part"),
        ({"location": "PLACE/tree?path=..%2F..%2Fx"}, "text", "has no part"),
        ({"location": "PLACE/text?other=1"}, "text", "named by its location"),
    ],
)
def test_outputs_that_are_not_what_is_said_of_them(
    alice: Client, first: Any, change: dict[str, Any], way: str, words: str
) -> None:
    place = f"/executions/{first['id']}/outputs"
    change = {
        name: str(value).replace("PLACE", place) if name == "location" else value for name, value in change.items()
    }
    [problem] = refusal(alice, "copy", text=first["outputs"]["text"] | change)["inputs"]
    assert problem["input"] == way
    assert words in problem["detail"]


def test_an_upload_brings_its_companions(url: str, alice: Client) -> None:
    upload = alice.upload("b.txt", b"B")
    ask = {"name": "b.txt.idx", "companion_of": upload}
    answer = alice("POST", "/files", params=ask, data=b"I")
    assert (answer.status_code, answer.json()["companion_of"]) == (201, upload)
    ended = alice.finished(alice.trigger("copy", text=upload))
    assert alice("GET", ended["outputs"]["text"]["location"]).text == "BI"
    alone = {"class": "File", "location": upload, "secondaryFiles": []}
    ended = alice.finished(alice.trigger("copy", text=alone))
    assert alice("GET", ended["outputs"]["text"]["location"]).text == "B"
    assert "already" in alice("POST", "/files", params=ask, data=b"I").json()["detail"]
    nested = {"name": "c", "companion_of": answer.json()["id"]}
    assert alice("POST", "/files", params=nested, data=b"I").status_code == 400
    bob = as_user(url, "bob")
    assert "no upload" in bob("POST", "/files", params=ask, data=b"I").json()["detail"]
    assert alice("DELETE", f"/files/{upload}").status_code == 204
    assert alice("GET", f"/files/{answer.json()['id']}").status_code == 404


def test_companions_are_told_by_patterns_and_expressions(alice: Client) -> None:
    schema = alice("GET", "/workflows/copy").json()["inputs"]
    assert schema["properties"]["text"]["x-secondaryFiles"] == [".idx?", "$(self.nameroot).top?"]
    body = {"inputs": {"text": {"class": "File", "basename": "d.txt"}}}
    answer = alice("POST", "/workflows/copy/companions", json=body)
    assert answer.status_code == 200, answer.text
    needs = [{"basename": name, "class": "File", "required": False} for name in ("d.txt.idx", "d.top")]
    assert answer.json()["companions"] == [{"input": "text", "basename": "d.txt", "needs": needs}]


def test_files_may_be_announced_to_a_dry_run_alone(alice: Client) -> None:
    assert alice("GET", "/workflows/copy").json()["inputs"]["x-announced"] is True
    body = {"inputs": {"text": {"class": "File", "basename": "d.txt", "size": 3}}}
    answer = alice("POST", "/workflows/copy", params={"dry_run": "true"}, json=body)
    assert (answer.status_code, answer.json().get("check")) == (200, None), answer.text
    assert "either location or contents" in refusal(alice, "copy", **body["inputs"])["detail"]
    assert "instruction of a job file" in refusal(alice, "copy", **body["inputs"], **{"cwl:tool": "x.cwl"})["detail"]
