"""Whom accounts belong to, how users proved who they are, and what terms of use they accepted."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds columns and a table."""
    moment = sa.DateTime(timezone=True)
    for column in ("issuer", "sub", "entitled_by"):
        op.add_column("users", sa.Column(column, _text()))
    op.create_index("ix_users_issuer_sub", "users", ["issuer", "sub"], unique=True)
    for table in ("sessions", "tokens"):
        op.add_column(table, sa.Column("acr", _text()))
        op.add_column(table, sa.Column("proved_at", moment))
    op.create_table(
        "accepted_terms",
        sa.Column("subject", _text(), nullable=False),
        sa.Column("version", _text(), nullable=False),
        sa.Column("accepted_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("subject", "version", name="pk_accepted_terms"),
    )


def _text() -> sa.String:
    """Text that is compared byte by byte."""
    return sa.String(collation="C") if op.get_bind().dialect.name == "postgresql" else sa.String()
