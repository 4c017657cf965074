"""How repositories are named, and how the program `git` is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcwaas.engines.cwl.workflows.repositories import program
from hpcwaas.engines.cwl.workflows.repositories.addresses import Refused, address_of
from tests.waiting import until


def test_git_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(program.GitFailed, match="isn't installed"):
        program.git("version")


def test_git_takes_too_long_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "git"
    slow.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {tmp_path}/pid\nwait\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(program.GitFailed, match="no end after"):
        program.git("version", timeout=2)
    child = int((tmp_path / "pid").read_text())
    until(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])


@pytest.mark.parametrize(
    "text", ["ssh://-oProxyCommand=x/y", "host:-x", "file://elsewhere/x", "fd::17", "git://host/x", "https:///x"]
)
def test_addresses_that_are_not_taken(text: str, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        address_of(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("-u/x", "file://{}/-u/x"),
        ("../x.git", "file://{}/../x.git"),
        ("/srv/x", "file:///srv/x"),
        ("git@example.org:group/x.git", "git@example.org:group/x.git"),
        ("https://bob@example.org/x", "https://bob@example.org/x"),
    ],
)
def test_addresses_as_git_takes_them(text: str, url: str, tmp_path: Path) -> None:
    expected = url.format(tmp_path).replace(f"{tmp_path}/..", str(tmp_path.parent))
    assert address_of(text, tmp_path).url == expected


def test_what_a_remote_repository_includes_is_not_read_from_this_machine(tmp_path: Path) -> None:
    assert "file" not in address_of("https://example.org/x", tmp_path).protocols
    assert "file" not in address_of("git@example.org:x", tmp_path).protocols
