"""Users, sessions, tokens, what counts for minutes, shares, and what several processes and replicas agree by."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds a column and tables."""
    moment = sa.DateTime(timezone=True)
    op.add_column("executions", sa.Column("claimed_until", moment))
    _part_namesakes()
    op.create_index("ix_executions_engine_reference", "executions", ["engine", "reference"], unique=True)
    op.create_index("ix_executions_owner_status", "executions", ["owner", "status"])
    op.create_table(
        "users",
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("password_hash", sa.String),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("seen_at", moment),
        sa.PrimaryKeyConstraint("subject", name="pk_users"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("client", sa.String, nullable=False),
        sa.Column("token_digest", sa.String, nullable=False),
        sa.Column("refresh_digest", sa.String),
        sa.Column("replaced_digest", sa.String),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("ends_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("token_digest", name="uq_sessions_token_digest"),
        sa.UniqueConstraint("refresh_digest", name="uq_sessions_refresh_digest"),
    )
    for column in ("subject", "replaced_digest", "ends_at"):
        op.create_index(f"ix_sessions_{column}", "sessions", [column])
    op.create_table(
        "tokens",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("last_used_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("owner", "name", name="uq_tokens_owner_name"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
    )
    op.create_index("ix_tokens_expires_at", "tokens", ["expires_at"])
    op.create_table(
        "tickets",
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_tickets"),
    )
    op.create_index("ix_tickets_expires_at", "tickets", ["expires_at"])
    op.create_table(
        "counters",
        sa.Column("key", sa.String, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_counters"),
    )
    op.create_index("ix_counters_expires_at", "counters", ["expires_at"])
    op.create_table(
        "shares",
        sa.Column("execution_id", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "kind", "name", name="pk_shares"),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["executions.id"], name="fk_shares_execution_id_executions", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_shares_kind_name", "shares", ["kind", "name"])
    op.create_table(
        "starts",
        sa.Column("execution_id", sa.String, nullable=False),
        sa.Column("place", sa.String, nullable=False),
        sa.Column("asked_at", moment, nullable=False),
        sa.Column("reference", sa.String),
        sa.PrimaryKeyConstraint("execution_id", name="pk_starts"),
        sa.UniqueConstraint("reference", name="uq_starts_reference"),
    )
    op.create_index("ix_starts_place_asked_at", "starts", ["place", "asked_at"])
    op.create_index("ix_starts_asked_at", "starts", ["asked_at"])
    if op.get_bind().dialect.name == "postgresql":
        _compare_byte_by_byte()


def _part_namesakes() -> None:
    """Takes the reference from all but the first of those that have the same one: whose it is nobody can tell."""
    executions = sa.table(
        "executions",
        *(sa.column(name) for name in ("id", "engine", "reference", "status", "reason")),
        sa.column("created_at", sa.DateTime(timezone=True)),
    )
    first = executions.alias()
    later = sa.exists().where(
        first.c.engine == executions.c.engine,
        first.c.reference == executions.c.reference,
        sa.tuple_(first.c.created_at, first.c.id) < sa.tuple_(executions.c.created_at, executions.c.id),
    )
    unfinished = executions.c.status.not_in(("SUCCEEDED", "FAILED", "CANCELLED"))
    reason = "Nobody can tell which of the engine's executions is this one."
    op.execute(executions.update().where(later, unfinished).values(status="FAILED", reason=reason))
    op.execute(executions.update().where(later).values(reference=None))


def _compare_byte_by_byte() -> None:
    """Gives all texts the collation that is the same on every machine."""
    inspector = sa.inspect(op.get_bind())
    for table in inspector.get_table_names():
        for column in inspector.get_columns(table):
            if isinstance(column["type"], sa.String):
                op.alter_column(table, column["name"], type_=sa.String(collation="C"))
