"""What users see of a catalogue while it is being read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcwaas.core.models import Workflow
from hpcwaas.engines.cwl.workflows import reader
from hpcwaas.engines.cwl.workflows.catalogue import Catalogue
from hpcwaas.engines.cwl.workflows.describer import Describers
from hpcwaas.engines.cwl.workflows.metadata import Entry
from hpcwaas.errors import NotFound, Unavailable
from tests.engines.cwl_documents import ids, tool
from tests.waiting import until


@pytest.fixture
def hanging(
    directory: Path, make: Callable[[], Catalogue], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Catalogue]]:
    """Makes catalogues with a document whose reading doesn't end, and which nobody waits for."""
    monkeypatch.setattr(Describers.__init__, "__defaults__", (3600.0, 2))
    for name in ("PATIENCE", "PATIENCE_FOR_ONE", "PATIENCE_WITH_MANY"):
        monkeypatch.setattr(reader, name, 0.1)
    os.mkfifo(directory / "hangs.cwl")
    (directory / "hangs.meta.yaml").write_text("authorized_users: [alice]\n")
    (directory / "a.cwl").write_text(tool("A"))
    (directory / "b.cwl").write_text(tool("B"))
    made: list[Catalogue] = []

    def each() -> Catalogue:
        made.append(make())
        return made[-1]

    yield each
    for catalogue in made:
        catalogue.close()


def listed(catalogue: Catalogue) -> list[str]:
    """Ids of what is known, even before anything is."""
    try:
        return ids(catalogue)
    except Unavailable:
        return []


def alice(workflow: Workflow) -> bool:
    return workflow.authorized_users is None or "alice" in workflow.authorized_users


def bob(workflow: Workflow) -> bool:
    return workflow.authorized_users is None or "bob" in workflow.authorized_users


def test_the_list_has_what_is_known_and_says_what_is_still_being_read(hanging: Callable[[], Catalogue]) -> None:
    catalogue = hanging()
    until(lambda: listed(catalogue) == ["a", "b"])
    assert [(each.id, each.authorized_users) for each in catalogue.unread()] == [("hangs", frozenset({"alice"}))]
    assert catalogue.check().status == "ok"
    assert catalogue.details("a", bob).workflow.label == "A"
    with pytest.raises(Unavailable, match="'hangs' is still being read") as caught:
        catalogue.details("hangs", alice)
    assert caught.value.retry_after > 0
    for workflow_id in ("hangs", "nothing"):
        with pytest.raises(NotFound):
            catalogue.details(workflow_id, bob)


def test_edits_count_while_something_else_is_being_read(hanging: Callable[[], Catalogue], directory: Path) -> None:
    first, second = hanging(), hanging()
    for catalogue in (first, second):
        until(lambda: listed(catalogue) == ["a", "b"])  # noqa: B023 - called at once
    (directory / "a.meta.yaml").write_text("authorized_users: [alice]\n")
    (directory / "b.cwl").unlink()
    (directory / "c.cwl").write_text(tool("C"))
    (directory / "hangs.meta.yaml").write_text("authorized_users: [bob]\n")
    for catalogue in (first, second):
        until(lambda: listed(catalogue) == ["a", "c"])  # noqa: B023
        assert catalogue.workflows()[0].authorized_users == frozenset({"alice"})
        assert [each.authorized_users for each in catalogue.unread()] == [frozenset({"bob"})]
    (directory / "a.cwl").write_text("a: [")
    until(lambda: bool(first.check().problems))
    assert first.details("a").workflow.label == "A"
    (directory / "hangs.cwl").unlink()
    (directory / "hangs.cwl").write_text(tool("Mended"))
    (directory / "a.cwl").write_text(tool("Again"))
    until(lambda: first.details("a").workflow.label == "Again")


def test_what_has_been_read_is_kept_when_reading_is_cut_off(
    hanging: Callable[[], Catalogue], directory: Path, tmp_path: Path
) -> None:
    catalogue = hanging()
    until(lambda: listed(catalogue) == ["a", "b"])
    catalogue.close()
    made = {path: path.stat().st_ino for path in (tmp_path / "state" / "snapshots").iterdir()}
    assert len(made) == 2
    again = hanging()
    until(lambda: listed(again) == ["a", "b"])
    (directory / "hangs.cwl").unlink()
    until(lambda: again.unread() == [] and ids(again) == ["a", "b"])
    assert {path: path.stat().st_ino for path in made} == made


def test_a_version_that_is_published_stays_while_the_next_is_read(
    hanging: Callable[[], Catalogue], directory: Path
) -> None:
    catalogue = hanging()
    until(lambda: listed(catalogue) == ["a", "b"])
    version = catalogue.details("b").version
    (directory / "b.cwl").unlink()
    os.mkfifo(directory / "b.cwl")
    (directory / "b.meta.yaml").write_text("authorized_users: [alice]\n")
    until(lambda: catalogue.workflows()[1].authorized_users == frozenset({"alice"}))
    assert catalogue.details("b", alice).version == version
    with pytest.raises(NotFound):
        catalogue.details("b", bob)


def test_one_that_somebody_waits_for_is_described_before_others(directory: Path) -> None:
    names = [f"w{number:02}" for number in range(20)]
    for name in names:
        (directory / f"{name}.cwl").write_text(tool(name))
    with Describers[int](directory, 60, 1) as describers:
        describers.want([Entry(name, f"{name}.cwl") for name in names], 7)
        describers.prefer("w19")
        answers = [describers.answer(60) for _ in names]
        assert describers.left == 0
    assert "w19" in [entry.id for entry, _, _ in answers[:2]]
    assert {note for _, _, note in answers} == {7}
