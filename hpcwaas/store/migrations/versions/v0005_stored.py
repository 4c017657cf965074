"""What is kept of executions, and uploads that were deleted while an execution held them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds columns. What ended before counts nothing."""
    for name in ("inputs_size", "kept_size"):
        op.add_column("executions", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    columns = ["owner", "inputs_size", "kept_size"]
    op.create_index(op.f("ix_executions_owner_inputs_size_kept_size"), "executions", columns)
    op.add_column("uploads", sa.Column("deleted", sa.Boolean(), server_default=sa.false(), nullable=False))
