"""How often something may come from one network address."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hpcwaas.errors import TooManyRequests
from hpcwaas.identity.rates import AddressRate
from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database


@pytest.fixture
def rate(database: Database) -> AddressRate:
    """Lets two through in a minute."""
    return AddressRate(CounterStore(database), "test", 2, timedelta(minutes=1), "Wait.")


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.2"),
        ("", "", "192.0.2.1"),
        ("no address", "no address", "another"),
    ],
)
def test_addresses_are_limited_one_by_one(rate: AddressRate, address: str, same: str, other: str) -> None:
    rate.take(address)
    rate.take(same)
    with pytest.raises(TooManyRequests) as caught:
        rate.take(address)
    assert 1 <= caught.value.retry_after <= 60
    rate.take(other)


def test_looking_counts_nothing(rate: AddressRate) -> None:
    for _ in range(5):
        rate.check("192.0.2.1")
    rate.take("192.0.2.1")
