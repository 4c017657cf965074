"""Queries on personal access tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, update

from hpcwaas.core.people import AccessToken, Proof
from hpcwaas.errors import Conflict, NotFound
from hpcwaas.store.columns import columns, value_of
from hpcwaas.store.database import Database
from hpcwaas.store.models import TokenRow
from hpcwaas.store.turns import Turn, take


class TokenStore:
    """Obeys `TokenRecords`. Keeps tokens, found by a digest. An `owner` of None means whoever's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token: AccessToken, digest: str, at_most: int) -> None:
        with self._database.write(taken="You already have a token of this name.") as session:
            take(session, Turn.TOKENS, token.owner)
            query = select(func.count()).select_from(TokenRow).where(TokenRow.owner == token.owner)
            if (session.scalar(query) or 0) >= at_most:
                raise Conflict(f"You have {at_most} tokens, which is the limit. Revoke one that you don't need.")
            proof = {"acr": token.proof.acr, "proved_at": token.proof.at}
            session.add(TokenRow(**columns(token, "proof"), **proof, digest=digest))

    def of(self, owner: str | None) -> Sequence[AccessToken]:
        query = select(TokenRow).order_by(TokenRow.created_at.desc(), TokenRow.id)
        with self._database.read() as session:
            return [_token(row) for row in session.scalars(query if owner is None else query.filter_by(owner=owner))]

    def find(self, digest: str, now: datetime) -> AccessToken | None:
        with self._database.read() as session:
            row = session.scalar(select(TokenRow).where(TokenRow.digest == digest, TokenRow.expires_at > now))
            return _token(row) if row else None

    def used(self, token_id: str, now: datetime) -> None:
        with self._database.write() as session:
            session.execute(update(TokenRow).where(TokenRow.id == token_id).values(last_used_at=now))

    def delete(self, token_id: str, owner: str | None) -> str:
        query = delete(TokenRow).where(TokenRow.id == token_id)
        with self._database.write() as session:
            if owner is not None:
                query = query.where(TokenRow.owner == owner)
            found: str | None = session.scalar(query.returning(TokenRow.owner))
            if found is None:
                raise NotFound("There is no such token.")
            return found

    def delete_all(self, owner: str) -> int:
        with self._database.write() as session:
            return session.connection().execute(delete(TokenRow).where(TokenRow.owner == owner)).rowcount

    def drop_scope(self, owner: str, scope: str) -> int:
        dropped = 0
        with self._database.write() as session:
            for row in session.scalars(select(TokenRow).where(TokenRow.owner == owner).with_for_update()):
                if scope not in row.scopes:
                    continue
                dropped += 1
                row.scopes = row.scopes - {scope}
                if not row.scopes:
                    session.delete(row)
        return dropped

    def sweep(self, before: datetime) -> None:
        """Removes tokens that expired before this moment."""
        with self._database.write() as session:
            session.execute(delete(TokenRow).where(TokenRow.expires_at < before))


def _token(row: TokenRow) -> AccessToken:
    return value_of(AccessToken, row, {"proof": Proof(row.acr, row.proved_at)})
