"""Fixtures that all tests share."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpcwaas.engines.cwl.workflows import describer, reader
from hpcwaas.store import sqlite
from hpcwaas.store.database import Database
from tests import databases
from tests.describing import Source
from tests.leftovers import Children, forget_failure, open_files, restore_interrupts

restore_interrupts()
CHILDREN = Children()
NOWHERE = Path("/nonexistent")
FAILED = pytest.StashKey[bool]()
LONGEST = (
    *(
        f"system/test_{name}.py"
        for name in ("image", "sign_in_browser", "sites", "replicas", "sites_crowd", "sites_accounting")
    ),
    "e2e/test_wheel.py",
    *("e2e/", "attacks/", "system/", "engines/", "api/"),
)
"""Files whose tests take longest, and rooms."""


def pytest_xdist_auto_num_workers() -> int:
    """Processes for `--numprocesses auto`: two more than cores, since tests wait for others half of their time."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the longest files come first: else one of them may begin when all others are done, on one core."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(here).as_posix()
        return next((number for number, start in enumerate(LONGEST) if path.startswith(start)), len(LONGEST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """All that was imported and collected stays: nobody need look whether it is garbage."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    """Remembers which processes belong to more than one test."""
    made = yield
    if fixturedef.scope != "function":
        CHILDREN.share()
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, object, object]:
    """Remembers that a test has failed."""
    failed = call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception)
    item.stash[FAILED] = item.stash.get(FAILED, False) or failed
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Function, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Leaves no process and no open file to other tests; one that did is told of, as a failure. Tests of a file that
    start servers anew which they share are looked at together, when the last of them has ended."""
    directory = item.funcargs.get("tmp_path")
    if item.stash.get(FAILED, False):
        forget_failure()
    try:
        yield
    finally:
        goes_on = nextitem is not None and nextitem.path == item.path
        together = item.get_closest_marker("system") or item.get_closest_marker("together")
        own = directory if isinstance(directory, Path) else NOWHERE
        left = [] if together and goes_on else CHILDREN.end(own if goes_on else None)
        left += open_files(own)
    if left:
        pytest.fail(f"The test leaves behind: {'; '.join(left)}", pytrace=False)


@pytest.fixture(autouse=True, scope="session")
def _patience() -> None:
    """On a busy machine reading a few workflows may take longer than a user is kept waiting for them."""
    for name in ("PATIENCE", "PATIENCE_FOR_ONE", "PATIENCE_WITH_MANY"):
        setattr(reader, name, 60.0)
    describer.WARM = 0.0  # what is kept for the next edit would be left behind


@pytest.fixture(autouse=True, scope="session")
def lasting() -> str:
    """No test takes the machine's power away: in this process nothing waits for the disk. Gives how long it would."""
    own, sqlite.LASTING = sqlite.LASTING, "OFF"
    os.fsync = lambda fd: None
    return own


@pytest.fixture(autouse=True, scope="session")
def _copied_describers() -> Iterator[None]:
    """Catalogues of this process are described by copies."""
    source = Source()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(describer, "subprocess", SimpleNamespace(Popen=source.popen, PIPE=subprocess.PIPE))
        yield
    source.close()


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database; for tests that use `database`, too, it has the service's schema."""
    with databases.fresh(tmp_path, ready="database" in request.fixturenames) as url:
        yield url


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    """A database with the service's schema."""
    database = Database(store_url)
    yield database
    database.close()
