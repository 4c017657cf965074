"""What sites keep of executions that have ended, and what many cost them: all at the pace of the service itself."""

from __future__ import annotations

import io
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcwaas.core.models import Status
from hpcwaas.core.outputs import OutputArchive, OutputFile
from hpcwaas.engines.cwl.sites import courier
from hpcwaas.engines.cwl.sites.mirror import REMOVED
from tests.engines.site_bench import OUTPUT, PLACEMENT, SiteBench, opened
from tests.waiting import until


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SiteBench]:
    """A site where all is well."""
    with opened(tmp_path) as bench:
        yield bench


def test_files_are_kept_for_some_days(bench: SiteBench) -> None:
    bench.site["limits"] = {"keep_days": 3}
    bench.again()
    reference = bench.start(OUTPUT)
    bench.end(reference)
    directory = Path(bench.engine.state(reference).directory or "")
    site = bench.engine._sites.remote["mare"]
    kept = site._mirror.account(PLACEMENT).kept
    until(lambda: any(kept.iterdir()))  # its end is told before it is filed
    for ticket in kept.iterdir():
        os.utime(ticket, (time.time() - 4 * 86400,) * 2)
    bench.again()
    bench.engine._sites.remote["mare"].tidy()
    execution = site._mirror.execution(reference.removeprefix("mare:"))
    until(lambda: (execution / REMOVED).exists())
    assert not directory.exists()
    with pytest.raises(Exception, match="were removed: they are kept for 3 days after its end"):
        bench.content(reference, "file")
    assert bench.engine.state(reference).status is Status.SUCCEEDED
    assert bench.text(reference) is not None


def test_outputs_that_are_gone_are_told_file_by_file(bench: SiteBench) -> None:
    reference = bench.start(OUTPUT)
    bench.end(reference)
    directory = Path(bench.engine.state(reference).directory or "")
    (directory / "outputs" / "file.txt").unlink()
    with pytest.raises(Exception, match=r"The file file\.txt of the outputs is gone"):
        bench.content(reference, "file")
    assert bench.content(reference, "folder", "inner.txt") == b"inner\n"


def test_outputs_are_read_in_parts_and_packed(bench: SiteBench) -> None:
    reference = bench.start(OUTPUT)
    bench.end(reference)
    output = bench.engine.output(reference, "file", None, "zip")
    assert isinstance(output, OutputFile)
    with output.stream as stream:
        assert stream.seek(2) == 2
        assert stream.read(2) == b"xt"
    archive = bench.engine.output(reference, "folder", None, "zip")
    assert isinstance(archive, OutputArchive)
    with zipfile.ZipFile(io.BytesIO(b"".join(archive.chunks))) as packed:
        assert packed.read("inner.txt") == b"inner\n"


def test_many_executions_cost_few_commands(bench: SiteBench) -> None:
    bench.site["limits"] = {"executions": 60}
    bench.again()
    began = time.monotonic()
    references = [bench.start("echo '{}'") for _ in range(60)]
    ended = [bench.end(reference, 300).status for reference in references]
    seconds = time.monotonic() - began
    assert set(ended) == {Status.SUCCEEDED}
    assert bench.began() == 60
    assert bench.logins.signed_in == 1
    assert len(bench.logins.commands) <= courier.BURST + courier.RATE * seconds + 1
