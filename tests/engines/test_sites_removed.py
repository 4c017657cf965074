"""Executions that are deleted before their time, with their files on a site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.core.endings import Part, Removal
from hpcwaas.core.models import Status
from hpcwaas.engines.cwl.sites.connection import SiteFailed
from tests.engines.site_bench import OUTPUT, PLACEMENT, SiteBench, opened
from tests.waiting import until


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SiteBench]:
    """A site where all is well."""
    with opened(tmp_path) as bench:
        yield bench


def gone(bench: SiteBench, reference: str, part: Part = Part.ALL) -> Removal:
    """Waits until nothing is waited for."""
    until(lambda: bench.engine.remove(reference, part).waits_for is None)
    return bench.engine.remove(reference, part)


def test_its_files_on_the_site_go_with_it(bench: SiteBench, tmp_path: Path) -> None:
    upload = tmp_path / "upload.txt"
    upload.write_text("somebody's data")
    reference = bench.start(OUTPUT, upload)
    assert "hasn't ended" in (bench.engine.remove(reference, Part.ALL).waits_for or "")
    other = bench.start(OUTPUT)
    bench.end(reference)
    bench.end(other)
    directory = Path(bench.engine.state(reference).directory or "")
    assert directory.is_dir()
    assert len([*(bench.work_dir / "content").iterdir()]) == 1
    assert gone(bench, reference) == Removal()
    assert not directory.exists()
    assert not [*(bench.work_dir / "content").iterdir()]
    assert bench.engine.state(reference).status is Status.UNKNOWN
    assert bench.content(other, "file")
    account = bench.engine._sites.remote["mare"]._mirror.account(PLACEMENT)
    assert [execution for _, execution in account.to_remove()] == []


def test_a_site_that_cannot_be_reached_is_tried_again_and_that_is_told(bench: SiteBench) -> None:
    reference = bench.start(OUTPUT)
    bench.end(reference)
    directory = Path(bench.engine.state(reference).directory or "")
    bench.logins.failure = SiteFailed("The site mare doesn't answer.")
    bench.logins.cut(PLACEMENT)
    until(lambda: "doesn't answer" in (bench.engine.remove(reference, Part.ALL).waits_for or ""))
    bench.again()  # a restart forgets nothing
    assert "still on the site Mare" in (bench.engine.remove(reference, Part.ALL).waits_for or "")
    assert directory.is_dir()
    bench.logins.failure = None
    assert gone(bench, reference) == Removal()
    assert not directory.exists()


def test_what_can_never_be_reached_is_left_in_the_end_and_named(bench: SiteBench) -> None:
    reference = bench.start(OUTPUT)
    bench.end(reference)
    directory = Path(bench.engine.state(reference).directory or "")
    bench.logins.failure = SiteFailed("The site mare refuses the key.", lasting=True)
    bench.logins.cut(PLACEMENT)
    until(lambda: "refuses the key" in (bench.engine.remove(reference, Part.ALL).waits_for or ""))
    removal = bench.engine.remove(reference, Part.ALL, give_up=True)
    assert removal.waits_for is None
    assert str(directory) in (removal.left or "")
    assert bench.engine.state(reference).status is Status.UNKNOWN


def test_a_site_that_is_not_configured_any_more_is_waited_for(bench: SiteBench) -> None:
    reference = bench.start(OUTPUT)
    bench.end(reference)
    bench.again(with_site=False)
    assert "isn't in the settings" in (bench.engine.remove(reference, Part.ALL).waits_for or "")
    removal = bench.engine.remove(reference, Part.ALL, give_up=True)
    assert "isn't in the settings" in (removal.left or "")
    bench.again()
    assert bench.engine.state(reference).status is Status.UNKNOWN


def test_parts_of_it_can_go_alone(bench: SiteBench) -> None:
    reference = bench.start(OUTPUT)
    bench.end(reference)
    directory = Path(bench.engine.state(reference).directory or "")
    assert bench.engine.remove(reference, Part.LOG).waits_for is None
    assert bench.text(reference) == ""
    assert directory.is_dir()
    removal = gone(bench, reference, Part.OUTPUTS)
    assert not directory.exists()
    assert 0 < removal.kept < 100_000
    with pytest.raises(Exception, match="no output"):
        bench.content(reference, "file")
    assert bench.engine.state(reference).status is Status.SUCCEEDED
