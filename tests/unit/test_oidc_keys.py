"""The identity provider's keys: which count, and when they are fetched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from hpcwaas.errors import Unavailable
from tests.relying import Relying, relying
from tests.simulators.oidc import OIDCSimulator
from tests.simulators.oidc_http import Answer, Request
from tests.waiting import until

HOUR = 3600


class Provider(OIDCSimulator):
    """One that publishes `published` instead, if that is set."""

    published: Any = None

    def answer(self, request: Any) -> Answer:
        if request.endpoint == "jwks" and self.published is not None:
            return Answer({"keys": self.published})
        return super().answer(request)

    def key(self, **changes: Any) -> dict[str, Any]:
        """The present key with changes; None takes away."""
        [key] = super().answer(_JWKS).document["keys"]
        return {name: value for name, value in {**key, **changes}.items() if value is not None}


_JWKS = Request("GET", "jwks", {}, {})


@pytest.fixture
def idp() -> Iterator[Provider]:
    with Provider(jwt=True) as found:
        yield found


@pytest.fixture
def party(idp: Provider) -> Iterator[Relying]:
    with relying(idp) as found:
        yield found


def test_fetched_once(idp: Provider, party: Relying) -> None:
    for _ in range(5):
        assert party.who(idp.issue()) is not None
    assert idp.calls["jwks"] == 1


def test_fetched_once_by_many(idp: Provider, party: Relying) -> None:
    idp.fault("jwks", "slow 0.2")
    tokens = [idp.issue() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(party.who, tokens))
    assert idp.calls["jwks"] == idp.calls["discovery"] == 1


def test_rotation(idp: Provider, party: Relying) -> None:
    old = idp.issue()
    assert party.who(old) is not None
    idp.rotate()
    assert party.who(idp.issue()) is not None
    assert party.who(idp.issue()) is not None
    assert idp.calls["jwks"] == 2
    party.clock.ahead = 400  # what is remembered of the old token itself is over
    assert party.who(old) is None


def test_unknown_keys_dont_hammer_the_provider(idp: Provider, party: Relying) -> None:
    assert party.who(idp.issue()) is not None
    for number in range(50):
        idp.header = {"kid": f"unknown-{number}"}
        assert party.who(idp.issue()) is None
    assert idp.calls["jwks"] == 2
    party.clock.ahead = 31
    for number in range(50, 60):
        idp.header = {"kid": f"unknown-{number}"}
        assert party.who(idp.issue()) is None
    assert idp.calls["jwks"] == 3


def test_unknown_keys_at_the_same_time(idp: Provider, party: Relying) -> None:
    assert party.who(idp.issue()) is not None
    idp.rotate()
    tokens = [idp.issue() for _ in range(8)]
    idp.fault("jwks", "slow 0.2")
    barrier = threading.Barrier(8)

    def ask(token: str) -> object:
        barrier.wait()
        return party.who(token)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, tokens))
    assert idp.calls["jwks"] == 2


def test_wrong_algorithm_of_a_known_key_is_no_unknown_key(idp: Provider, party: Relying) -> None:
    assert party.who(idp.issue()) is not None
    idp.header = {"alg": "RS512"}
    assert party.who(idp.issue()) is None
    idp.header, idp.sign = {}, "foreign"
    assert party.who(idp.issue()) is None
    assert idp.calls["jwks"] == 1


def test_unknown_key_while_the_provider_is_down(idp: Provider, party: Relying) -> None:
    assert party.who(idp.issue()) is not None
    idp.rotate()
    idp.fault("jwks", "500")
    for _ in range(3):  # none of them is refused: the key may well be a good one
        with pytest.raises(Unavailable):
            party.who(idp.issue())
    assert idp.calls["jwks"] == 2
    idp.heal()
    party.clock.ahead = 31
    assert party.who(idp.issue()) is not None


def test_refreshed_in_the_background_after_an_hour(idp: Provider, party: Relying) -> None:
    idp.lifetime = 100_000
    assert party.who(idp.issue()) is not None
    party.clock.ahead = HOUR + 10
    idp.fault("jwks", "slow 0.3")
    assert party.who(idp.issue()) is not None
    until(lambda: idp.calls["jwks"] == 2 and idp.calls["discovery"] == 2)


def test_kept_for_an_hour_more_while_no_newer_ones_can_be_had(idp: Provider, party: Relying) -> None:
    idp.lifetime = 100_000
    assert party.who(idp.issue()) is not None
    idp.fault("*", "drop")
    party.clock.ahead = 2 * HOUR - 10
    assert party.who(idp.issue()) is not None
    party.clock.ahead = 2 * HOUR + 10
    with pytest.raises(Unavailable):
        party.who(idp.issue())
    idp.heal()
    party.clock.ahead = 2 * HOUR + 20
    assert party.who(idp.issue()) is not None


SHORT = {"kty": "RSA", "n": "v" * 171, "e": "AQAB"}
"""A key of 1024 bits."""

UNUSABLE: dict[str, Any] = {
    "for encryption": lambda idp: [idp.key(use="enc")],
    "of another algorithm": lambda idp: [idp.key(alg="PS256")],
    "for signing only": lambda idp: [idp.key(use=None, key_ops=["sign"])],
    "symmetric": lambda idp: [OctKey.generate_key(256).as_dict(private=True) | {"kid": idp.key()["kid"]}],
    "of another type": lambda idp: [ECKey.generate_key("P-256").as_dict(private=False) | {"kid": idp.key()["kid"]}],
    "of another type with its algorithm": lambda idp: [
        ECKey.generate_key("P-256").as_dict(private=False) | {"kid": idp.key()["kid"], "alg": "RS256"}
    ],
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_unusable_key(idp: Provider, party: Relying, what: str) -> None:
    idp.published = [*UNUSABLE[what](idp), RSAKey.generate_key(2048).as_dict(private=False)]
    assert party.who(idp.issue()) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"kty": "RSA"},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "n": 7, "e": "AQAB"},
        {"kty": "AKP", "pub": "x"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "X25519", "x": "AA"},
        {"kty": ["RSA"]},
        "key",
        None,
    ],
)
def test_odd_keys_do_no_harm(idp: Provider, party: Relying, odd: Any) -> None:
    idp.published = [odd, idp.key()]
    assert party.who(idp.issue()) is not None


@pytest.mark.parametrize("published", [[], {}, "keys", [None], [{"kty": "oct", "k": "AA"}], [SHORT]])
def test_no_usable_key_at_all(idp: Provider, party: Relying, published: Any) -> None:
    idp.published = published
    with pytest.raises(Unavailable):
        party.who(idp.issue())


def test_token_that_names_no_key(idp: Provider, party: Relying) -> None:
    idp.header = {"kid": None}
    assert party.who(idp.issue()) is not None  # there is but one
    idp.published = [idp.key(), RSAKey.generate_key(2048).as_dict(private=False)]
    party.clock.ahead = 2 * HOUR + 10
    idp.lifetime = 100_000
    assert party.who(idp.issue()) is None  # which one isn't guessed


def test_key_without_use_or_algorithm(idp: Provider, party: Relying) -> None:
    idp.published = [idp.key(use=None, alg=None, key_ops=["verify"])]
    assert party.who(idp.issue()) is not None


def test_a_private_key_that_is_published_is_read_as_a_public_one(idp: Provider, party: Relying) -> None:
    idp.published = [idp.key(d="AQAB", p="AQAB")]
    assert party.who(idp.issue()) is not None


def test_key_in_the_token_itself(idp: Provider, party: Relying) -> None:
    own = RSAKey.generate_key(2048)
    idp.header = {"jwk": own.as_dict(private=False), "jku": "http://127.0.0.1:1/keys", "kid": None}
    idp.sign = "foreign"
    assert party.who(idp.issue()) is None
    idp.header |= {"kid": "own"}
    assert party.who(idp.issue()) is None
