"""For how long answers about access tokens are remembered, and that each is asked for once."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hpcwaas.errors import Unavailable
from hpcwaas.identity.oidc import answers
from tests.relying import Relying, asked, relying
from tests.simulators.oidc import OIDCSimulator


def test_good_answers_count_for_five_minutes(idp: OIDCSimulator, party: Relying) -> None:
    token = idp.issue()
    for ahead, calls in ((0, 1), (290, 1), (310, 2), (600, 2), (620, 3)):
        party.clock.ahead = ahead
        assert party.who(token) is not None
        assert asked(idp) == calls


def test_good_answers_end_with_the_token(idp: OIDCSimulator, party: Relying) -> None:
    idp.lifetime = 100
    token = idp.issue()
    assert party.who(token) is not None
    idp.revoke(token)
    party.clock.ahead = 90
    assert party.who(token) is not None
    party.clock.ahead = 110
    assert party.who(token) is None


def test_bad_answers_count_for_half_a_minute(idp: OIDCSimulator, party: Relying) -> None:
    for ahead, calls in ((0, 1), (25, 1), (35, 2)):
        party.clock.ahead = ahead
        assert party.who("unknown-token") is None
        assert asked(idp) == calls


def test_memory_is_bounded_and_bad_tokens_push_out_no_good_one(
    idp: OIDCSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_MOST", 5)
    with relying(idp) as party:
        token = idp.issue()
        assert party.who(token) is not None
        for number in range(20):
            assert party.who(f"unknown-{number}") is None
        before = asked(idp)
        assert party.who(token) is not None
        assert party.who("unknown-19") is None
        assert asked(idp) == before
        assert party.who("unknown-0") is None  # forgotten
        assert asked(idp) == before + 1
        for _ in range(6):
            assert party.who(idp.issue()) is not None
        before = asked(idp)
        assert party.who(token) is not None
        assert asked(idp) == before + 1


@pytest.mark.parametrize("good", [True, False])
def test_one_question_about_one_token(
    idp: OIDCSimulator, party: Relying, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_WAIT", 10)
    party.who("something-else")  # so that discovery is done
    idp.fault("introspect", "slow 0.3")
    token = idp.issue() if good else "unknown-token"
    before = idp.calls["introspect"]
    barrier = threading.Barrier(16)

    def ask(_: int) -> bool:
        barrier.wait()
        return party.who(token) is not None

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(16))) == {good}
    assert idp.calls["introspect"] == before + 1


def test_one_question_that_fails_fails_for_all_who_asked_it(idp: OIDCSimulator) -> None:
    barrier = threading.Barrier(8)

    def ask(_: int) -> str:
        barrier.wait()
        try:
            party.who(token)
        except Unavailable as error:
            return error.detail
        return ""

    with relying(idp, patience=2) as party, ThreadPoolExecutor(8) as pool:
        party.who("something-else")
        token = idp.issue()
        idp.fault("introspect", "hold")
        assert set(pool.map(ask, range(8))) == {"The identity provider takes too long to answer."}
        assert idp.calls["introspect"] == 2  # the one before, and this
        idp.heal()
        party.clock.ahead += 6
        assert party.who(token) is not None  # nobody waits for what is over


def test_nothing_secret_in_logs_or_memory(idp: OIDCSimulator, party: Relying, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hpcwaas")
    token = idp.issue()
    assert party.who(token) is not None
    assert party.who("unknown-token-x") is None
    idp.fault("introspect", "html")
    with pytest.raises(Unavailable):
        party.who("unknown-token-y")
    ours = "\n".join(f"{one.getMessage()} {one.exc_text}" for one in caplog.records if one.name.startswith("hpcwaas"))
    assert ours
    assert [secret for secret in (token, "unknown-token", idp.client_secret, "upstream-secret") if secret in ours] == []
    assert token not in repr(vars(party.bearer._answers))
    assert [one.vouched.access_token for one in party.bearer._answers._good.values() if one.vouched] == [""]
