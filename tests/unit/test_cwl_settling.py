"""What of a look at the catalogue is in force, by when its files changed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from hpcwaas.engines.cwl.workflows.entries import find_entries, read_stamps
from hpcwaas.engines.cwl.workflows.index import Index, Published, Unread
from hpcwaas.engines.cwl.workflows.settling import Settled, settle
from tests.unit.test_cwl_layouts import ALICE, lay

OLD = Index("x", manifest=("", 0.0))


def look(directory: Path, old: Index, later: float = 0.0) -> Settled:
    stamps = read_stamps(directory)

    def last(workflow_id: str) -> Published | None:
        return old.by_id.get(workflow_id)

    return settle(find_entries(directory, stamps, old.known), old, stamps, time.time() + later, 600.0, last)


def ids(settled: Settled) -> list[str]:
    return [entry.id for entry in settled.found.entries]


def test_at_first_everything_is_in_force(tmp_path: Path) -> None:
    lay(tmp_path, "w/a.cwl", "w/b.cwl", "x.cwl", **{"catalogue.yaml": f"workflows: [{{document: x.cwl, {ALICE}}}]"})
    settled = look(tmp_path, Index())
    assert ids(settled) == ["w.a", "w.b", "x"]
    assert settled.due is None


def test_new_documents_of_a_folder_of_several_wait_and_others_do_not(tmp_path: Path) -> None:
    lay(tmp_path, "w/a.cwl", "w/b.cwl", "one/main.cwl", "x.cwl")
    settled = look(tmp_path, OLD)
    assert ids(settled) == ["one", "x"]
    assert settled.due is not None
    assert ids(look(tmp_path, OLD, later=601)) == ["one", "w.a", "w.b", "x"]
    entries = look(tmp_path, Index()).found.entries
    reading = replace(OLD, unread=tuple(Unread(entry) for entry in entries))
    assert ids(look(tmp_path, reading)) == ["one", "w.a", "w.b", "x"]


def test_what_is_not_published_waits_for_the_catalogue_file(tmp_path: Path) -> None:
    lay(tmp_path, "x.cwl", "y.cwl", **{"catalogue.yaml": "workflows: [{document: x.cwl}]"})
    [x, y] = look(tmp_path, Index()).found.entries
    published = Published(x, "1" * 64, ("x.cwl",), (), (), "")
    old = replace(OLD, published=(published,), unread=(Unread(y),))
    settled = look(tmp_path, old)
    assert ids(settled) == ["x"]
    assert settled.manifest[0] == settled.found.manifest != ""
    again = replace(old, manifest=settled.manifest)
    assert ids(look(tmp_path, again, later=599)) == ["x"]
    assert ids(look(tmp_path, again, later=601)) == ["x", "y"]
    assert ids(look(tmp_path, replace(old, manifest=(settled.manifest[0], time.time() + 9999)))) == ["x"]


def test_a_catalogue_file_that_vanishes_or_is_not_understood_leaves_all_as_it_was(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "x.cwl",
        "y.cwl",
        **{"catalogue.yaml": f"convention: false\nworkflows: [{{document: x.cwl, {ALICE}}}]"},
    )
    first = look(tmp_path, Index())
    [x] = first.found.entries
    published = Published(x, "1" * 64, ("x.cwl",), (), (), "")
    old = Index("x", published=(published,), manifest=first.manifest)
    for content in (None, "workflow: []"):
        (tmp_path / "catalogue.yaml").unlink() if content is None else lay(tmp_path, **{"catalogue.yaml": content})
        settled = look(tmp_path, old)
        assert ids(settled) == []
        [item] = settled.found.unusable
        assert (item.id, item.source, item.entry) == ("x", "catalogue.yaml", x)
