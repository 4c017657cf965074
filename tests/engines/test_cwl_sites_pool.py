"""What is kept of the connection to an account: when it is tried again, and how many sessions there are in it."""

from __future__ import annotations

import threading
import time

import pytest

from hpcwaas.engines.cwl.sites.backoff import Backoff
from hpcwaas.engines.cwl.sites.connection import NotSignedIn, SiteFailed
from hpcwaas.engines.cwl.sites.pool import Sessions
from hpcwaas.errors import NotFound
from tests.waiting import until


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pause(backoff: Backoff, clock: Clock) -> int:
    """Seconds until it lets somebody try again."""
    for waited in range(10_000):
        try:
            backoff.check()
        except SiteFailed:
            clock.now += 1
        else:
            return waited
    raise AssertionError


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def test_pauses_double_up_to_a_limit_and_begin_anew_after_a_success() -> None:
    clock = Clock()
    backoff = Backoff(clock, middle)
    found = []
    for _ in range(8):
        backoff.failed(SiteFailed("It doesn't answer."))
        found.append(pause(backoff, clock))
    assert found == [5, 10, 20, 40, 80, 160, 300, 300]
    backoff.succeeded()
    backoff.check()
    backoff.failed(SiteFailed("It doesn't answer."))
    assert pause(backoff, clock) == 5


def test_what_lasts_is_not_tried_again_soon() -> None:
    clock = Clock()
    backoff = Backoff(clock, middle)
    backoff.failed(SiteFailed("The key is refused.", lasting=True))
    with pytest.raises(SiteFailed, match="The key is refused") as caught:
        backoff.check()
    assert caught.value.lasting
    assert pause(backoff, clock) == 300
    backoff.failed(SiteFailed("The key is refused.", lasting=True))
    assert backoff.due() == 600


@pytest.mark.parametrize(
    "failure",
    [
        SiteFailed("The key is refused.", lasting=True),
        NotSignedIn("sign_in", "The site ended the connection while the account was signing in.", "Sign in yourself."),
    ],
)
def test_failed_sign_ins_are_too_few_for_an_address_to_be_barred(failure: SiteFailed) -> None:
    clock = Clock()
    backoff = Backoff(clock, lambda low, _high: low)
    tried = []
    while clock.now < 1000 + 4 * 3600:
        tried.append(clock.now)
        backoff.failed(failure)
        clock.now += backoff.due()
    within_ten_minutes = [sum(since <= at < since + 600 for at in tried) for since in tried]
    assert max(within_ten_minutes) < 5  # as fail2ban counts


def test_a_site_that_is_back_after_ten_minutes_is_noticed_within_some() -> None:
    clock = Clock()
    backoff = Backoff(clock, lambda _low, high: high)
    while clock.now < 1600:
        backoff.failed(SiteFailed("It doesn't answer."))
        clock.now += backoff.due()
    assert clock.now < 1600 + 1.25 * 300


def test_pauses_of_many_differ() -> None:
    clock = Clock()
    pauses = set()
    for _ in range(50):
        backoff = Backoff(clock)
        backoff.failed(SiteFailed("The key is refused.", lasting=True))
        pauses.add(pause(backoff, clock))
    assert 225 <= min(pauses) < max(pauses) <= 376


def test_a_failure_of_the_vault_is_told_again_as_what_it_was() -> None:
    backoff = Backoff(Clock())
    backoff.failed(NotFound("The key has been deleted."))
    with pytest.raises(NotFound, match="has been deleted"):
        backoff.check()


def test_a_server_that_refuses_sessions_gets_fewer_until_the_next_connection() -> None:
    sessions = Sessions(3)
    soon = time.monotonic()
    assert [sessions.take(soon) for _ in range(4)] == [True, True, True, False]
    assert sessions.refused()
    assert not sessions.take(soon)
    sessions.give_back()
    assert sessions.take(soon)
    sessions.reset()
    assert sessions.take(soon)


def test_the_only_session_that_is_refused_is_kept_for_another_try() -> None:
    sessions = Sessions(2)
    assert sessions.take(time.monotonic())
    assert not sessions.refused()
    assert not sessions.take(time.monotonic())
    sessions.give_back()
    assert sessions.take(time.monotonic())


def test_who_may_be_slow_leaves_a_session_to_others_if_there_are_several() -> None:
    sessions = Sessions(2)
    soon = time.monotonic()
    assert sessions.take(soon, spare=1)
    assert not sessions.take(soon, spare=1)
    assert sessions.take(soon)
    alone = Sessions(1)
    assert alone.take(soon, spare=1)


def test_who_has_waited_longest_comes_next() -> None:
    sessions = Sessions(1)
    assert sessions.take(time.monotonic())
    came: list[int] = []

    def wait(number: int) -> None:
        assert sessions.take(time.monotonic() + 60)
        came.append(number)
        sessions.give_back()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        until(lambda number=number: len(sessions._queue) == number)  # type: ignore[misc] # a default binds it
    assert sessions.wanted
    sessions.give_back()
    for thread in threads:
        thread.join()
    assert came == [0, 1, 2, 3, 4]
    assert not sessions.wanted
