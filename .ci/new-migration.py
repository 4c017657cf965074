"""Writes the next migration of the store, with the difference between the migrations so far and the models in it.

Run it as `make migration NAME="pinned issuers"` after a change of hpcwaas/store/models.py.
"""

from __future__ import annotations

import sys

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine


def main(name: str) -> None:
    """Writes it.

    Args:
        name: what changes, in two or three words.
    """
    config = Config()
    config.set_main_option("script_location", "hpcwaas.store:migrations")
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    head = ScriptDirectory.from_config(config).get_current_head() or "0"
    with create_engine("sqlite://").connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        command.revision(config, message=name, autogenerate=True, rev_id=f"{int(head) + 1:04}")


if __name__ == "__main__":
    main(sys.argv[1])
