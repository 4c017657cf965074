"""Whose execution goes next."""

from __future__ import annotations

from itertools import islice

from hpcwaas.engines.cwl.run.turns import Ticket, Turns


def tickets(*names: str) -> list[Ticket]:
    """Tickets in order; a name begins with its owner's letter."""
    return [(f"{number:03}", name) for number, name in enumerate(names)]


def order(turns: Turns, waiting: list[Ticket], running: list[Ticket] | None = None, count: int = 100) -> str:
    return " ".join(name for _, name in islice(turns.order(waiting, running or []), count))


def make() -> Turns:
    return Turns(lambda execution_id: execution_id[0])


def test_one_owner_goes_in_order() -> None:
    assert order(make(), tickets("a1", "a2", "a3")) == "a1 a2 a3"


def test_whoever_has_fewest_running_goes_next() -> None:
    waiting = tickets("a3", "a4", "a5", "b1", "b2", "c1")
    assert order(make(), waiting, tickets("a1", "a2", "b0")) == "c1 b1 a3 b2 a4 a5"


def test_with_one_place_owners_take_turns() -> None:
    turns = make()
    waiting = tickets("a1", "a2", "a3", "b1", "b2")
    went = []
    while waiting:
        turns.forget({name for _, name in waiting})
        ticket = next(turns.order(waiting, []))
        waiting.remove(ticket)
        went.append(ticket[1])
    assert went == ["a1", "b1", "a2", "b2", "a3"]


def test_what_is_over_is_forgotten() -> None:
    turns = make()
    order(turns, tickets("a1", "b1"))
    turns.forget({"a1"})
    assert (turns._owners, set(turns._turns)) == ({"a1": "a"}, {"a"})
