"""The head of an answer and its body leave together, and a head alone doesn't wait for a body."""

from __future__ import annotations

import asyncio

import pytest

from hpcwaas.server.joined import JoinedWrites


class Wire(asyncio.Transport):
    """Notes what is written.

    Attributes:
        sent: each write; None when it is closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes | None] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        return None in self.sent

    def close(self) -> None:
        self.sent.append(None)


async def written(*steps: bytes | None) -> list[bytes | None]:
    """What a connection gets of these writes; None closes it."""
    wire = Wire()
    joined = JoinedWrites(wire, asyncio.get_running_loop())
    for step in steps:
        if step is None:
            joined.close()
        else:
            joined.write(step)
    assert joined.is_closing() is wire.is_closing()
    await asyncio.sleep(0)
    return wire.sent


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((b"head ", b"body"), [b"head body"]),
        ((b"head ", b""), [b"head "]),
        ((b"head ", b"part ", b"part"), [b"head part ", b"part"]),
        ((b"head",), [b"head"]),
        ((b"head", None), [b"head", None]),
        ((b"head ", b"body", None), [b"head body", None]),
    ],
)
def test_a_head_goes_out_with_what_follows_at_once(steps: tuple[bytes | None, ...], expected: list[bytes]) -> None:
    assert asyncio.run(written(*steps)) == expected


def test_a_head_goes_out_before_a_body_that_comes_later() -> None:
    async def slowly() -> None:
        wire = Wire()
        joined = JoinedWrites(wire, asyncio.get_running_loop())
        joined.write(b"head")
        await asyncio.sleep(0)
        assert wire.sent == [b"head"]
        joined.write(b"body")
        assert wire.sent == [b"head", b"body"]

    asyncio.run(slowly())
