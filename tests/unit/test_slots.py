"""Places for what takes long."""

import pytest

from hpcwaas.core.slots import Slots
from hpcwaas.errors import TooManyRequests, Unavailable


def test_a_user_has_a_share_and_all_have_a_limit() -> None:
    slots = Slots(total=3, each=2, what="logs")
    slots.take("alice")
    slots.take("alice")
    with pytest.raises(TooManyRequests, match="2 logs") as refused:
        slots.take("alice")
    assert refused.value.retry_after > 0
    slots.take("bob")
    with pytest.raises(Unavailable):
        slots.take("carol")
    slots.give("alice")
    slots.take("carol")
    with pytest.raises(Unavailable):
        slots.take("bob")
    for user in ("alice", "bob", "carol"):
        slots.give(user)
    slots.take("bob")
    slots.take("bob")
