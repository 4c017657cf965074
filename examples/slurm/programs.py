"""Programs at a place that every account reaches: a copy of the repository may lie in somebody's closed home."""

from __future__ import annotations

import shutil
from pathlib import Path


def for_everybody(environment: Path, copy: Path) -> Path:
    """The directory of a virtual environment's programs, or of a copy's if other accounts can't reach it.

    Args:
        copy: made if need be; what is above it lets everybody through.
    """
    if all(place.stat().st_mode & 0o001 for place in environment.parents):
        return environment / "bin"
    shutil.copytree(environment, copy, symlinks=True, dirs_exist_ok=True)
    copy.chmod(0o755)
    # Scripts begin with the path of their Python.
    for script in copy.joinpath("bin").iterdir():
        if script.is_file() and not script.is_symlink() and script.read_bytes()[:2] == b"#!":
            script.write_bytes(script.read_bytes().replace(bytes(environment), bytes(copy), 1))
    return copy / "bin"
