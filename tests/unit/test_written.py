"""Numbers stay as they were written, wherever they go."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from hpcwaas.common import written
from hpcwaas.common.written import WrittenFloat

TEXT = '{"a": [1.10, 1e3, -0, 12345678901234567890, 1E+2, 0.1e1], "b": {"c": -1.50}, "d": "1.10", "e": 7}'


def test_a_document_comes_out_as_it_went_in() -> None:
    assert written.dumps(written.loads(TEXT)) == TEXT
    assert written.dumps(json.loads('{"b": 1.5, "a": [1]}'), sort_keys=True) == '{"a": [1], "b": 1.5}'


def test_copies_remember_too() -> None:
    document = written.loads(TEXT)
    assert written.dumps(copy.deepcopy(document)) == TEXT
    assert written.dumps(pickle.loads(pickle.dumps(document))) == TEXT  # noqa: S301 - our own


def test_they_are_numbers() -> None:
    document = written.loads(TEXT)
    assert document["a"][:3] == [1.1, 1000.0, 0]
    assert [written.in_text(number) for number in (document["a"][0], 7, 2.5)] == ["1.10", "7", "2.5"]
    assert str(document["a"][1]) == "1e3"


def test_what_json_has_no_word_for_is_written_as_json_does() -> None:
    assert written.dumps([written.integer("007"), written.WrittenFloat(".5")]) == "[7, 0.5]"
    assert written.in_text(written.integer("007")) == "007"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("9007199254740993.0", 9007199254740993),
        ("1e23", 10**23),
        ("0.1e1", 1),
        ("1.5", None),
        ("1.00000000000000000000001", None),
        ("1e-400", None),
        ("0e99999999999999999999999", None),
    ],
)
def test_whole_numbers_are_told_exactly(text: str, whole: int | None) -> None:
    assert written.whole(written.WrittenFloat(text)) == whole


@pytest.mark.parametrize("text", ["1e999999999", "-1e999999999999", "1e400"])
def test_a_number_of_more_digits_than_there_is_time_for_is_no_whole_one(text: str) -> None:
    assert written.whole(WrittenFloat(text)) is None


def test_depth_is_found_without_going_down() -> None:
    value: Any = 0
    for _ in range(100_000):
        value = [value]
    assert written.deeper(value, 100)
    assert not written.deeper([[{"a": 1}], "text"], 3)
    assert written.deeper([[{"a": 1}], "text"], 2)
    while value:  # nor may its end
        value = value.pop()
