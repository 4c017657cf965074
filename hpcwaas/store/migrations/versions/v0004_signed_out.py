"""When users signed out everywhere."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds a column."""
    op.add_column("users", sa.Column("signed_out_at", sa.DateTime(timezone=True)))
