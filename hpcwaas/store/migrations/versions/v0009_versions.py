"""Which version of its workflow an execution runs."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds a column."""
    text = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.add_column("executions", sa.Column("workflow_version", text))
