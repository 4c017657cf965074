"""What the catalogue says of broken documents, and what it does without its directory or cwltool."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.errors import Unavailable
from tests.engines.cwl_documents import ids, tool

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
    "http.cwl": (WORKFLOW + "  s: {run: 'http://127.0.0.1:9/x.cwl', in: [], out: []}\n", "http.cwl:7: "),
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
    "cycle.cwl": (WORKFLOW + "  s: {run: cycle.cwl, in: [], out: []}\n", "cycle.cwl"),
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
    (directory / "not ok.cwl").write_text("- b\n")
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
    monkeypatch.setattr(sys, "executable", str(broken))
    assert ids(catalogue) == ["a"]
    check = catalogue.check()
    assert check.status == "failed"
    assert "No module named 'cwltool'" in check.problems[0]
