"""`GET /workflows/problems`: what operators are told of what isn't published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.api.application import Services
from hpcwaas.app import assemble
from hpcwaas.core.people import Principal
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.workflows import jshint
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.engines.cwl.workflows.checking import check_catalogue
from hpcwaas.errors import NotFound
from tests.engines.cwl_documents import tool
from tests.service import make_settings

OPERATOR = Principal("olga", "olga", roles=frozenset({"user", "operator"}))


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Services]:
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    (catalogue / "good.cwl").write_text(tool())
    (catalogue / "bad.cwl").write_text("cwlVersion: v1.2\nclass: Workflow\ninputs: [\n")
    (catalogue / "odd.cwl").write_text(tool())
    (catalogue / "odd.meta.yaml").write_text("authorized_users: [bob, bob]\nsites: [mare]")
    found = assemble(make_settings(tmp_path, cwl={"catalogue": catalogue, "confinement": "none"}))
    yield found
    found.close()


LINT = """\
cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs: {n: {type: int, default: many}, maybe: "string?"}
outputs: []
steps:
  one:
    run: parts/tool.cwl
    in:
      n: {source: n, valueFrom: $(inputs.n +)}
      text: maybe
    out: []
"""
PART = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
requirements: {ResourceRequirement: {coresMin: 4096}}
inputs: {n: int, text: string}
arguments: [$(inputs.k)]
outputs: []
"""
SAID = {
    "lint.cwl:4: the default of n is not a whole number (int)",
    "lint.cwl:10: JavaScript: Expected an identifier and instead saw ')'.",
    "parts/tool.cwl:6: the expression $(inputs.k) names the input k, which there isn't",
    'lint.cwl:4: Source \'maybe\' of type ["null", "string"] may be incompatible with sink \'text\' of type "string"',
}


def test_operators_are_told_what_is_wrong(parts: Services) -> None:
    found = {item.id: item for item in parts.catalogue.problems(OPERATOR)}
    assert found.keys() == {None, "bad", "odd"}
    assert not found["bad"].published
    assert str(found["bad"].problem).startswith("bad.cwl:")
    assert found["odd"].published
    assert found["odd"].warnings == ("odd.meta.yaml: authorized_users has bob more than once",)
    assert "name the site mare" in str(found[None].problem)


def test_for_everybody_else_it_is_a_workflow_that_there_is_not(parts: Services) -> None:
    with pytest.raises(NotFound, match=r"^There is no such workflow\.$"):
        parts.catalogue.problems(Principal("alice", "alice"))


def test_operators_are_told_all_that_a_check_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "catalogue"
    (directory / "parts").mkdir(parents=True)
    (directory / "lint.cwl").write_text(LINT)
    (directory / "parts/tool.cwl").write_text(PART)
    (directory / "old.CWL").write_text(tool())
    (directory / "like.yaml").write_text(tool())
    (directory / "job.yaml").write_text("n: 1\n")
    settings = CWLSettings(catalogue=directory)
    report = check_catalogue(directory, settings, tmp_path)
    catalogue = Catalogue(directory, tmp_path / "state", limits=settings.limits)
    with monkeypatch.context() as patch:
        patch.setattr(jshint, "_node", lambda: None)
        without = {item.id: item for item in Catalogue(directory, tmp_path / "state").problems()}
    assert any("JavaScript isn't checked, since there is no Node.js" in each for each in without["lint"].warnings)
    found = {item.id: item for item in catalogue.problems()}
    catalogue.close()
    told = {item.id: item.warnings for item in report.workflows}
    assert {*told["lint"]} >= SAID, SAID - {*told["lint"]}
    assert any("tool.cwl:4: asks for 4096 cores" in each for each in told["lint"])
    assert {key: set(item.warnings) for key, item in found.items() if key} == {key: set(it) for key, it in told.items()}
    ignored = [f"{item.path}: {item.reason}" for item in report.ignored]
    assert [*found[None].ignored] == ignored
    assert [each.partition(":")[0] for each in ignored] == ["like.yaml", "old.CWL"]

    def never(*_: object) -> None:
        raise AssertionError("what is known of a version's scripts isn't asked again")

    monkeypatch.setattr(jshint, "_node", never)
    again = Catalogue(directory, tmp_path / "state")
    assert {each.id for each in again.problems()} == found.keys()
    again.close()
