"""Files that are there as a whole or not at all."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcwaas.common import durable


def test_a_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def half() -> None:
        with durable.new_file(tmp_path / "a") as file:
            file.write(b"half")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        half()
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_takes_no_other_files_place(tmp_path: Path) -> None:
    with durable.new_file(tmp_path / "a") as file:
        file.write(b"first")
    with pytest.raises(FileExistsError), durable.new_file(tmp_path / "a"):
        pass
    assert (tmp_path / "a").read_bytes() == b"first"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize("replace", [durable.replace, durable.replace_among_others])
def test_a_file_is_replaced_or_stays(tmp_path: Path, replace: Callable[[Path, bytes], None]) -> None:
    replace(tmp_path / "a", b"first")
    replace(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"second"
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError):
        replace(tmp_path / "b", b"third")
    assert (tmp_path / "b").is_dir()
