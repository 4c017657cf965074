"""Go's durations, as the service that this one replaces read them."""

import pytest

from hpcwaas.api.durations import seconds
from hpcwaas.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        ("300ms", 0.3),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1.s", 1),
        ("1s500ms", 1.5),
        ("1m30s", 90),
        ("5µs", 5e-6),
        ("5μs", 5e-6),
        ("5us", 5e-6),
        ("7ns", 7e-9),
        ("1h", 3600),
        ("+2s", 2),
        ("-1s", -1),
        ("-1m30s", -90),
    ],
)
def test_reads_durations(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["", "5", "abc", "1d", "1.5", ".s", "s", "1 s", "1s ", "1s-1s", "--1s", "1S", "\u0661s"]
)
def test_refuses_what_is_no_duration(text: str) -> None:
    with pytest.raises(BadRequest, match="timeout"):
        seconds(text)
