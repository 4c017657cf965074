"""${message.strip().capitalize().rstrip(".")}."""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

# Before you commit, read what follows, and delete these lines:
# - It runs on SQLite and PostgreSQL, and on rows that exist: a new column is nullable or has a `server_default`.
# - It was derived from the models. A rename shows as a column that goes and one that comes: write it by hand.
# - SQLite can't alter a column or a constraint: `with op.batch_alter_table(…)` makes the table anew.
# - There is no way back: `hpcwaas-api db upgrade` takes the database forward only.
# - Never change one that was released; add another one.
# - Can services of earlier versions go on with it? So it is if it adds only, and what it adds is nullable or has a
#   `server_default`. Then name the oldest one's schema in `revision`: "0014_0012" lets those with 0012 and 0013 go on.
#   Else all services have to be stopped for it.


def upgrade() -> None:
    """Say what changes."""
    ${upgrades if upgrades else "pass"}
