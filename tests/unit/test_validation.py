"""Reading JSON strictly."""

import pytest

from hpcwaas.api.validation import parse_json
from hpcwaas.errors import BadRequest


@pytest.mark.parametrize(
    "text", ["null", "{}", '{"a": [1, 2.5, "é", true]}', '"\\ud83d\\ude00"', "12345678901234567890"]
)
def test_reads_json(text: str) -> None:
    import json

    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"inputs":', "line 1, column 11"),
        ("{\n x:1}", "line 2, column 2"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "`a` is a number out of range"),
        ('{"a": {"b": ["\\u0000"]}}', r"`a\.b\[0\]` contains a NUL"),
        ('{"\\ud800": 1}', "half a surrogate"),
        ("[" * 5000 + "]" * 5000, "nested"),
        ("[" * 200 + "]" * 200, "nested"),
        ("1" * 5000, "too long"),
        ('{"a": 1, "b": 2, "a": 1}', "`a` is given more than once"),
        ('{"inputs": {"x": {"y": 1, "\\u0079": 2}}}', "`y` is given more than once"),
        ('[{"": 1, "": 1}]', "`` is given more than once"),
        ("\ufeff{}", "byte order mark"),
        ("[" + "0," * 100_000 + "0]", "more than 100000 values"),
        ("[" + "{}," * 100_000 + "0]", "more than 100000 values"),
        ("[" + '"a",' * 100_000 + "0]", "more than 100000 values"),
        ("[" + '"' + "a" * 10 + '",' * 1 + "[],0," * 60_000 + "0]", "more than 100000 values"),
    ],
)
def test_refuses_with_the_place(text: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parse_json(text)


@pytest.mark.parametrize(
    "text", ['"' + "1,2,[3]\\n" * 100_000 + '"', '"' + '\\",' * 200_000 + '"', "[" + "0," * 99_000 + "0]"]
)
def test_a_long_text_is_one_value(text: str) -> None:
    assert parse_json(text)
