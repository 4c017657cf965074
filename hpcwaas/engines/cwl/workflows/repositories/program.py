"""Runs the program `git` so that nothing of a repository is run, nobody is asked, and nothing lasts for ever."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

QUESTION_TIMEOUT = 60.0
"""Seconds that a question to a repository may take."""

FETCH_TIMEOUT = 1800.0
"""Seconds that fetching one may take."""

SIZE_LIMIT = 2 * 2**30
"""Bytes of the largest file that Git may write: a repository of that size is no collection of workflows."""

_INHERITED = re.compile(
    r"PATH|HOME|SSH_AUTH_SOCK|SSL_CERT_(FILE|DIR)|GIT_SSL_CAINFO|XDG_CONFIG_HOME|(https?|all|no)_proxy", re.IGNORECASE
)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_SETTINGS = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "advice.detachedHead=false", "gc.auto=0")
_SSH_OPTIONS = "-oBatchMode=yes -oStrictHostKeyChecking=yes -oConnectTimeout=20"


class GitFailed(Exception):
    """What Git says, as the end of a sentence."""


def git(
    *arguments: str, directory: Path | None = None, protocols: Sequence[str] = (), timeout: float = QUESTION_TIMEOUT
) -> str:
    """Runs one command.

    Args:
        directory: to run it in.
        protocols: by which it may connect.
        timeout: seconds.

    Returns:
        what it prints.

    Raises:
        GitFailed: it can't, or takes too long.
    """
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    # `ulimit` counts in blocks of 512 bytes.
    bounded = f'ulimit -f {SIZE_LIMIT // 512}; exec git "$@"'
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", bounded, "git", *settings, *arguments],
                cwd=directory,
                env=_environment(protocols),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            raise GitFailed(f"Git can't be started: {error.strerror}") from error
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise GitFailed(f"no end after {timeout:g} seconds") from None
        finally:
            _end(process)
        if status == 127:
            raise GitFailed("the program git isn't installed, or not on the service's PATH")
        if status:
            raise GitFailed(_reason(_read(errors)) or f"git ended with the status {status}")
        return _read(output)


def _environment(protocols: Sequence[str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}
    return {
        **inherited,
        "LC_ALL": "C.UTF-8",
        "GIT_ALLOW_PROTOCOL": ":".join(protocols),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        # What the operator says comes first, and so counts.
        "GIT_SSH_COMMAND": f"{os.environ.get('GIT_SSH_COMMAND', 'ssh')} {_SSH_OPTIONS}",
        "GIT_LFS_SKIP_SMUDGE": "1",
        # Slower than this for so many seconds is as good as nothing.
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
        "GIT_HTTP_LOW_SPEED_TIME": "60",
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a command and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read(1 << 20).decode(errors="replace")


def _reason(errors: str) -> str:
    """What matters of what Git prints, without names and passwords in addresses."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
    # The first of them says what was wrong; what `ssh` says of it stands above.
    before = [line for line in lines[: lines.index(telling[0])] if not line.startswith(("hint:", "warning:"))]
    said = " ".join([*before[-2:], *telling[:1]]) if telling else ""
    return _USER_INFO.sub("", "".join(each if each.isprintable() else " " for each in said))[:500]
