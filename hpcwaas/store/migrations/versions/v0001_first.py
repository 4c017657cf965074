"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes all tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "executions",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("workflow_id", sa.String, nullable=False),
        sa.Column("workflow_name", sa.String, nullable=False),
        sa.Column("engine", sa.String, nullable=False),
        sa.Column("reference", sa.String),
        sa.Column("inputs", sa.JSON, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("started_at", moment),
        sa.Column("ended_at", moment),
        sa.Column("reason", sa.String),
        sa.Column("steps", sa.JSON, nullable=False),
        sa.Column("outputs", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_executions"),
    )
    op.create_index("ix_executions_owner_created_at_id", "executions", ["owner", "created_at", "id"])
    op.create_index("ix_executions_created_at_id", "executions", ["created_at", "id"])
    op.create_index("ix_executions_status", "executions", ["status"])
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("execution_id", sa.String, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["executions.id"], name="fk_idempotency_keys_execution_id_executions"
        ),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_table(
        "uploads",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("media_type", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
    )
    op.create_index("ix_uploads_owner_created_at_id", "uploads", ["owner", "created_at", "id"])
    op.create_table(
        "ssh_keys",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("name", sa.String),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("bits", sa.Integer),
        sa.Column("public_key", sa.String, nullable=False),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ssh_keys"),
        sa.UniqueConstraint("owner", "name", name="uq_ssh_keys_owner_name"),
    )
    op.create_table(
        "secrets",
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_secrets"),
    )
