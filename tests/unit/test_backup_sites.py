"""What a restore makes of executions on sites: it sends none, and looks after those that may run there."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from hpcwaas.core.endings import RESTORED
from hpcwaas.core.models import Status, StepDeclaration
from hpcwaas.core.site_models import Placement
from hpcwaas.engines.cwl.sites.mirror import ASKED, REMOVED, SENT, Account, Intent, Mirror
from hpcwaas.engines.cwl.sites.restored import restored
from hpcwaas.engines.cwl.storage.backed_up import backed_up
from hpcwaas.engines.cwl.storage.spool import Spool
from hpcwaas.engines.cwl.workflows.slurm import Slurm

PLACEMENT = Placement("mare", "u1234", "key")
NOW = datetime(2026, 11, 28, tzinfo=UTC)
STEPS = (StepDeclaration("one", "One"),)


class World:
    """A site's mirror."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        Spool(directory)
        self.mirror = Mirror(directory / "sites" / "mare")

    @property
    def account(self) -> Account:
        return self.mirror.account(PLACEMENT)

    def submit(self, name: str, *marks: str, claimed: bool = False) -> None:
        intent = Intent(
            name, Spool.new_ticket(name), "alice", PLACEMENT, "/w", "t.cwl", None, STEPS, (), (), Slurm(), None
        )
        self.mirror.submit(intent, lambda draft: (draft / "job.json").touch())
        if claimed:
            self.mirror.claim(self.account, intent.ticket)
        for mark in marks:
            self.mirror.mark(name, mark)

    def end(self, name: str) -> None:
        """Has it end on the site."""
        intent = self.mirror.intent(name)
        assert intent
        state = replace(self.mirror.state(name), status=Status.SUCCEEDED, ended_at=NOW)
        self.mirror.finish(self.account, intent.ticket, name, state, kept=True)

    def marked(self) -> dict[str, list[str]]:
        """Which executions have a marker where."""
        account = self.account
        folders = {"queue": account.queue, "active": account.active, "kept": account.kept}
        return {name: sorted(each for _, each in Spool.tickets(folder)) for name, folder in folders.items()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "cwl")
    world.submit("waits")
    world.submit("claimed", claimed=True)
    world.submit("asked", ASKED, claimed=True)
    world.submit("runs", ASKED, SENT, claimed=True)
    world.submit("ended", ASKED, SENT, claimed=True)
    world.end("ended")
    world.submit("removed", ASKED, SENT, REMOVED, claimed=True)
    world.end("removed")
    return world


def copied(world: World, target: Path) -> World:
    """What a backup has of it."""
    ids = {path.name for path in (world.directory / "sites/mare/executions").iterdir()}

    def copy(folder: PurePosixPath) -> None:
        (target / folder).mkdir()
        for name in backed_up(folder, [path.name for path in (world.directory / folder).iterdir()], ids):
            if (world.directory / folder / name).is_dir():
                copy(folder / name)
            else:
                shutil.copy2(world.directory / folder / name, target / folder / name)

    copy(PurePosixPath())
    return World(target)


def test_nothing_is_sent_again(world: World, tmp_path: Path) -> None:
    found = copied(world, tmp_path / "target")
    restored(found.directory, NOW)
    states = {name: found.mirror.state(name) for name in ("waits", "claimed", "asked", "runs", "ended", "removed")}
    assert {name: state.status.value for name, state in states.items()} == {
        "waits": "FAILED",
        "claimed": "FAILED",
        "asked": "PENDING",
        "runs": "PENDING",
        "ended": "SUCCEEDED",
        "removed": "SUCCEEDED",
    }
    assert states["waits"].reason == RESTORED
    assert [step.status.value for step in states["waits"].steps] == ["SKIPPED"]
    assert found.mirror.has("asked", SENT)  # so it is looked for there, and not started
    assert found.marked() == {"queue": [], "active": ["asked", "runs"], "kept": ["ended", "removed"]}
    assert [account.name for account in found.mirror.unfinished()] == [world.account.name]


def test_markers_that_moved_while_they_were_copied(world: World, tmp_path: Path) -> None:
    """From one folder to the next: an execution has both, or none."""
    found = copied(world, tmp_path / "target")
    for folder in (found.account.queue, found.account.active, found.account.kept):
        for ticket, _ in Spool.tickets(folder):
            (folder / ticket).unlink()
    restored(found.directory, NOW)
    assert found.marked() == {"queue": [], "active": ["asked", "runs"], "kept": ["ended"]}
    for _, name in Spool.tickets(found.account.active):
        intent = found.mirror.intent(name)
        assert intent
        (found.account.queue / intent.ticket).touch()
    restored(found.directory, NOW)
    assert found.marked() == {"queue": [], "active": ["asked", "runs"], "kept": ["ended"]}
