"""Lines of Yorc's log on the disk: each once, whoever is killed and whatever is read again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpcwaas.core.models import Level
from hpcwaas.engines.log_text import MAX_LINE
from hpcwaas.engines.yorc.documents import Line
from hpcwaas.engines.yorc.kept_logs import Cursor, KeptLog, KeptLogs
from hpcwaas.engines.yorc.references import Reference
from tests.waiting import until

ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR
RUN = Reference("D", "w", "task")
BEGIN = 1_764_000_000 * 10**9


def entry(number: int, content: str = "", task: str | None = "task") -> Line:
    text = content or f"line {number}"
    return Line("", BEGIN + number * 1000, Level.INFO, text, "D", task, "w")


def contents(directory: Path, reference: Reference = RUN) -> list[str]:
    log = KeptLog(directory, reference)
    log.catch_up()
    return [entry.content for entry in log.entries(ALL, 0, None)]


def test_what_is_read_again_is_not_there_twice_and_keeps_its_number(tmp_path: Path) -> None:
    logs = KeptLogs(tmp_path)
    assert logs.cursor() is None
    logs.add([entry(1), entry(3), entry(3, task=None), entry(2, task="other")], Cursor(10))
    assert logs.cursor() == KeptLogs(tmp_path).cursor() == Cursor(10)
    first = contents(tmp_path)
    again = KeptLogs(tmp_path)  # another process
    again.add([entry(number) for number in range(1, 6)], Cursor(4, guessed=True))
    logs.add([entry(5), entry(6)], Cursor(12))
    assert first == ["line 1", "line 3"]
    assert contents(tmp_path) == [f"line {number}" for number in (1, 3, 2, 4, 5, 6)]
    assert contents(tmp_path, Reference("D", "w", "other")) == ["line 2"]
    assert logs.cursor() == Cursor(12)


def test_one_entry_becomes_the_lines_that_people_read(tmp_path: Path) -> None:
    long = "x" * (MAX_LINE + 5)
    said = f"host, stdout:\nfirst\r\n\n\x1b[31mred\x1b[0m \x00\n10%\r50%\r100%\n{long}\n\n"
    logs = KeptLogs(tmp_path)
    for _ in range(2):
        logs.add([entry(1, said), entry(2, "a\ud800b\u2028c")])
    lines = contents(tmp_path)
    assert lines == ["host, stdout:", "first", "", "red ", "100%", "x" * MAX_LINE, "x" * 5, "a?b\u2028c"]
    log = KeptLog(tmp_path, RUN)
    log.catch_up()
    assert [it.index for it in log.entries(ALL, 0, None)] == list(range(8))
    assert len({it.timestamp for it in log.entries(ALL, 0, 7)}) == 1


def test_hundred_thousand_lines(tmp_path: Path) -> None:
    logs = KeptLogs(tmp_path)
    many = [entry(number) for number in range(100_000)]
    logs.add(many, Cursor(1))
    logs.add(reversed(many), Cursor(2))
    log = KeptLog(tmp_path, RUN)
    log.catch_up()
    assert log.total(ALL) == 100_000
    assert [it.content for it in log.entries(ALL, 99_998, 5)] == ["line 99998", "line 99999"]


@pytest.mark.parametrize("torn", ['[2,"2026-11', "not even a line\n"])
def test_what_a_loss_of_power_takes_is_read_again(tmp_path: Path, torn: str) -> None:
    logs = KeptLogs(tmp_path)
    log = KeptLog(tmp_path, RUN)
    log.claim(whole=True)
    logs.add([entry(1), entry(2)], Cursor(1))
    logs.add([entry(3)], Cursor(2))
    size = log.path.stat().st_size
    os.truncate(log.path, size // 3)
    fresh = KeptLogs(tmp_path)
    fresh.add([entry(4)], Cursor(3))
    assert not log.whole
    fresh.add([entry(number) for number in range(1, 5)])
    assert sorted(contents(tmp_path)) == [f"line {number}" for number in (1, 2, 3, 4)]


def test_marks(tmp_path: Path) -> None:
    logs, log = KeptLogs(tmp_path), KeptLog(tmp_path, RUN)
    assert logs.unfinished() == []
    log.claim(whole=True)
    log.claim(whole=False)  # harmless when repeated
    assert (log.whole, log.complete, log.cancelling) == (True, False, False)
    logs.add([entry(1, 'Status for workflow "w" changed to "done"')])
    log.catch_up()
    assert log.ended
    log.done()
    log.cancelling = True
    other = KeptLog(tmp_path, RUN)
    other.catch_up()
    assert (other.complete, other.cancelling, logs.unfinished()) == (True, True, [])
    logs.add([entry(2)])
    other.catch_up()
    assert not other.complete  # there is more
    log.go_on()
    assert (log.cancelling, [it.reference for it in logs.unfinished()]) == (False, [RUN])


def test_what_nobody_wants_is_removed(tmp_path: Path) -> None:
    logs, ours = KeptLogs(tmp_path), KeptLog(tmp_path, RUN)
    ours.claim(whole=True)
    logs.add([entry(1), entry(2, task="nobody's")])
    old = time.time() - 2 * 24 * 3600
    for path in tmp_path.glob("*.log"):
        os.utime(path, (old, old))
    logs.remove_old()
    assert (contents(tmp_path), contents(tmp_path, Reference("D", "w", "nobody's"))) == (["line 1"], [])
    for path in tmp_path.glob("*.ours"):
        os.utime(path, (old * 0.9, old * 0.9))
    logs.remove_old()
    assert {path.suffix for path in tmp_path.iterdir()} == {""}


WRITER = """
import sys
from pathlib import Path
from hpcwaas.engines.yorc.kept_logs import Cursor, KeptLogs
from tests.unit.test_yorc_kept_logs import entry

logs = KeptLogs(Path(sys.argv[1]))
print(flush=True)
while (cursor := logs.cursor() or Cursor(0)).index < int(sys.argv[2]):
    at = cursor.index
    logs.add([entry(at * 3 + number, task=f"task{number % 2}") for number in range(3)], Cursor(at + 1))
"""


def test_whoever_is_killed_at_any_instant_neither_loses_nor_doubles_a_line(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]

    def write(count: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(count)]
        process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        return process

    def reached() -> int:
        return (KeptLogs(tmp_path).cursor() or Cursor(0)).index

    for attempt in range(5):
        process, before = write(10**9), reached()
        until(lambda before=before: reached() > before + 20)  # type: ignore[misc]
        time.sleep(0.0013 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
    count = reached() + 5
    assert write(count).wait() == 0
    for task in (0, 1):
        lines = [f"line {number}" for number in range(3 * count) if number % 3 % 2 == task]
        assert contents(tmp_path, Reference("D", "w", f"task{task}")) == lines
