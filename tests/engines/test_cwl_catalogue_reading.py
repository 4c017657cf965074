"""What of a catalogue is described again, and what describes it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
import ruamel.yaml.scanner
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from schema_salad.utils import yaml_no_ts

from hpcwaas.engines.cwl.workflows import describer, reading
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.engines.cwl.workflows.describer import Answer, Describers, _Process, describe_entries
from hpcwaas.engines.cwl.workflows.metadata import Entry
from tests.e2e.processes import eventually
from tests.engines.cwl_documents import DATA, ids, tool

WORKFLOW = "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps: {s: {run: RUN, in: [], out: []}}\n"
SWELLS = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: x
outputs: []
inputs:
  x:
    type: Any
    default:
"""
COMMENTED = """\
#!/usr/bin/env cwl-runner
# First

cwlVersion: v1.2   # beside
class: CommandLineTool
# - between
doc: |   # after the bar
  Text # that is none

  # nor is this
arguments: [a, # in a list
  # alone
  {prefix: -x, valueFrom: "#no"},

  ]
inputs:  # nothing beside

  # deeper
  x#y:
  # less deep
    type: string
    default: >-

      folded
      # text

    # after it
  z: {type: int,

    # in a map
    default: 1}
outputs: []
# last"""


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of what is described, as it happens."""
    found: list[str] = []
    describe = _Process.describe

    def counting(process: _Process, entry: Entry, timeout: float, **more: Any) -> Answer:
        found.append(entry.id)
        return describe(process, entry, timeout, **more)

    monkeypatch.setattr(_Process, "describe", counting)
    return found


def test_everybody_waits_for_the_first_read(
    directory: Path, make: Callable[[], Catalogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also who comes second, when there is an index already and nothing in it: no list is empty at the start."""
    gate, describe = threading.Event(), _Process.describe

    def waiting(process: _Process, entry: Entry, timeout: float, **more: Any) -> Answer:
        assert gate.wait(60)
        return describe(process, entry, timeout, **more)

    monkeypatch.setattr(_Process, "describe", waiting)
    (directory / "good.cwl").write_text(tool())
    catalogue = make()
    with ThreadPoolExecutor(2) as pool:
        try:
            first = pool.submit(ids, catalogue)
            eventually(lambda: catalogue._reader.index is not None)
            second = pool.submit(ids, catalogue)
            assert wait([second], 0.5).not_done
        finally:
            gate.set()
        assert first.result(60) == second.result(60) == ["good"]


def take(described: list[str]) -> list[str]:
    found = sorted(described)
    described.clear()
    return found


def test_broken_documents_are_described_again_when_something_of_theirs_changes(
    directory: Path, make: Callable[[], Catalogue], described: list[str], tmp_path: Path
) -> None:
    for name, content in {
        "good": tool(),
        "yaml": "a: [",
        "empty": "",
        "part": WORKFLOW.replace("RUN", "parts/broken.cwl"),
        "gone": WORKFLOW.replace("RUN", "parts/gone.cwl"),
        "keys": tool(),
        "link": WORKFLOW.replace("RUN", "parts/link.cwl"),
        "large": tool() + "#" * 17 * 2**20,
    }.items():
        (directory / f"{name}.cwl").write_text(content)
    (directory / "keys.meta.yaml").write_text("ssh_keys: [nothing]")
    parts = directory / "parts"
    parts.mkdir()
    (parts / "meta.yaml").write_text("authorized_users: []\nmain: broken.cwl\n")
    (parts / "broken.cwl").write_text(tool() + "bogus: 1\n")
    (tmp_path / "outside.cwl").write_text(tool())
    (parts / "link.cwl").symlink_to(tmp_path / "outside.cwl")
    assert ids(make()) == ["good"]
    everything = ["empty", "gone", "good", "keys", "large", "link", "part", "parts", "yaml"]
    assert take(described) == everything

    catalogue = make()
    problems = catalogue.check().problems
    assert len(problems) == len(everything) - 1
    assert "large.cwl: large.cwl is over 16 MiB; the workflow is not published" in problems
    (directory / "new.cwl").write_text(tool())
    assert ids(catalogue) == ["good", "new"]
    assert catalogue.check().problems == problems
    assert take(described) == ["new"]

    (parts / "gone.cwl").write_text(tool())
    assert ids(catalogue) == ["gone", "good", "new"]
    assert take(described) == ["gone"]
    (parts / "broken.cwl").write_text(tool())
    assert ids(catalogue) == ["gone", "good", "new", "part", "parts"]
    assert take(described) == ["part", "parts"]
    (parts / "link.cwl").unlink()
    (parts / "link.cwl").write_text(tool())
    assert ids(catalogue) == ["gone", "good", "link", "new", "part", "parts"]
    assert take(described) == ["link"]
    (directory / "keys.meta.yaml").write_text("authorized_users: [alice]")
    (directory / "large.cwl").write_text(tool())
    assert ids(catalogue) == ["gone", "good", "keys", "large", "link", "new", "part", "parts"]
    assert take(described) == ["keys", "large"]


def test_a_broken_edit_is_described_once_and_its_metadata_are_obeyed(
    directory: Path, make: Callable[[], Catalogue], described: list[str]
) -> None:
    (directory / "a.cwl").write_text(tool("Good"))
    catalogue = make()
    assert ids(catalogue) == ["a"]
    (directory / "a.cwl").write_text("a: [")
    assert catalogue.workflows()[0].label == "Good"
    assert take(described) == ["a", "a"]
    for users in (["alice", "bob"], ["alice"], []):
        (directory / "a.meta.yaml").write_text(f"authorized_users: {users}")
        assert [each.authorized_users for each in make().workflows()] == [frozenset(users)]
    assert take(described) == []
    (directory / "a.meta.yaml").write_text("authorized_users: [")
    assert ids(make()) == []
    (directory / "a.meta.yaml").write_text("authorized_users: [alice]")
    assert make().workflows()[0].label == "Good"
    take(described)
    (directory / "a.cwl").write_text(tool("Better"))
    assert catalogue.workflows()[0].label == "Better"
    assert catalogue.check().status == "ok"
    assert take(described) == ["a"]


def test_what_was_cut_off_is_described_again_later(
    directory: Path, make: Callable[[], Catalogue], described: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Describers.__init__, "__defaults__", (5.0, None))
    monkeypatch.setattr(reading, "AGAIN", 600.0)
    os.mkfifo(directory / "hangs.cwl")
    (directory / "broken.cwl").write_text("a: [")
    (directory / "good.cwl").write_text(tool())
    catalogue = make()
    assert ids(catalogue) == ["good"]
    assert "hangs.cwl: reading it takes longer than 5 seconds" in " ".join(catalogue.check().problems)
    assert take(described) == ["broken", "good", "hangs"]
    assert ids(make()) == ["good"]
    assert take(described) == []
    monkeypatch.setattr(reading, "AGAIN", -1.0)
    (directory / "hangs.cwl").touch()
    assert ids(catalogue) == ["good"]
    assert take(described) == ["hangs"]
    assert ids(catalogue) == ["good"]
    assert take(described) == ["hangs"], "its time has come, though nothing has changed"


def test_one_that_hangs_and_one_that_swells_take_none_of_many_with_them(directory: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    good = [f"good{number:02}" for number in range(60)]
    for name in good:
        (directory / f"{name}.cwl").write_text(tool(name))
    os.mkfifo(directory / "hangs.cwl")
    (directory / "swells.cwl").write_text(SWELLS + "\n".join(f"      {line}" for line in levels))
    names = [*good[:20], "hangs", *good[20:40], "swells", *good[40:]]
    entries = [Entry(name, f"{name}.cwl") for name in names]
    answers = {entry.id: answer for entry, answer in describe_entries(directory, entries, 15, processes=2)}
    assert sorted(answers) == sorted(names)
    for name in good:
        assert answers[name]["description"]["label"] == name
    assert answers["hangs"]["error"] == "hangs.cwl: reading it takes longer than 15 seconds"
    assert answers["hangs"]["unsure"]
    assert answers["swells"]["error"].startswith("swells.cwl: ")


def test_a_process_is_kept_for_the_next_edit(
    directory: Path, make: Callable[[], Catalogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describer, "WARM", 60.0)
    started: list[_Process] = []
    start, end = _Process.__init__, _Process.end

    def starting(process: _Process, *arguments: Any) -> None:
        start(process, *arguments)
        started.append(process)

    def ending(process: _Process) -> None:
        end(process)
        started.remove(process)

    monkeypatch.setattr(_Process, "__init__", starting)
    monkeypatch.setattr(_Process, "end", ending)
    kept: set[int] = set()
    catalogue = make()
    for label in ("One", "Two", "Three"):
        (directory / "a.cwl").write_text(tool(label))
        eventually(lambda label=label: [each.label for each in catalogue.workflows()] == [label])  # type: ignore[misc]
        kept.update(map(id, started))
    assert len(kept) == len(started) == 1
    catalogue.close()
    assert started == []


def test_comments_that_are_passed_over_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(text: str) -> object:
        return _placed(next(yaml_no_ts().load_all(text)))

    texts = [path.read_text("utf-8") for path in sorted(DATA.rglob("*.cwl"))]
    assert len(texts) > 5
    for text in [COMMENTED, *texts]:
        whole = load(text)
        with monkeypatch.context() as patch:
            patch.setattr(ruamel.yaml.scanner, "RoundTripScanner", ruamel.yaml.scanner.Scanner)
            assert load(text) == whole


def _placed(value: Any) -> object:
    """A value with where its members lie."""
    match value:
        case CommentedMap():
            return {key: (value.lc.data and value.lc.data.get(key), _placed(each)) for key, each in value.items()}
        case CommentedSeq():
            return [(value.lc.data and value.lc.data.get(index), _placed(each)) for index, each in enumerate(value)]
    return value


def test_what_workflows_share_is_read_as_if_each_were_alone(directory: Path) -> None:
    """One process keeps what it has parsed: nobody sees what was done to it for another workflow, nor an old text."""
    part = directory / "parts"
    part.mkdir()
    (part / "types.yml").write_text("- {name: pair, type: record, fields: [{name: a, type: int}]}\n")
    shared = tool("Shared").replace(
        "inputs:", "requirements: {SchemaDefRequirement: {types: [$import: types.yml]}}\ninputs:"
    )
    (part / "tool.cwl").write_text(shared)
    for name in ("a", "b", "c"):
        (directory / f"{name}.cwl").write_text(WORKFLOW.replace("RUN", "parts/tool.cwl"))
    (directory / "same.cwl").write_text(WORKFLOW.replace("RUN", "parts/same.cwl"))
    (part / "same.cwl").write_text(shared.replace("cwlVersion", "id: other\ncwlVersion"))
    mains = {"a": "a.cwl", "b": "b.cwl", "tool": "parts/tool.cwl", "same": "same.cwl", "again": "parts/same.cwl"}
    entries = [Entry(name, main) for name, main in mains.items()]

    def alone(entry: Entry) -> Answer:
        ((_, answer),) = describe_entries(directory, [entry], processes=1)
        return answer

    with Describers[None](directory, processes=1) as describers:
        describers.want([*entries, *reversed(entries)], None)
        together = [describers.answer()[:2] for _ in range(2 * len(entries))]
        expected = {entry.id: alone(entry) for entry in entries}
        assert all("description" in answer for answer in expected.values()), expected
        for entry, answer in together:
            assert answer == expected[entry.id]
        (part / "tool.cwl").write_text(
            shared.replace("inputs:", "hints: {ResourceRequirement: {coresMin: 3}}\ninputs:")
        )
        describers.want([Entry("c", "c.cwl")], None)
        changed = describers.answer()[1]["description"]
    assert changed["needs"][0]["cores"] == 3
    assert changed["files"] == ["c.cwl", "parts/tool.cwl", "parts/types.yml"]


def test_leaving_early_ends_what_hangs(directory: Path) -> None:
    os.mkfifo(directory / "hangs.cwl")
    (directory / "good.cwl").write_text(tool())
    answers = describe_entries(directory, [Entry("good", "good.cwl"), Entry("hangs", "hangs.cwl")], 3600)
    assert next(iter(answers))[0].id == "good"
    answers.close()  # type: ignore[attr-defined]


def test_how_large_the_service_is_makes_nobody_read_a_broken_document_twice(
    directory: Path, make: Callable[[], Catalogue], described: list[str]
) -> None:
    (directory / "broken.cwl").write_text("a: [")
    large = bytearray(b"x" * (600 << 20))
    assert ids(make()) == []
    assert len(large) > 0
    assert described == ["broken"]
