from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcwaas.core.models import Level
from hpcwaas.engines.cwl.run.channel import Demultiplexer, FrameHandler, Line, interpret, new_token
from hpcwaas.engines.cwl.storage.log import LogIndexes, LogWriter
from hpcwaas.engines.log_index import LogIndex
from hpcwaas.engines.log_text import clean
from tests.engines.cwl_bench import Bench
from tests.waiting import until

ALL = Level.DEBUG | Level.INFO | Level.WARN | Level.ERROR


def index_of(path: Path) -> LogIndex:
    def read(offset: int, size: int) -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    return LogIndex(read)


@pytest.fixture
def opened() -> Iterator[Callable[[Path, int], LogWriter]]:
    with ExitStack() as stack:

        def make(path: Path, limit: int) -> LogWriter:
            writer = LogWriter(path, limit)
            stack.callback(writer.close)
            return writer

        yield make


def test_entries_come_back_by_level_and_position(tmp_path: Path, opened: Callable[[Path, int], LogWriter]) -> None:
    path = tmp_path / "log"
    writer = opened(path, 10**6)
    levels = [Level.INFO, Level.ERROR, Level.INFO, Level.WARN, Level.ERROR, Level.DEBUG]
    writer.write((level, f"entry {number}") for number, level in enumerate(levels))
    index = index_of(path)
    index.extend()

    def numbers(mask: Level, start: int, limit: int | None) -> list[int]:
        return [entry.index for entry in index.entries(mask, start, limit)]

    assert numbers(ALL, 0, None) == [0, 1, 2, 3, 4, 5]
    assert numbers(ALL, 2, 2) == [2, 3]
    assert numbers(Level.ERROR, 0, None) == [1, 4]
    assert numbers(Level.ERROR, 1, 5) == [4]
    assert numbers(Level.ERROR, 2, 5) == []
    assert numbers(Level.INFO | Level.WARN, 1, 1) == [2]
    assert numbers(Level(0), 0, None) == []
    assert (index.total(ALL), index.total(Level.ERROR | Level.DEBUG), index.total(Level(0))) == (6, 3, 0)
    entry = index.entries(Level.WARN, 0, None)[0]
    assert (entry.level, entry.content) == (Level.WARN, "entry 3")
    assert entry.timestamp.tzinfo is not None
    writer.write([(Level.WARN, "late")])
    assert index.total(Level.WARN) == 1
    index.extend()
    assert numbers(Level.WARN, 1, None) == [6]


def test_a_half_written_line_is_left_out_and_cut_off_by_the_next_writer(
    tmp_path: Path, opened: Callable[[Path, int], LogWriter]
) -> None:
    path = tmp_path / "log"
    writer = opened(path, 10**6)
    writer.write([(Level.INFO, "whole")])
    writer.close()
    with path.open("ab") as file:
        file.write(b'[2,"2026-01-01T00:00:00+00:00","ha')
    index = index_of(path)
    index.extend()
    assert [entry.content for entry in index.entries(ALL, 0, None)] == ["whole"]
    writer = opened(path, 10**6)
    writer.end(Level.ERROR, "killed")
    index.extend()
    assert [entry.content for entry in index.entries(ALL, 0, None)] == ["whole", "killed"]


def test_a_full_log_stops_and_still_takes_a_last_entry(
    tmp_path: Path, opened: Callable[[Path, int], LogWriter]
) -> None:
    path = tmp_path / "log"
    writer = opened(path, 1000)
    writer.write((Level.INFO, "x" * 50) for _ in range(100))
    assert writer.full
    assert path.stat().st_size <= 1000
    writer.write([(Level.INFO, "more")])
    writer.end(Level.ERROR, "too much")
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert lines[-1][2] == "too much"
    assert {line[2] for line in lines[:-1]} == {"x" * 50}


def test_a_million_entries(tmp_path: Path) -> None:
    path = tmp_path / "log"
    line = b'[%d,"2026-01-01T00:00:00+00:00","%d"]\n'
    path.write_bytes(b"".join(line % (8 if number % 1000 == 7 else 2, number) for number in range(10**6)))
    sizes = []

    def read(offset: int, size: int) -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        sizes.append(len(content))
        return content

    index = LogIndex(read)
    index.extend()
    assert index.total(ALL) == 10**6
    assert sum(sizes) < 1.01 * path.stat().st_size  # half lines at the ends of pieces are read again
    sizes.clear()
    assert [entry.content for entry in index.entries(ALL, 999_990, 3)] == ["999990", "999991", "999992"]
    assert [entry.content for entry in index.entries(Level.ERROR, 998, None)] == ["998007", "999007"]
    assert len(index.entries(Level.ERROR, 0, None)) == 1000
    assert sum(sizes) < 100_000


def test_indexes_are_kept_for_the_last_logs_only(tmp_path: Path) -> None:
    reads: list[tuple[str, int]] = []

    def read(name: str, offset: int, size: int) -> bytes:
        reads.append((name, offset))
        return b'[2,"2026-01-01T00:00:00+00:00","x"]\n'[offset : offset + size]

    indexes = LogIndexes(read, capacity=2)
    first = indexes.get("a")
    assert indexes.get("a") is first
    for name in "bc":
        indexes.get(name)
    assert indexes.get("a") is not first
    assert all(len(indexes.get(name)) == 1 for name in "abc")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("plain größe 雪", "plain größe 雪"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("10%\r50%\r100%\r", "100%"),
        ("a\tb\x00\x07\x9b", "a\tb"),
        ("", ""),
    ],
)
def test_content_is_safe_for_a_terminal(raw: str, expected: str) -> None:
    assert clean(raw) == expected


def record(level: int, message: str) -> logging.LogRecord:
    return logging.LogRecord("x", level, "", 0, message, (), None)


def lines_of(chunks: list[bytes], token: bytes) -> list[Line]:
    demultiplexer = Demultiplexer(token, lambda *_: None)
    lines = [line for chunk in chunks for line in demultiplexer.feed(chunk)]
    return lines + list(demultiplexer.end())


def test_messages_and_tool_lines_keep_their_order_and_nobody_forges_a_message() -> None:
    token = new_token()
    reader, writer = os.pipe()
    handler = FrameHandler(writer, token)
    long = "ä" * 10_000
    data = bytearray()

    def collect() -> None:
        while chunk := os.read(reader, 1000):
            data.extend(chunk)

    thread = threading.Thread(target=collect)
    thread.start()
    os.write(writer, b"first\nhalf a ")
    handler.emit(record(logging.INFO, "[step a] start"))
    os.write(writer, b"line\n\0" + b"0" * 32 + b'.[2,"[step b] start"]\n')
    handler.emit(record(logging.CRITICAL, long + "\nsecond line"))
    os.write(writer, b"the end")
    os.close(writer)
    thread.join()
    os.close(reader)

    for size in (1, 7, 4096, len(data)):
        chunks = [bytes(data[start : start + size]) for start in range(0, len(data), size)]
        lines = lines_of(chunks, token)
        assert [line.text for line in lines if line.message] == ["[step a] start", long + "\nsecond line"]
        assert [line.level for line in lines if line.message] == [Level.INFO, Level.ERROR]
        raw = [line.text for line in lines if not line.message]
        assert raw[0] == "first"
        assert raw[1] == "half a line"
        assert raw[2].startswith("\x000000")
        assert raw[3] == "the end"


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_come_through(data: bytes, size: int) -> None:
    data = data.replace(b"\r", b".")  # it takes back what stands before it
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    text = "\n".join(line.text for line in lines_of(chunks, new_token()))
    assert text == data.removesuffix(b"\n").decode(errors="replace")


def test_long_lines_are_split_between_characters() -> None:
    data = ("€" * 20_000).encode()
    lines = lines_of([data[start : start + 65536] for start in range(0, len(data), 65536)], new_token())
    assert len(lines) > 3
    assert max(len(line.text.encode()) for line in lines) <= 16 * 1024
    assert "".join(line.text for line in lines) == "€" * 20_000


@pytest.mark.parametrize(
    ("text", "level", "expected"),
    [
        ("INFO [step a] start", Level.INFO, "[step a] start"),
        ("WARNING: careful", Level.WARN, "careful"),
        ("ERROR [job x] Job error:", Level.ERROR, "[job x] Job error:"),
        ("[2026-11-23T12:00:00+0000] [MainThread] [W] [toil.job] slow", Level.WARN, "[toil.job] slow"),
        ("\t[2026-11-23T12:00:00+0000] [MainThread] [E] [toil.worker] over", Level.ERROR, "[toil.worker] over"),
    ],
)
def test_lines_of_other_runners_are_understood(text: str, level: Level, expected: str) -> None:
    assert interpret(Line(Level.INFO, text, message=False)) == Line(level, expected, message=True)


def test_lines_of_tools_are_left_alone() -> None:
    for text in ("INFORMATION", "hello", "[1] [2]"):
        line = Line(Level.INFO, text, message=False)
        assert interpret(line) is line


def test_what_waits_for_its_line_s_end_is_told_meanwhile(bench: Bench) -> None:
    reference = bench.shell("printf 'Work%s... ' ing >&2; sleep 60")
    until(lambda: "Working" in bench.text(reference))
    assert not bench.executions.state(reference).status.over
    bench.executions.cancel(reference)
    bench.end(reference)
