"""Indices that find a page of any list of executions in the same time, however many there are."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_COPIES = {"shares": ("owner", "workflow_id", "status", "created_at"), "execution_sources": ("owner", "created_at")}
_REPLACED = (
    "executions_status", "executions_owner_status", "shares_kind_name", "execution_sources_source_id",
    "uploads_created_at",
)  # fmt: skip
_INDICES = (
    ("executions", "status", "created_at", "id"),
    ("executions", "workflow_id", "status", "created_at", "id"),
    ("executions", "owner", "status", "created_at", "id"),
    ("executions", "owner", "workflow_id", "status", "created_at", "id"),
    ("shares", "kind", "name", "created_at", "execution_id"),
    ("shares", "kind", "name", "status", "created_at", "execution_id"),
    ("shares", "kind", "name", "workflow_id", "created_at", "execution_id"),
    ("execution_sources", "source_id", "created_at", "execution_id"),
    ("execution_sources", "source_id", "owner", "created_at", "execution_id"),
    ("uploads", "created_at", "id"),
)


def upgrade() -> None:
    """Adds columns with what is known of their executions, and replaces indices."""
    text = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    for table, names in _COPIES.items():
        types = {name: sa.DateTime(timezone=True) if name == "created_at" else text for name in names}
        for name, kind in types.items():
            op.add_column(table, sa.Column(name, kind))
        executions = sa.table("executions", sa.column("id"), *map(sa.column, names))
        copies = sa.table(table, sa.column("execution_id"), *map(sa.column, names))
        known = {
            name: sa.select(executions.c[name]).where(executions.c.id == copies.c.execution_id).scalar_subquery()
            for name in names
        }
        op.execute(copies.update().values(known))
        with op.batch_alter_table(table) as batch:
            for name, kind in types.items():
                batch.alter_column(name, existing_type=kind, nullable=False)
    for name in (
        "executions_status",
        "executions_owner_status",
        "shares_kind_name",
        "execution_sources_source_id",
        "uploads_created_at",
    ):
        op.drop_index(f"ix_{name}")
    for table, *columns in _INDICES:
        op.create_index("_".join(("ix", table, *columns)), table, columns)
    sqlite_where, postgresql_where = sa.text("deleted IS 1"), sa.text("deleted IS true")
    op.create_index("ix_uploads_held", "uploads", ["id"], sqlite_where=sqlite_where, postgresql_where=postgresql_where)
