"""Access tokens while the identity provider is down, slow, or talks nonsense."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from hpcwaas.errors import Unavailable
from hpcwaas.identity.oidc import answers
from tests.relying import Relying, relying
from tests.simulators.oidc import OIDCSimulator
from tests.waiting import until

HOUR = 3600


def test_known_tokens_go_on_while_the_provider_is_down(idp: OIDCSimulator, party: Relying) -> None:
    known, unknown = idp.issue(), idp.issue()
    idp.lifetime = 900
    short = idp.issue()
    for token in (known, short):
        assert party.who(token) is not None
    idp.stop()
    for ahead in (10, 600, 850):
        party.clock.ahead = ahead
        assert party.who(known) is not None
        assert party.who(short) is not None
        with pytest.raises(Unavailable) as caught:
            party.who(unknown)
        assert caught.value.retry_after >= 1
    party.clock.ahead = 1000
    with pytest.raises(Unavailable):  # it ended in between
        party.who(short)
    party.clock.ahead = HOUR - 10
    assert party.who(known) is not None
    party.clock.ahead = HOUR + 10
    with pytest.raises(Unavailable):
        party.who(known)
    idp.start()
    idp.lifetime = 2 * HOUR
    party.clock.ahead = HOUR + 20
    assert party.who(idp.issue()) is not None


@pytest.mark.parametrize("fault", ["500", "html", "truncated", "huge", "list", "redirect http://127.0.0.1:1/", "drop"])
def test_known_tokens_go_on_while_the_provider_talks_nonsense(idp: OIDCSimulator, party: Relying, fault: str) -> None:
    token = idp.issue()
    assert party.who(token) is not None
    idp.fault("introspect", fault)
    party.clock.ahead = 400
    assert party.who(token) is not None
    with pytest.raises(Unavailable) as caught:
        party.who("another-token")
    assert "upstream-secret" not in caught.value.detail
    idp.heal()
    party.clock.ahead = 410
    idp.revoke(token)
    assert party.who(token) is None  # a refusal counts at once, known or not


def test_an_outage_costs_one_try_each_few_seconds(idp: OIDCSimulator) -> None:
    with relying(idp, patience=1) as party:
        party.who("something-else")
        idp.fault("introspect", "hold")
        before = idp.calls["introspect"]
        for number in range(10):
            with pytest.raises(Unavailable):
                party.who(f"token-{number}")
        assert idp.calls["introspect"] - before == 1
        idp.heal()
        party.clock.ahead += 6
        assert party.who(idp.issue()) is not None


def test_too_busy_provider(idp: OIDCSimulator, party: Relying) -> None:
    idp.fault("introspect", "429 17", times=1)
    with pytest.raises(Unavailable) as caught:
        party.who("token")
    assert caught.value.retry_after == 17


def test_signed_tokens_need_no_provider(idp: OIDCSimulator, party: Relying) -> None:
    idp.jwt = True
    assert party.who(idp.issue()) is not None
    token = idp.issue()
    idp.stop()
    party.clock.ahead = 600
    assert party.who(token) is not None


def test_provider_that_was_never_seen(idp: OIDCSimulator) -> None:
    idp.stop()
    with relying(idp) as party:
        with pytest.raises(Unavailable):
            party.who("token")
        idp.start()
        party.clock.ahead += 6
        assert party.who(idp.issue()) is not None


def test_a_slow_provider_stops_nobody_else(idp: OIDCSimulator, party: Relying, monkeypatch: pytest.MonkeyPatch) -> None:
    known = idp.issue()
    assert party.who(known) is not None
    party.clock.ahead = 400  # it has to be asked about again
    monkeypatch.setattr(answers, "_WAIT", 0.05)
    idp.fault("introspect", "hold")

    def ask(number: int) -> str:
        try:
            return "refused" if party.who(f"unknown-{number}") is None else "good"
        except Unavailable as error:
            return f"wait {error.retry_after}"

    with ThreadPoolExecutor(12) as pool:
        found = [pool.submit(ask, number) for number in range(12)]
        until(lambda: sum(future.done() for future in found) == 4)
        assert party.who(known) is not None
        idp.heal()
    results = sorted(future.result() for future in found)
    assert results == ["refused"] * 8 + ["wait 1"] * 4


def test_a_known_token_is_asked_about_by_one_while_others_go_on(idp: OIDCSimulator, party: Relying) -> None:
    token = idp.issue()
    assert party.who(token) is not None
    party.clock.ahead = 400
    idp.fault("introspect", "hold")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(party.who, token)
        until(lambda: idp.calls["introspect"] == 2)
        assert party.who(token) is not None
        idp.heal()
        assert asking.result() is not None
    assert idp.calls["introspect"] == 2
