"""Accounts of users on sites, and where executions run."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Adds columns and a table. Executions of the embedded engine so far ran on the service's own machine."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "accounts",
        sa.Column("owner", _text(), nullable=False),
        sa.Column("site", _text(), nullable=False),
        sa.Column("login", _text(), nullable=False),
        sa.Column("ssh_key", _text()),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("checked_at", moment),
        sa.Column("usable", sa.Boolean()),
        sa.PrimaryKeyConstraint("owner", "site", name="pk_accounts"),
    )
    op.create_index("ix_accounts_ssh_key", "accounts", ["ssh_key"])
    for column in ("site", "account_user", "account_key", "directory"):
        op.add_column("executions", sa.Column(column, _text()))
    op.execute("UPDATE executions SET site = 'local' WHERE engine = 'cwl'")


def _text() -> sa.String:
    """Text that is compared byte by byte."""
    return sa.String(collation="C") if op.get_bind().dialect.name == "postgresql" else sa.String()
