"""Rows that are made, or changed when they are there: in one statement, so that two who do it at once both succeed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from hpcwaas.store.models import Base


def upsert(table: type[Base], session: Session, values: Mapping[str, Any]) -> postgresql.Insert | sqlite.Insert:
    """The statement that makes a row; what happens when there is one is added to it by `on_conflict_do_update`."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    return insert(table).values(values)


def replacing(
    table: type[Base], session: Session, values: Mapping[str, Any], by: InstrumentedAttribute[str]
) -> postgresql.Insert | sqlite.Insert:
    """The statement that makes a row, or gives the one that is there these values.

    Args:
        by: the column that tells whether there is one.
    """
    return upsert(table, session, values).on_conflict_do_update(index_elements=[by], set_=values)
