"""What cwltool loads is described, whatever stands in it that only others know; and mistakes are told in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcwaas.engines.cwl.workflows.describer import Answer, describe_entries
from hpcwaas.engines.cwl.workflows.metadata import Entry

TOOL = "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: 'true'\n"
PLAIN = TOOL + "inputs: []\noutputs: []\n"
VENDOR = '$namespaces: {sbg: "https://sevenbridges.com#"}\n'

TAKEN = {
    "a job of another vendor": f"{PLAIN}{VENDOR}sbg:job: {{inputs: {{f: {{class: File, path: /path/to/in.ext}}}}}}\n",
    "a file of another vendor": f"{PLAIN}{VENDOR}sbg:icon: {{class: File, location: ../../icon.svg}}\n",
    "a URL of another vendor": f"{PLAIN}{VENDOR}sbg:links: [{{id: https://example.org/x, label: x}}]\n",
    "a device": f"{TOOL}inputs: {{f: {{type: File, default: {{class: File, path: /dev/null}}}}}}\noutputs: []\n",
    "a file of the machine": (
        f"{TOOL}inputs: {{f: {{type: File, default: {{class: File, location: file:///no/hello.txt}}, "
        "secondaryFiles: [.idx]}}}\noutputs: []\n"
    ).replace("}}}\n", "}}\n"),
    "an ontology elsewhere": f'{PLAIN}$schemas: ["file:///no/edam.owl"]\n',
}


def answer(directory: Path, text: str) -> Answer:
    directory.joinpath("x.cwl").write_text(text)
    ((_, found),) = describe_entries(directory, [Entry("x", "x.cwl")])
    return found


@pytest.mark.parametrize("what", TAKEN)
def test_what_cwltool_takes_is_described(what: str, tmp_path: Path) -> None:
    found = answer(tmp_path, TAKEN[what])
    assert "error" not in found, found
    assert found["description"]["files"] == ["x.cwl"]


def test_a_file_that_is_none_of_the_catalogue_is_told(tmp_path: Path) -> None:
    assert answer(tmp_path, TAKEN["a device"])["description"]["warnings"] == [
        "x.cwl: /dev/null is no file of the catalogue; the machine that executes may have it"
    ]


def test_mistakes_are_told_without_values_of_python(tmp_path: Path) -> None:
    for hint in ("42", "[1, 2]", "{a: {b: c}}", "null", "x"):
        found = answer(tmp_path, f"{PLAIN}hints: [{hint}]\n")
        assert not any(word in str(found) for word in ("<class", "ordereddict", "Commented", "unhashable")), found
    step = "run: x.cwl, in: [], out: [], hints: {cwltool:Loop: {loopWhen: $(1), loop: {}, outputMethod: last}}"
    text = (
        'cwlVersion: v1.2\nclass: Workflow\n$namespaces: {cwltool: "http://commonwl.org/cwltool#"}\ninputs: []\n'
        f"outputs: []\nsteps: {{s: {{{step.replace('x.cwl', 'y.cwl')}}}}}\n"
    )
    tmp_path.joinpath("y.cwl").write_text(PLAIN)
    assert "Commented" not in str(answer(tmp_path, text))
