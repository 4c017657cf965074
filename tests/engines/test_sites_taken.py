"""Outputs of executions as inputs of others, wherever both are: they are linked where they lie, or brought."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.models import Status, StepDeclaration
from hpcwaas.core.site_models import LOCAL, Placement
from hpcwaas.engines.cwl.inputs.job import Job
from hpcwaas.engines.cwl.inputs.sources import UnusableOutput
from hpcwaas.engines.cwl.sites import bringing, courier, moves, taking
from hpcwaas.engines.cwl.storage.outputs import TakenOutput
from hpcwaas.engines.cwl.storage.packing import members
from hpcwaas.errors import BadRequest, NotFound, Unavailable
from tests.engines.cwl_bench import DETAILS
from tests.engines.site_bench import OUTPUT, PLACEMENT, SiteBench
from tests.waiting import until

OTHER = Placement("mare", "u9999", "other")
LUMI = Placement("lumi", "u1234", "key")
HERE = Placement(LOCAL)
MEMBERS = "hpcwaas.engines.cwl.storage.linking.members"
PLACES = {"lumi": LUMI, LOCAL: HERE}

TOOL = """
cwlVersion: v1.2
class: CommandLineTool
inputs: {file: {type: File, default: {class: File, location: tool.cwl}}, folder: Directory?}
baseCommand: [sh, -c]
arguments:
  - |-
    cat "$0" > file.txt; mkdir -p folder; echo inner > folder/inner.txt; [ -z "$1" ] || cat "$1"/*.txt >> file.txt
  - $(inputs.file)
  - $(inputs.folder)
outputs:
  file: {type: File, outputBinding: {glob: file.txt}}
  folder: {type: Directory, outputBinding: {glob: folder}}
"""
READ = """
cat $here/inputs/0/taken.txt $here/inputs/1/taken/inner.txt > copy.txt
echo '{"copy": {"class": "File", "location": "file://'$outdir'/copy.txt"}}'
"""


class Taking(SiteBench):
    """A bench that runs on two sites and on this machine."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.engine.close()
        self.others = {"lumi": {"title": "Lumi"}}
        self.settings["local"] = True
        self.document.write_text(TOOL)
        self.engine = self.make()

    def local(self, order: Mapping[str, Any], *taken: TakenOutput, execution_id: str | None = None) -> str:
        """Starts an execution on this machine."""
        job = Job(self.document, None, order, (), (), (StepDeclaration("tool"),), taken=taken)
        return self.begin(self.engine.place(job, DETAILS, HERE), execution_id)

    def ticket(self, execution_id: str) -> str:
        """The name of the marker of an execution on this machine."""
        local = self.engine._sites.local
        assert local is not None
        return local._ticket(execution_id)

    def take(
        self, source: str, placement: Placement, script: str = READ, execution_id: str | None = None, **changes: Any
    ) -> str:
        """Starts an execution that takes what `OUTPUT` has made."""
        if placement == HERE:
            folder = {"class": "Directory", "location": "inputs/1/taken"}
            order = {"file": {"class": "File", "location": "inputs/0/taken.txt"}, "folder": folder}
            return self.local(order, *outputs_of(source, **changes), execution_id=execution_id)
        job = replace(self.job(script, placement=placement), taken=outputs_of(source, **changes))
        return self.begin(self.engine.place(job, DETAILS, placement), execution_id)

    def source(self, placement: Placement = PLACEMENT) -> str:
        """An execution with outputs that has ended."""
        reference = self.start(OUTPUT, placement=placement)
        assert self.end(reference).status is Status.SUCCEEDED
        return reference


def outputs_of(source: str, file: str = "file.txt", size: int = 0) -> tuple[TakenOutput, ...]:
    execution_id = source.rpartition(":")[2]
    return (
        TakenOutput(execution_id, source, file, "File", "inputs/0/taken.txt", size),
        TakenOutput(execution_id, source, "folder", "Directory", "inputs/1/taken"),
    )


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(courier, "RATE", 20.0)
        patch.setattr(courier, "WAIT", 0.3)
        patch.setattr(courier, "_LINGER", 0.2)
        patch.setattr(bringing, "_AGAIN", 0.5)
        patch.setattr(moves, "_ASK_AGAIN", 0.5)
        yield


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taking]:
    bench = Taking(tmp_path_factory.mktemp("taken"))
    yield bench
    bench.engine.close()


@pytest.fixture
def bench(shared: Taking) -> Iterator[Taking]:
    yield shared
    shared.logins.failure = None


def test_at_the_same_account_an_output_is_linked_and_travels_nowhere(bench: Taking) -> None:
    source = bench.source()
    sent = len(bench.logins.uploads)
    packed = bench.count("pack")
    script = f"ls -id $here/inputs/0/taken.txt >&2; {READ}"
    reference = bench.take(source, replace(PLACEMENT, ssh_key="another"), script)
    state = bench.end(reference)
    assert state.status is Status.SUCCEEDED, state.reason
    assert bench.content(reference, "copy") == b"text\ninner\n"
    output = bench.work_dir / "executions" / source.removeprefix("mare:") / "outputs" / "file.txt"
    assert str(output.stat().st_ino) in bench.text(reference)
    assert output.stat().st_mode & 0o777 == 0o400
    assert (len(bench.logins.uploads), bench.count("pack")) == (sent, packed)
    # It stays when the execution that left it is removed.
    late = bench.take(source, PLACEMENT, f"while [ ! -e $HOME/late ]; do sleep 0.1; done; {READ}")
    bench.running(late)
    output.unlink()
    (bench.home / "late").touch()
    assert bench.end(late).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("origin", "placement"), [(PLACEMENT, OTHER), (PLACEMENT, LUMI), (OTHER, HERE), (HERE, LUMI), (HERE, HERE)]
)
def test_an_output_is_brought_to_where_it_is_taken(bench: Taking, origin: Placement, placement: Placement) -> None:
    if origin == HERE:
        source = bench.local({})
        state = bench.end(source)
        assert state.status is Status.SUCCEEDED, (state, bench.text(source))
        content = TOOL.encode() + b"inner\n"
    else:
        source, content = bench.source(origin), b"text\ninner\n"
    reference = bench.take(source, placement)
    state = bench.end(reference)
    assert state.status is Status.SUCCEEDED, (state, bench.text(reference))
    assert bench.content(reference, "file" if placement == HERE else "copy") == content


@pytest.mark.parametrize("placement", [PLACEMENT, OTHER, HERE])
def test_an_output_that_was_removed_on_its_site_is_a_plain_reason_before_the_start(
    bench: Taking, placement: Placement
) -> None:
    source = bench.source()
    (bench.work_dir / "executions" / source.removeprefix("mare:") / "outputs" / "file.txt").unlink()
    began = bench.began()
    reference = bench.take(source, placement)
    state = bench.end(reference)
    assert state.status is Status.FAILED
    assert state.reason is not None
    words = f"taken.txt, an output of the execution {source.removeprefix('mare:')} and an input of this one,"
    assert words in state.reason
    assert "it was removed" in state.reason
    assert bench.text(reference).endswith(state.reason)
    assert bench.began() == began


def test_a_link_that_leads_out_of_the_outputs_is_not_taken(bench: Taking, tmp_path: Path) -> None:
    source = bench.source()
    (tmp_path / "secret").write_text("secret")
    outputs = bench.work_dir / "executions" / source.removeprefix("mare:") / "outputs"
    (outputs / "file.txt").unlink()
    (outputs / "file.txt").symlink_to(tmp_path / "secret")
    for placement in (PLACEMENT, OTHER, HERE):
        state = bench.end(bench.take(source, placement))
        assert state.status is Status.FAILED, placement
        assert "taken.txt, an output" in str(state.reason)


@pytest.mark.parametrize("placement", [LUMI, HERE])
def test_what_is_taken_from_elsewhere_is_bounded(
    bench: Taking, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = bench.source()
    with pytest.raises(BadRequest, match=r"have more than .* together; the limit is the setting cwl\.limits\.disk"):
        bench.take(source, placement, size=1 << 50)
    monkeypatch.setitem(bench.settings, "limits", {"disk": 7})
    bench.again()
    state = bench.end(bench.take(source, placement))
    assert (state.status, state.reason) == (
        Status.FAILED,
        (
            "The outputs of other executions among the inputs have more than 7 bytes together; the limit is the "
            "setting cwl.limits.disk."
        ),
    )
    assert bench.end(bench.take(source, PLACEMENT, size=1 << 50)).status is Status.SUCCEEDED  # it stays where it is
    monkeypatch.undo()
    bench.again()


@pytest.mark.parametrize("placement", [OTHER, HERE])
def test_while_the_site_of_an_output_is_silent_who_takes_it_waits(bench: Taking, placement: Placement) -> None:
    source = bench.source()
    original = type(bench.logins).of

    def silent(logins: Any, asked: Placement, purpose: str) -> Any:
        if asked == PLACEMENT:
            raise Unavailable("Mare doesn't answer.")
        return original(logins, asked, purpose)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bench.logins), "of", silent)
        reference = bench.take(source, placement)
        bench.until(reference, lambda state: "Mare doesn't answer." in str(state.reason))
        # Nobody else of the account waits for it.
        if placement == OTHER:
            assert bench.end(bench.start("echo '{}'", placement=OTHER)).status is Status.SUCCEEDED
        cancelled = bench.take(source, placement)
        bench.until(cancelled, lambda state: "Mare doesn't answer." in str(state.reason))
        bench.engine.cancel(cancelled)
        state = bench.end(cancelled)
        assert (state.status, state.reason) == (Status.CANCELLED, "Cancelled on request before it began.")
    state = bench.end(reference)
    assert state.status is Status.SUCCEEDED, state


def test_a_large_directory_is_linked_behind_the_request_and_given_up_with_it(
    bench: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = bench.local({})
    assert bench.end(source).status is Status.SUCCEEDED
    gate = threading.Event()

    def slow(directory: Path) -> Iterator[Any]:
        for member in members(directory):
            gate.wait(60)
            yield member

    monkeypatch.setattr(MEMBERS, slow)
    reference, cancelled = (bench.take(source, HERE) for _ in range(2))
    for each in (reference, cancelled):
        assert bench.engine.state(each).status is Status.PENDING
        assert bench.engine.state(each).reason == taking.BROUGHT
    bench.engine.cancel(cancelled)
    state = bench.end(cancelled)
    assert (state.status, state.reason) == (Status.CANCELLED, "Cancelled on request before it began.")
    other = bench.local({})
    assert bench.end(other).status is Status.SUCCEEDED
    gate.set()
    state = bench.end(reference)
    assert state.status is Status.SUCCEEDED, state
    left = bench.directory / "data" / "cwl" / "executions" / cancelled / "uploads"
    until(lambda: not left.exists() or not list(left.iterdir()), 60)


@pytest.mark.parametrize("site", [PLACEMENT, HERE])
def test_what_is_removed_while_it_is_taken_is_not_taken_in_part(
    bench: Taking, monkeypatch: pytest.MonkeyPatch, site: Placement
) -> None:
    origin = bench.source() if site == PLACEMENT else bench.local({})
    bench.end(origin)
    if site == PLACEMENT:
        outputs = bench.work_dir / "executions" / origin.removeprefix("mare:") / "outputs"
        (outputs / "folder").rename(outputs / "gone")
    else:
        outputs = bench.directory / "data" / "cwl" / "executions" / origin / "outputs"

        def removing(directory: Path) -> Iterator[Any]:
            yield from members(directory)
            (outputs / "folder").rename(outputs / "gone")

        monkeypatch.setattr(MEMBERS, removing)
    state = bench.end(bench.take(origin, site))
    assert state.status is Status.FAILED
    assert "taken, an output of the execution" in str(state.reason)


def test_one_user_holds_up_nobody_with_what_is_to_be_brought(bench: Taking) -> None:
    source = bench.local({})
    assert bench.end(source).status is Status.SUCCEEDED
    gate, slow, under_way = threading.Event(), set(range(bringing._OF_ONE + 2)), []

    def waiting(directory: Path) -> Iterator[Any]:
        under_way.append(directory)
        gate.wait(60)
        yield from members(directory)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MEMBERS, waiting)
        many = [bench.take(source, HERE) for _ in slow]
        until(lambda: len(under_way) == bringing._OF_ONE, 60)
    bench.owner = "bob"
    assert bench.end(bench.take(source, HERE)).status is Status.SUCCEEDED
    bench.owner = "alice"
    assert len(under_way) == bringing._OF_ONE
    gate.set()
    assert {bench.end(each).status for each in many} == {Status.SUCCEEDED}


def test_an_output_whose_files_are_known_to_be_gone_is_refused(bench: Taking) -> None:
    source = bench.source()
    site = bench.engine._sites.remote["mare"]
    site._mirror.mark(source.removeprefix("mare:"), "removed")
    with pytest.raises(NotFound, match="files on the site Mare were removed"):
        site.kind_of(source.removeprefix("mare:"), "file.txt")
    for place, words in (
        (source, "files on the site Mare were removed"),
        ("atlantis:x", "The site atlantis, on which"),
    ):
        ask = bench.engine._kind_of if place == source else lambda place, _path: bench.engine._kept_for_others(place)
        with pytest.raises(UnusableOutput, match=words):
            ask(place, "file.txt")


@pytest.mark.parametrize(
    ("when", "site"),
    [("before", "local"), ("amid", "local"), ("amid", "lumi"), ("after", "lumi"), ("brought", "local")],
)
def test_a_service_that_is_killed_while_it_brings_an_output_goes_on(tmp_path: Path, when: str, site: str) -> None:
    bench = Taking(tmp_path)
    source = bench.source()
    bench.engine.close()
    execution_id = uuid.uuid4().hex
    command = [sys.executable, "-m", "tests.engines.taking_process", str(tmp_path), when, source, site, execution_id]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], timeout=60, check=False).returncode == -9
    bench.engine = bench.make()
    try:
        # As the core does with what has no reference.
        reference = bench.take(source, PLACES[site], execution_id=execution_id)
        state = bench.end(reference)
        assert state.status is Status.SUCCEEDED, (state, bench.text(reference))
        assert not list((tmp_path / "data" / "cwl" / "bringing").iterdir())
        assert bench.began() == (1 if site == "local" else 2)
        noted = (tmp_path / "data" / "cwl" / "processes.jsonl").read_text() if site == "local" else ""
        assert noted.count('"started"') == (1 if site == "local" else 0)
    finally:
        bench.engine.close()
