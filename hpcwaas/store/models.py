"""The tables. Only what SQLite and PostgreSQL both can; every change here needs a migration beside it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, MetaData, String, UniqueConstraint, false, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from hpcwaas.core.endings import Attempt, Closing
from hpcwaas.core.models import ReplacedKey, Step
from hpcwaas.store.columns import Names, Stored, UTCDateTime


class Base(DeclarativeBase):
    """Base of the mapped classes. Constraints have fixed names, so that later migrations can address them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # none_as_null: an absent value is NULL, not the JSON text "null".
    # Texts are compared byte by byte, on every machine alike: no index depends on what a system's locales say today.
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: String().with_variant(String(collation="C"), "postgresql"),
        datetime: UTCDateTime,
        Any: JSON(none_as_null=True),
    }


# By what lists choose. What is compared with one value comes first, then the order of lists: a page is read from where
# it begins, and no more than it.
_LISTED_BY: Final = ((), ("status",), ("workflow_id", "status"))


class ExecutionRow(Base):
    """An execution with its state as last seen."""

    __tablename__ = "executions"
    __table_args__ = (
        *(Index(None, *columns, "created_at", "id") for columns in _LISTED_BY),
        *(Index(None, "owner", *columns, "created_at", "id") for columns in _LISTED_BY),
        Index(None, "owner", "inputs_size", "kept_size"),
        Index(None, "engine", "reference", unique=True),
        Index(None, "removed", "ended_at"),
        Index(None, "workflow_id", "removed", "ended_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    workflow_id: Mapped[str]
    workflow_name: Mapped[str]
    workflow_version: Mapped[str | None]
    engine: Mapped[str]
    reference: Mapped[str | None]
    site: Mapped[str | None]
    account_user: Mapped[str | None]
    account_key: Mapped[str | None]
    inputs: Mapped[Any]
    created_at: Mapped[datetime]
    status: Mapped[str]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    steps: Mapped[tuple[Step, ...]] = mapped_column(Stored(tuple[Step, ...]))
    outputs: Mapped[Any | None]
    directory: Mapped[str | None]
    inputs_size: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Bytes of the record of its inputs."""
    kept_size: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Bytes that are kept of it since it has ended: outputs, log, and their record."""
    claimed_until: Mapped[datetime | None]
    """Until when one process alone tries to start what a crash left, or looks for it."""
    attempts: Mapped[tuple[Attempt, ...]] = mapped_column(Stored(tuple[Attempt, ...], absent=()), nullable=True)
    """Those that failed before it was resumed."""
    inputs_from: Mapped[tuple[str, ...]] = mapped_column(Stored(tuple[str, ...], absent=()), nullable=True)
    """Ids of the executions whose outputs it took."""
    closed: Mapped[Closing | None] = mapped_column(Stored(Closing))
    """Who declared it ended, when, and why."""
    watched_until: Mapped[datetime | None] = mapped_column(index=True)
    """Until when the engine may still say how a closed one really ended."""
    removed: Mapped[int] = mapped_column(server_default="0")
    """Which `Parts` of it are gone."""
    removing_since: Mapped[datetime | None]
    """Since when all of it is being removed."""
    removal_problem: Mapped[str | None]
    """What that waits for."""


class IdempotencyRow(Base):
    """An `Idempotency-Key` that a user sent, what they asked for with it, and what came of it."""

    __tablename__ = "idempotency_keys"

    owner: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    execution_id: Mapped[str]
    """It may have been removed: the key stands for it all the same."""
    created_at: Mapped[datetime] = mapped_column(index=True)


class UploadRow(Base):
    """An uploaded file; its content is a file of the same id."""

    __tablename__ = "uploads"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "owner", "created_at", "id"),
        Index("ix_uploads_held", "id", sqlite_where=text("deleted IS 1"), postgresql_where=text("deleted IS true")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    name: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    created_at: Mapped[datetime]
    companion_of: Mapped[str | None] = mapped_column(index=True)
    """Id of another upload of its owner's, beside which it belongs."""
    deleted: Mapped[bool] = mapped_column(server_default=false())
    """Whether its owner has deleted it while an execution that hasn't ended held its content."""


class SSHKeyRow(Base):
    """The public part of an SSH key. Names are unique per owner; NULL, no name, may repeat."""

    __tablename__ = "ssh_keys"
    __table_args__ = (UniqueConstraint("owner", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    name: Mapped[str | None]
    type: Mapped[str]
    bits: Mapped[int | None]
    public_key: Mapped[str]
    fingerprint: Mapped[str]
    # `metadata` is SQLAlchemy's own word on a mapped class.
    details: Mapped[Any] = mapped_column("metadata")
    created_at: Mapped[datetime]
    rotated_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    replaced: Mapped[tuple[ReplacedKey, ...]] = mapped_column(Stored(tuple[ReplacedKey, ...], absent=()), nullable=True)
    change: Mapped[str | None]
    """What is being done to it, `rotate` or `delete`, since `changing_since`."""
    changing_since: Mapped[datetime | None]


class ExecutionKeyRow(Base):
    """That an execution was started with an SSH key. It stays when the key is deleted."""

    __tablename__ = "execution_keys"

    execution_id: Mapped[str] = mapped_column(ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True)
    key_id: Mapped[str] = mapped_column(primary_key=True, index=True)


class ExecutionSourceRow(Base):
    """That an execution took outputs of another one as inputs. `owner` and `created_at` are its own."""

    __tablename__ = "execution_sources"
    __table_args__ = (
        Index(None, "source_id", "created_at", "execution_id"),
        Index(None, "source_id", "owner", "created_at", "execution_id"),
    )

    execution_id: Mapped[str] = mapped_column(ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True)
    source_id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    created_at: Mapped[datetime]


class AccountRow(Base):
    """A user's login name on a site, and the SSH key of theirs that opens it."""

    __tablename__ = "accounts"

    owner: Mapped[str] = mapped_column(primary_key=True)
    site: Mapped[str] = mapped_column(primary_key=True)
    # `user` is SQL's own word.
    user: Mapped[str] = mapped_column("login")
    ssh_key: Mapped[str | None] = mapped_column(index=True)
    created_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    usable: Mapped[bool | None]


class IntentRow(Base):
    """An SSH key that is about to be written to a vault elsewhere."""

    __tablename__ = "vault_intents"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class SecretRow(Base):
    """What the embedded vault sealed."""

    __tablename__ = "secrets"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    ciphertext: Mapped[bytes]
    created_at: Mapped[datetime]


class UserRow(Base):
    """A user as last seen, or an account with a password that the store keeps. Accounts of the settings stand there."""

    __tablename__ = "users"
    __table_args__ = (Index(None, "issuer", "sub", unique=True),)

    subject: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    groups: Mapped[frozenset[str]] = mapped_column(Stored(Names))
    source: Mapped[str]
    password_hash: Mapped[str | None]
    disabled: Mapped[bool]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime | None]
    signed_out_at: Mapped[datetime | None]
    issuer: Mapped[str | None]
    sub: Mapped[str | None]
    entitled_by: Mapped[str | None]
    leaving_since: Mapped[datetime | None]
    """Since when everything of theirs is being removed."""


class SessionRow(Base):
    """A sign-in that goes on. Of its tokens only digests are stored."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(index=True)
    client: Mapped[str]
    token_digest: Mapped[str] = mapped_column(unique=True)
    refresh_digest: Mapped[str | None] = mapped_column(unique=True)
    replaced_digest: Mapped[str | None] = mapped_column(index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    acr: Mapped[str | None]
    proved_at: Mapped[datetime | None]


class TokenRow(Base):
    """A personal access token, of which only a digest is stored. Names are unique per owner."""

    __tablename__ = "tokens"
    __table_args__ = (UniqueConstraint("owner", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    name: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[frozenset[str]] = mapped_column(Stored(Names))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    last_used_at: Mapped[datetime | None]
    acr: Mapped[str | None]
    proved_at: Mapped[datetime | None]


class AcceptedTermsRow(Base):
    """That a user accepted a version of the terms of use."""

    __tablename__ = "accepted_terms"

    subject: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    accepted_at: Mapped[datetime]


class TicketRow(Base):
    """Something that counts once and for minutes: an attempt to sign in, a device that waits, a code."""

    __tablename__ = "tickets"

    kind: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[Any]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class CounterRow(Base):
    """How often something happened since a moment; failures to sign in, for instance."""

    __tablename__ = "counters"

    key: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class StartRow(Base):
    """A start that was asked of an engine that keeps no id of ours, and what came of it."""

    __tablename__ = "starts"
    __table_args__ = (Index(None, "place", "asked_at"),)

    execution_id: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(index=True)
    reference: Mapped[str | None] = mapped_column(unique=True)


class ListingRow(Base):
    """What an engine last listed, for when it can't be asked."""

    __tablename__ = "listings"

    name: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[Any]
    read_at: Mapped[datetime]


class FactRow(Base):
    """Something that the service has to remember of itself."""

    __tablename__ = "facts"

    name: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[str]


class ShareRow(Base):
    """That a user (`user`) or the members of a group (`group`) may read an execution.

    What lists choose by is a copy of the execution's: they find a page without looking at all that is shared.
    """

    __tablename__ = "shares"
    __table_args__ = (
        Index(None, "kind", "name", "created_at", "execution_id"),
        Index(None, "kind", "name", "status", "created_at", "execution_id"),
        Index(None, "kind", "name", "workflow_id", "created_at", "execution_id"),
    )

    execution_id: Mapped[str] = mapped_column(ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    workflow_id: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[datetime]
