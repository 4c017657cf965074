"""The command `hpcwaas-api catalogue check`."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hpcwaas.command import checked
from hpcwaas.command.main import main
from hpcwaas.configuration.settings import Settings
from hpcwaas.engines.cwl.workflows.jshint import Script, check_scripts
from tests.engines.cwl_documents import tool

WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
requirements:
  InlineJavascriptRequirement:
    expressionLib: ["function twice(x) { return 2 * x; }"]
  StepInputExpressionRequirement: {}
inputs:
  n: {type: int, default: many}
  f: {type: File, default: {class: File, location: gone.txt}}
outputs: []
steps:
  one:
    run:
      class: CommandLineTool
      baseCommand: touch
      inputs: {n: int}
      arguments:
        - $(twice(inputs.n))
        - $(inputs.n +)
        - ${ return unknownThing; }
        - ${ let x = 1; return x; }
        - $(inputs.k)
      requirements:
        ResourceRequirement:
          coresMin: 4096
          ramMin: 99999999
      outputs: {o: {type: File, outputBinding: {glob: x}}}
    in:
      n: {source: n, valueFrom: "$(inputs.q)"}
    out: [o]
  two:
    run: ../tools/two.cwl
    in:
      f: one/o
    out: []
"""
TWO = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs:
  f:
    type: File
    format: "http://edamontology.org/format_2572"
    secondaryFiles: [.bai]
arguments: ["$(1 + 1)"]
outputs: []
"""
EXPECTED = {
    "workflows/main.cwl:8: the default of n is not a whole number (int)",
    "workflows/main.cwl:9: the default of f is workflows/gone.txt, which does not exist",
    "workflows/main.cwl:19: JavaScript: Expected an identifier and instead saw ')'.",
    "workflows/main.cwl:20: JavaScript: 'unknownThing' is not defined.",
    "workflows/main.cwl:21: JavaScript: 'let' is available in ES. CWL only supports ES5.1",
    "workflows/main.cwl:22: the expression $(inputs.k) names the input k, which there isn't",
    "workflows/main.cwl:29: the expression $(inputs.q) names the input q, which there isn't",
    "workflows/main.cwl:34: two/f asks for a format, and o has none: it fails when it runs",
    "workflows/main.cwl:34: two/f needs the secondary file .bai, which o doesn't declare",
}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("hpcwaas.configuration.load.SYSTEM_FILE", tmp_path / "etc.yml")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    catalogue = tmp_path / "catalogue"
    for folder in ("workflows", "tools"):
        (catalogue / folder).mkdir(parents=True)
    (catalogue / "workflows/main.cwl").write_text(WORKFLOW)
    (catalogue / "tools/two.cwl").write_text(TWO)
    return catalogue


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["catalogue", "check", *map(str, arguments)])


def report(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("-o", "json", *arguments).stdout)
    return found


def sentence(placed: dict[str, Any]) -> str:
    return f"{placed['file']}:{placed['line']}: {placed['detail']}"


def test_what_fails_only_when_it_runs_is_told_with_its_line(directory: Path) -> None:
    (alone,) = report(directory / "workflows/main.cwl")["workflows"]
    assert alone["problem"]["detail"].startswith("two.cwl lies outside the catalogue")
    (directory / ".git").mkdir()  # a document of a repository may refer to all of it
    (alone,) = report(directory / "workflows/main.cwl")["workflows"]
    assert alone["problem"] is None
    whole = {item["id"]: item for item in report(directory)["workflows"]}
    (main_id,) = [each for each in whole if each.startswith("workflows")]
    warnings = {sentence(warning) for warning in whole[main_id]["warnings"]}
    assert warnings >= EXPECTED, EXPECTED - warnings
    assert any("asks for 4096 cores" in warning for warning in warnings)
    assert not any("$(1 + 1)" in warning for warning in warnings)  # the workflow hands JavaScript down
    assert "tools/two.cwl:9: the expression $(1 + 1) is JavaScript, which needs InlineJavascriptRequirement" in {
        sentence(warning) for item in whole.values() for warning in item["warnings"]
    }


def test_exit_codes_are_for_scripts(directory: Path) -> None:
    assert run(directory).exit_code == 0
    assert run(directory, "--strict").exit_code == 1
    (directory / "broken.cwl").write_text("cwlVersion: v1.2\nclass: Workflow\ninputs: [\n")
    result = run(directory)
    assert result.exit_code == 1
    assert "broken.cwl:" in result.stdout
    assert run(directory / "gone").exit_code == 2


def test_users_inputs_versions_and_ignored_files_are_shown(tmp_path: Path) -> None:
    catalogue = tmp_path / "small"
    catalogue.mkdir()
    (catalogue / "one.cwl").write_text(tool())
    (catalogue / "one.meta.yaml").write_text("authorized_users: [alice]\nname: The first\nsites: [mare]")
    (catalogue / "two.CWL").write_text(tool())
    (catalogue / "three.yaml").write_text(tool())
    (catalogue / "four.yaml").write_text("x: 1\n")
    found = report(catalogue)
    (one,) = found["workflows"]
    assert (one["id"], one["title"], one["users"], one["sites"]) == ("one", "The first", ["alice"], ["mare"])
    assert len(one["version"]) == 64
    assert [item["path"] for item in found["ignored"]] == ["three.yaml", "two.CWL"]
    text = run(catalogue, "--strict")
    assert (text.exit_code, "one: The first\n  for alice; on mare; one.cwl" in text.stdout) == (0, True)
    assert "two.CWL: its name doesn't end in .cwl" in text.stdout


def test_javascript_that_is_right_is_passed_over() -> None:
    good = '"use strict";\n\n(function(){return (twice(inputs.n));})()'
    known, unknown = (Script("x.cwl:1", good, library) for library in ("function twice(x) { return 2 * x; }", ""))
    assert check_scripts([known, unknown]) == {known: [], unknown: ["x.cwl:1: JavaScript: 'twice' is not defined."]}


def test_a_change_of_what_a_document_refers_to_is_seen_even_while_it_is_checked(directory: Path) -> None:
    (directory / ".git").mkdir()
    looks = checked.watch(directory / "workflows/main.cwl", Settings())
    next(looks)
    (directory / "tools/two.cwl").write_text(TWO + "# changed while the report is made")
    next(looks)  # ends by itself
    waiting = Thread(target=next, args=(looks,))
    waiting.start()
    number = 0
    while waiting.is_alive():
        number += 1
        (directory / "tools/two.cwl").write_text(TWO + "#" * number)
        waiting.join(1)
    assert number >= 1
