"""Runs programs of tests as an ordinary account: the kernel asks root for hardly anything, so that what root finds says
little of what an attacker does."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ACCOUNT = 64123 if os.geteuid() == 0 else os.geteuid()
"""An account that has nothing else on this machine."""


def ordinary(command: list[str]) -> list[str]:
    """A command that runs another one as an ordinary account; the same one where the tests run as such."""
    if os.geteuid() != 0:
        return command
    parts = [_open_ways(), f"exec setpriv --reuid={ACCOUNT} --regid={ACCOUNT} --clear-groups {shlex.join(command)}"]
    return ["unshare", "--mount", "sh", "-ec", "\n".join(parts)]


def give(path: Path) -> None:
    """Gives a directory with all that is in it to that account."""
    if os.geteuid() == 0:
        for each in (path, *path.rglob("*")):
            os.chown(each, ACCOUNT, ACCOUNT, follow_symlinks=False)


def _open_ways() -> str:
    """Shell commands that open the way to Python where it lies in a directory of root's own, as /root is. Nobody else
    sees that: the commands run in a mount namespace."""
    closed: dict[Path, list[Path]] = {}
    for needed in {Path(sys.base_prefix), Path(sys.prefix), ROOT}:
        if way := next((each for each in reversed(needed.parents) if not each.stat().st_mode & 0o001), None):
            closed.setdefault(way, []).append(needed)
    lines = []
    for way, places in closed.items():
        lines += ["kept=$(mktemp -d)", 'mount -t tmpfs tmpfs "$kept"']
        for number, place in enumerate(places):
            lines += [f'mkdir "$kept/{number}"', f'mount --bind {shlex.quote(str(place))} "$kept/{number}"']
        lines.append(f"mount -t tmpfs -o mode=0755 tmpfs {shlex.quote(str(way))}")
        for number, place in enumerate(places):
            target = shlex.quote(str(place))
            lines += [f"mkdir -p {target}", f'mount --bind "$kept/{number}" {target}']
        lines += ['umount -R "$kept"', 'rmdir "$kept"']
    return "\n".join(lines)
