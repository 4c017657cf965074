"""Executions whose outputs others took as inputs, and uploads that belong beside others."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Adds a table and columns."""
    op.create_table(
        "execution_sources",
        sa.Column("execution_id", _text(), nullable=False),
        sa.Column("source_id", _text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["executions.id"], name="fk_execution_sources_execution_id_executions", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("execution_id", "source_id", name="pk_execution_sources"),
    )
    op.create_index("ix_execution_sources_source_id", "execution_sources", ["source_id"])
    op.add_column("executions", sa.Column("inputs_from", sa.JSON()))
    op.add_column("uploads", sa.Column("companion_of", _text()))
    op.create_index("ix_uploads_companion_of", "uploads", ["companion_of"])


def _text() -> sa.String:
    """Text that is compared byte by byte."""
    return sa.String(collation="C") if op.get_bind().dialect.name == "postgresql" else sa.String()
