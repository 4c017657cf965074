"""Local files as users name them."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import UsageError


def typed(text: str) -> Path:
    """The path that a text names. As in a shell, `~` and `~NAME` are homes where the text begins with them, and nowhere
    else: `./~data` is a file here, and so is `~nobody` when there is no such user."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path drops the `./` first


def is_there(path: Path) -> bool:
    """Whether there is such a file, whatever its name looks like.

    Raises:
        UsageError: nobody can tell.
    """
    try:
        return path.exists()
    except ValueError:  # no name that a file could have
        return False
    except OSError as error:
        raise UsageError(f"Can't tell whether {path} exists: {error.strerror}.") from None
