"""Files that come from a site in one stream, in pieces of any size, and streams that are none."""

from __future__ import annotations

import pytest

from hpcwaas.engines.cwl.sites.given import Given
from hpcwaas.errors import Unavailable


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_files_come_one_behind_the_other(size: int) -> None:
    stream = b"3\nabc0\n-1\n5\n1\n2\n3"
    given = Given(iter([stream[at : at + size] for at in range(0, len(stream), size)]))
    found = []
    for _ in range(4):
        number = given.number()
        found.append((number, b"".join(given.content(max(number, 0)))))
    assert found == [(3, b"abc"), (0, b""), (-1, b""), (5, b"1\n2\n3")]


@pytest.mark.parametrize("stream", [b"", b"3", b"3\nab", b"x\n", b"9" * 50, b"\n"])
def test_what_breaks_off_or_is_something_else_is_no_file(stream: bytes) -> None:
    given = Given(iter([stream]))
    with pytest.raises(Unavailable):
        list(given.content(given.number()))
