"""Rotation and use of SSH keys, and what is being written to a vault elsewhere."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds columns and tables."""
    moment = sa.DateTime(timezone=True)
    for column in (
        sa.Column("rotated_at", moment),
        sa.Column("last_used_at", moment),
        sa.Column("replaced", sa.JSON),
        sa.Column("change", sa.String),
        sa.Column("changing_since", moment),
    ):
        op.add_column("ssh_keys", column)
    op.create_table(
        "execution_keys",
        sa.Column("execution_id", sa.String, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "key_id", name="pk_execution_keys"),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["executions.id"], name="fk_execution_keys_execution_id_executions", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_execution_keys_key_id", "execution_keys", ["key_id"])
    op.create_table(
        "vault_intents",
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_vault_intents"),
    )
