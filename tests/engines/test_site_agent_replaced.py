"""The agent of a site when jobs have written into the files by which it knows of executions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.agents import Site
from tests.waiting import until

WAIT = "touch ../up; until [ -e ../go ]; do sleep 0.05; done; echo '{}'\n"
FILES = ("state.json", "jobs.json", "leader.json", "outputs.json", "log.jsonl", "followed", "messages", "stage")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site") / "home")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


ODD: dict[str, Callable[[Path], object]] = {
    "nonsense": lambda path: path.write_bytes(b"\xff\x00nonsense"),
    "an array": lambda path: path.write_text("[[], 1]"),
    "something deep": lambda path: path.write_text("[" * 100_000),
    "something huge": _sparse,
    "a FIFO": os.mkfifo,
    "a directory": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a circle": lambda path: path.symlink_to(path.name),
}


@pytest.fixture(scope="module")
def other(site: Site) -> Iterator[str]:
    """An execution that is left alone."""
    identifier = site.start(WAIT)
    site.running(identifier, "up")
    yield identifier
    (site.directory(identifier) / "work" / "go").touch()
    assert site.finished(identifier)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("kind", ODD)
def test_files_that_a_job_has_replaced_by_something_else(site: Site, other: str, kind: str) -> None:
    """The others are told of as ever, whatever is in the place of a file of one."""
    odd = site.start(WAIT)
    site.running(odd, "up")
    for name in FILES:
        path = site.directory(odd) / name
        path.unlink(missing_ok=True)
        ODD[kind](path)

    wanted = {odd: {"log": 0, "have": None}, other: {"log": 0, "have": None}}
    told = site.do("look", executions=wanted)["executions"]
    assert told[odd]["error"]["path"].endswith("state.json")
    assert told[other]["state"]["status"] == "RUNNING"
    site.do("cancel", ids=[odd])
    until(lambda: (site.look(odd).get("state") or {}).get("status") == "CANCELLED", 60)


@pytest.mark.parametrize("name", ["supervisor.json", "request.json", "state.json"])
def test_nonsense_about_who_supervises_ends_one_execution_alone(site: Site, other: str, name: str) -> None:
    odd = site.start(WAIT)
    site.running(odd, "up")
    for content in ("{}", "[]", '{"attempt": 1}', '{"attempt": [], "inputs": 7}'):
        (site.directory(odd) / name).write_text(content)
        for command, order in (
            ("look", {"executions": {odd: {}, other: {}}}),
            ("bury", {"executions": {odd: {"status": "FAILED", "reason": "x"}}}),
            ("resume", {"executions": {odd: 2}}),
            ("cancel", {"ids": [odd]}),
        ):
            assert odd in site.do(command, **order)["executions"], command
    assert site.look(other)["state"]["status"] == "RUNNING"
