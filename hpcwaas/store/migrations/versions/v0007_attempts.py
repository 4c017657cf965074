"""Attempts at executions, executions that were closed, and lists of workflows that outlive an outage."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Adds columns and a table."""
    op.add_column("executions", sa.Column("attempts", sa.JSON()))
    op.add_column("executions", sa.Column("closed", sa.JSON()))
    op.add_column("executions", sa.Column("watched_until", sa.DateTime(timezone=True)))
    op.create_index("ix_executions_watched_until", "executions", ["watched_until"])
    op.create_table(
        "listings",
        sa.Column("name", sa.String().with_variant(sa.String(collation="C"), "postgresql"), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_listings")),
    )
