"""Lines without an end: they are told in time, and not too often."""

from __future__ import annotations

import pytest

from hpcwaas.engines.cwl.run.channel import Demultiplexer, new_token
from hpcwaas.engines.log_text import clean


class Pipe:
    """What comes out of the pipe, at times of our own."""

    def __init__(self) -> None:
        self.now = 100.0
        self._lines = Demultiplexer(new_token(), lambda *_: None, lambda: self.now)

    def say(self, data: bytes) -> list[str]:
        return [clean(line.text) for line in self._lines.feed(data)]

    def wait(self, seconds: float) -> list[str]:
        self.now += seconds
        return [clean(line.text) for line in self._lines.unfinished()]

    def end(self) -> list[str]:
        return [clean(line.text) for line in self._lines.end()]


def test_a_question_is_told_after_a_second() -> None:
    pipe = Pipe()
    assert pipe.say(b"done\nName? ") == ["done"]
    assert pipe.wait(0.5) == []
    assert pipe.wait(0.6) == ["Name? "]
    assert pipe.wait(5) == []
    assert pipe.say(b"Bob\nnext\n") == ["Bob", "next"]


def test_the_end_of_a_line_that_was_told_is_no_line() -> None:
    pipe = Pipe()
    assert pipe.say(b"working...") == []
    assert pipe.wait(1) == ["working..."]
    assert pipe.say(b"\n\nnext\n") == ["", "next"]


def test_progress_is_told_once_a_second_and_its_end_at_once() -> None:
    pipe = Pipe()
    told = []
    for percent in range(101):
        pipe.now += 0.05
        told += pipe.say(b"\r%d%%" % percent)
    told += pipe.say(b"\r100%, 5 s\n")
    assert told[0] == "0%"
    assert told[-1] == "100%, 5 s"
    assert 5 <= len(told) <= 8


def test_progress_that_ends_with_the_return_is_told_too() -> None:
    pipe = Pipe()
    assert pipe.say(b"10%\r") == []
    assert pipe.say(b"20%\r") == ["20%"]
    assert pipe.say(b"30%\r40%\r") == []
    assert pipe.wait(1) == ["40%"]
    assert pipe.end() == []


def test_the_ends_of_lines_on_windows_are_one_end() -> None:
    pipe = Pipe()
    assert pipe.say(b"one\r") == []
    assert pipe.say(b"\ntwo\r\nthree") == ["one", "two"]
    assert pipe.end() == ["three"]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("gr\u00fcn".encode()[:3], "gr\u00fcn".encode()[3:] + b"\n", ["gr", "\u00fcn"]),
        (b"a\x1b[3", b"2mgreen\x1b[0m\n", ["a", "green"]),
        (b"a\x1b", b"[32mgreen\n", ["a", "green"]),
    ],
)
def test_neither_characters_nor_colours_are_cut(first: bytes, second: bytes, told: list[str]) -> None:
    pipe = Pipe()
    assert [*pipe.say(first), *pipe.wait(2), *pipe.say(second)] == told


def test_a_flood_of_progress_stays_small() -> None:
    pipe = Pipe()
    told = []
    for _ in range(1000):
        pipe.now += 0.01
        told += pipe.say(b"\rx" * 30_000)
    assert 9 <= len(told) <= 12
    assert set(told) == {"x"}
