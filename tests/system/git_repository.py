"""A Git repository for tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class Repository:
    """A repository in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        """Runs Git, without anything of this machine's settings."""
        who = {
            f"GIT_{role}_{what}": "alice@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_ALLOW_PROTOCOL": "file"}
        command = ["git", "-C", str(self.directory), *arguments]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, tag: str | None = None, **files: str | None) -> str:
        """Writes files, commits them, and returns the commit. In names, `__` is `/`, and `_dot_` is a dot."""
        for name, content in files.items():
            path = self.directory / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "Change", "--allow-empty")
        if tag:
            self.git("tag", "-f", "-a", "-m", tag, tag)
        return self.git("rev-parse", "HEAD")
