"""Credentials at the front: which way to sign in they belong to, and for how long they are known."""

from __future__ import annotations

import pytest

from hpcwaas.core.people import Principal
from hpcwaas.errors import TooManyRequests, Unauthorized
from hpcwaas.identity import throttle
from hpcwaas.identity.front import Front
from tests.unit.accounts import HERE, THERE, World

pytest_plugins = "tests.unit.accounts_fixtures"


class Tokens:
    """A way to sign in by the token `good`."""

    def __init__(self) -> None:
        self.asked = 0
        self.good = {"good"}

    def basic(self, username: str, password: str, address: str) -> Principal | None:
        return None

    def bearer(self, token: str, address: str) -> Principal | None:
        self.asked += 1
        return Principal("sara", "Sara") if token in self.good else None


class TestFront:
    def test_credentials_are_known_for_a_moment(self, world: World) -> None:
        front = Front([Tokens(), world.identity], world.throttle())
        pair = "c2FyYTpzYXJhJ3MgcGFzc3dvcmQ="
        for scheme, credentials in (("basic", pair), ("bearer", "good")):
            assert front.known(scheme, credentials, HERE) is None
            found = front.check(scheme, credentials, HERE)
            assert found.subject == "sara"
            assert front.known(scheme, credentials, HERE) == found
        assert front.known("basic", pair, THERE) is None
        assert front.known("bearer", "good", THERE) is not None
        front.forget()
        assert front.known("basic", pair, HERE) is front.known("bearer", "good", HERE) is None

    def test_what_was_found_out_before_a_change_is_not_kept(self, world: World) -> None:
        class Slow(Tokens):
            def bearer(self, token: str, address: str) -> Principal | None:
                front.forget()
                return super().bearer(token, address)

        front = Front([Slow()], world.throttle())
        assert front.check("bearer", "good", HERE)
        assert front.known("bearer", "good", HERE) is None

    @pytest.mark.parametrize("credentials", ["", "\ud800", "x" * 20_000, "!!!!", "c2FyYQ==", "/w=="])
    def test_nonsense(self, world: World, credentials: str) -> None:
        front = Front([Tokens(), world.identity], world.throttle())
        for scheme in ("basic", "bearer"):
            with pytest.raises(Unauthorized):
                front.check(scheme, credentials, HERE)

    def test_unknown_tokens_are_throttled_by_address(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(throttle, "_TOKENS", 20)
        tokens = Tokens()
        front = Front([tokens], world.throttle())
        assert front.check("bearer", "good", HERE)
        for number in range(20):
            with pytest.raises(Unauthorized):
                front.check("bearer", f"bad {number}", HERE)
        with pytest.raises(TooManyRequests, match="from this address"):
            front.check("bearer", "bad", HERE)
        assert tokens.asked == 21
        front.forget()
        assert front.check("bearer", "good", HERE)  # who was known stays
        tokens.good.clear()
        front.forget()
        with pytest.raises(Unauthorized):
            front.check("bearer", "good", HERE)
        with pytest.raises(TooManyRequests):
            front.check("bearer", "good", HERE)
