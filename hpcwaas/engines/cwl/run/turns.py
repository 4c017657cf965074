"""Whose execution goes next: a fair share between users."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeAlias

Ticket: TypeAlias = tuple[str, str]
"""A ticket, which sorts by time, and the id of its execution."""


class Turns:
    """Lets go next whose owner has fewest running; of those with as few, whose owner has waited longest for a turn. The
    executions of one owner go in order.

    Args:
        owner: whose an execution is.
    """

    def __init__(self, owner: Callable[[str], str]) -> None:
        self._owner = owner
        self._owners: dict[str, str] = {}
        self._turn = 0
        self._turns: dict[str, int] = {}

    def forget(self, known: Collection[str]) -> None:
        """Forgets executions that neither wait nor run, and owners who have none."""
        for gone in self._owners.keys() - known:
            del self._owners[gone]
        for gone in self._turns.keys() - self._owners.values():
            del self._turns[gone]

    def order(self, waiting: Sequence[Ticket], running: Sequence[Ticket]) -> Iterator[Ticket]:
        """The executions that wait, in the order in which they go. Each that is taken counts as running.

        Args:
            waiting: in the order of their tickets.
        """
        queues: dict[str, deque[Ticket]] = {}
        for ticket in waiting:
            queues.setdefault(self._of(ticket), deque()).append(ticket)
        run = Counter(map(self._of, running))
        while queues:
            # Who never had a turn waits longest; of two of these, whose ticket is older goes first.
            owner = min(queues, key=lambda owner: (run[owner], self._turns.get(owner, 0), queues[owner][0]))
            ticket = queues[owner].popleft()
            if not queues[owner]:
                del queues[owner]
            run[owner] += 1
            self._turn += 1
            self._turns[owner] = self._turn
            yield ticket

    def _of(self, ticket: Ticket) -> str:
        if ticket[1] not in self._owners:
            self._owners[ticket[1]] = self._owner(ticket[1])
        return self._owners[ticket[1]]
