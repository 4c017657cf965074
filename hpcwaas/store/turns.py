"""Lets what counts a user's things before it adds one take turns."""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import text
from sqlalchemy.orm import Session


class Turn(IntEnum):
    """What is counted. The numbers are the first keys of PostgreSQL's advisory locks."""

    EXECUTIONS = 1
    UPLOADS = 2
    TOKENS = 3
    ACCOUNTS = 4


def take(session: Session, turn: Turn, owner: str) -> None:
    """Waits until no other transaction counts the same of this user; until the end of this one, none begins to.

    On SQLite a transaction that writes is alone from its first moment.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            text("SELECT pg_advisory_xact_lock(:turn, hashtext(:owner))"), {"turn": turn.value, "owner": owner}
        )
