"""Numbered log lines in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcwaas.core.models import Level
from hpcwaas.engines.alien4cloud.log_file import IDS, LogFile
from hpcwaas.engines.alien4cloud.mapper import Line
from hpcwaas.engines.orchestrated.log_file import remove_old

ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR


def lines(*numbers: int) -> list[Line]:
    return [Line(f"id{number}", Level.INFO, number * 10**9 + 5, number * 1000, f"line {number}") for number in numbers]


def contents(spool: LogFile) -> list[str]:
    return [entry.content for entry in spool.entries(ALL, 0, None)]


def add(spool: LogFile, *numbers: int) -> float | None:
    with spool.writing() as age:
        spool.add(lines(*numbers))
        spool.touch()
    return age


def test_lines_are_kept_once_and_across_processes(tmp_path: Path) -> None:
    first, second = LogFile(tmp_path, "a/../b"), LogFile(tmp_path, "a/../b")
    age = add(first, 1, 2)
    assert age is not None
    assert age > 1e6
    again = add(second, 2, 3)
    assert again is not None
    assert again < 5
    assert contents(second) == ["line 1", "line 2", "line 3"]
    assert second.newest == 3000
    add(first, 3, 4)
    assert contents(first) == ["line 1", "line 2", "line 3", "line 4"]
    assert len(LogFile(tmp_path, "other")) == 0
    assert {path.parent for path in tmp_path.rglob("*")} == {tmp_path}


def test_only_one_process_writes_at_a_time(tmp_path: Path) -> None:
    first, second = LogFile(tmp_path, "x"), LogFile(tmp_path, "x")
    with first.writing() as age:
        assert age is not None
        first.add(lines(1))
        with second.writing() as other:
            assert other is None
        assert contents(second) == ["line 1"]


def test_lines_are_known_again_after_they_were_forgotten(tmp_path: Path) -> None:
    spool = LogFile(tmp_path, "x")
    add(spool, 1, 2, 3)
    spool.forget_before(4000)
    with spool.writing():
        spool.remember_all()
        spool.add(lines(1, 2, 3, 4))
    assert contents(spool) == [f"line {number}" for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("torn", ["log", "ids", "log-line"])
def test_a_log_left_half_written_is_read_anew(tmp_path: Path, torn: str) -> None:
    spool = LogFile(tmp_path, "x")
    add(spool, 1, 2)
    suffix, text = {"log": (".log", '[2,"2026'), "ids": (".ids", "30"), "log-line": (".log", '[2,"2026-01-01","x"]\n')}[
        torn
    ]
    (path,) = tmp_path.glob(f"*{suffix}")
    with path.open("a") as file:
        file.write(text)
    fresh = LogFile(tmp_path, "x")
    age = add(fresh, 1, 2, 3)
    assert age is not None
    assert age > 1e6  # as if nobody had read it
    assert contents(fresh) == ["line 1", "line 2", "line 3"]
    add(spool, 3)
    assert contents(spool) == contents(fresh)


def test_odd_content(tmp_path: Path) -> None:
    spool = LogFile(tmp_path, "x")
    text = 'a\u2028b\n"\ud800\\'
    with spool.writing():
        spool.add([Line("1", Level.ERROR, 1, 0, text)])
    assert [entry.content for entry in spool.entries(Level.ERROR, 0, None)] == ['a\u2028b\n"?\\']
    assert spool.total(Level.INFO) == 0


def test_old_logs_are_removed(tmp_path: Path) -> None:
    add(LogFile(tmp_path, "x"), 1)
    remove_old(tmp_path, IDS)
    assert len(list(tmp_path.iterdir())) == 2
    remove_old(tmp_path, IDS, -1)
    assert list(tmp_path.iterdir()) == []
