"""Executions that are removed, or of which parts are, and users who leave."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Adds columns and indexes. Keys of idempotency outlive the executions that they stand for."""
    moment = sa.DateTime(timezone=True)
    op.add_column("executions", sa.Column("removed", sa.Integer(), server_default="0", nullable=False))
    op.add_column("executions", sa.Column("removing_since", moment))
    text = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.add_column("executions", sa.Column("removal_problem", text))
    op.create_index("ix_executions_removed_ended_at", "executions", ["removed", "ended_at"])
    op.create_index("ix_executions_workflow_id_removed_ended_at", "executions", ["workflow_id", "removed", "ended_at"])
    with op.batch_alter_table("idempotency_keys") as table:
        table.drop_constraint("fk_idempotency_keys_execution_id_executions", type_="foreignkey")
    op.create_index("ix_uploads_created_at", "uploads", ["created_at"])
    op.add_column("users", sa.Column("leaving_since", moment))
