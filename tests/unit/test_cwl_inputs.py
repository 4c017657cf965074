"""Inputs are checked completely, told about in words, and values turned into what the type asks for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.errors import InvalidInputs
from tests.unit.cwl_world import DECLARED, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, DECLARED)


def test_all_problems_come_at_once_each_at_its_place(world: World) -> None:
    problems = world.problems(
        threads="abc",
        colour="gren",
        numbers=[1, "two", 3],
        samples=[{"name": 5, "dept": 1}],
        tittle="x",
        reads="nobody",
    )
    assert {problem.input for problem in problems} == {
        "threads",
        "colour",
        "numbers[1]",
        "samples[0].name",
        "samples[0].dept",
        "tittle",
        "reads",
    }
    by_input = {problem.input: problem for problem in problems}
    assert by_input["threads"].detail == 'threads: "abc" was given, expected a whole number (int).'
    assert by_input["tittle"].suggestion == "title"
    assert by_input["samples[0].dept"].suggestion == "depth"
    assert by_input["colour"].suggestion == "green"
    assert "'red'" in str(by_input["colour"].expected)
    assert by_input["numbers[1]"].given == '"two"'
    assert "You have no upload with this id" in by_input["reads"].detail


def test_missing_required_inputs_are_named(world: World) -> None:
    with pytest.raises(InvalidInputs, match="threads is required"):
        world.prepare()
    assert world.problems(threads=None)[0].given is None
    assert [problem.input for problem in world.problems(samples=[{"depth": 1}])] == ["samples[0].name"]


def test_null_means_not_given(world: World) -> None:
    assert world.prepare(threads=2, ratio=None, title=None, reads=None).order == {"threads": 2}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("total", "9000000000", 9_000_000_000),
        ("total", 3.0, 3),
        ("ratio", "1e-3", 0.001),
        ("ratio", 2, 2),
        ("flag", "true", True),
        ("numbers", "[1, 2]", [1, 2]),
        ("samples", '[{"name": "a", "depth": null}]', [{"name": "a"}]),
        ("either", "7", 7),
        ("title", "7", "7"),
        ("anything", "7", "7"),
        ("anything", {"a": [1, None, {"b": "c"}]}, {"a": [1, None, {"b": "c"}]}),
        ("colour", "red", "red"),
        ("text_or_file", "a", "a"),
        ("word_or_file", "red", "red"),
    ],
)
def test_values_are_accepted(world: World, name: str, value: Any, expected: Any) -> None:
    given = world.order(**{name: value})[name]
    assert given == expected
    assert isinstance(given, type(expected))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", True),
        ("threads", 3.5),
        ("threads", 2**31),
        ("threads", -(2**31) - 1),
        ("threads", "2147483648"),
        ("threads", "1x"),
        ("threads", "[1]"),
        ("threads", "null"),
        ("total", 2**63),
        ("ratio", math.nan),
        ("ratio", math.inf),
        ("ratio", "NaN"),
        ("ratio", 10**400),
        ("ratio", False),
        ("flag", 1),
        ("flag", "yes"),
        ("title", 5),
        ("title", "\ud800"),
        ("numbers", 1),
        ("numbers", [1.5]),
        ("numbers", [None]),
        ("samples", [[]]),
        ("either", 1.5),
        ("either", "text"),
        ("reads", 5),
        ("reads", {"class": "Directory"}),
        ("reads", {"class": "File"}),
        ("many", "a-string"),
        ("anything", {"$include": "/etc/passwd"}),
        ("anything", [{"deep": {"$import": "x"}}]),
        ("anything", {"__id": "/etc/", "f": "x"}),
        ("anything", math.inf),
        ("anything", {"class": "File", "location": "file:///etc/passwd"}),
        ("anything", {"x": [{"class": "File", "path": "/etc/passwd"}]}),
        ("anything", {"class": "Directory", "location": "/etc"}),
    ],
)
def test_values_are_refused(world: World, name: str, value: Any) -> None:
    problems = world.problems(**{name: value})
    assert problems[0].input.startswith(name)
    assert problems[0].detail


def test_a_union_says_what_it_accepts(world: World) -> None:
    [problem] = world.problems(either=False)
    assert problem.expected == "a whole number (int) or a list (string[]), each item a string"
    [problem] = world.problems(either=["a", 1])
    assert problem.input == "either[1]", "one option is meant, so its own problem is told"


def test_range_is_told(world: World) -> None:
    [problem] = world.problems(threads=2**31)
    assert "2147483647" in problem.detail


def test_nesting_and_numbers_of_problems_are_bounded(world: World) -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    assert "nested too deeply" in world.problems(anything=deep)[0].detail
    listing: Any = {"class": "Directory", "basename": "d", "listing": []}
    for _ in range(500):
        listing = {"class": "Directory", "basename": "d", "listing": [listing]}
    assert "nested too deeply" in world.problems(folder=listing)[0].detail
    assert len(world.problems(numbers=["x"] * 100_000)) <= 101
    assert len(world.problems(False, **{f"unknown{number}": 1 for number in range(1000)})) <= 101
    long = world.problems(title=["word"] * 10_000)[0].given
    assert long is not None
    assert len(long) < 100
