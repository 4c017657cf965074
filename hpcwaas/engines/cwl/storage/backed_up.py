"""What of the engine's directory belongs in a backup."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import PurePosixPath

from hpcwaas.engines.cwl.storage import spool

_NEVER_BEGUN_AGAIN = frozenset((spool.WORK, spool.INPUTS, spool.UPLOADS, spool.ARCHIVES, "downloads"))
"""What only an execution needs that is still to run: a restore starts none."""

_LOCKS = frozenset((spool.LOCK, "lock", "poke"))


def backed_up(folder: PurePosixPath, names: Sequence[str], ids: Container[str]) -> Sequence[str]:
    """Executions with what they were asked for, their states, logs and outputs, here and of sites, and the markers of
    accounts. Not the catalogue, which is made again from what is published, nor what the launcher works by: see
    `restored`.

    Returns:
        names of what is in a folder; the state of an execution before all else of it, so that nothing of one that has
        ended by then is missing.
    """
    inner = folder.parts
    if not inner:
        return [name for name in sorted(names) if name in ("executions", "sites") or name.startswith(spool.PROCESSES)]
    if inner[0] == "sites":
        inner = inner[2:]
        if not inner:  # the sites, or one of them
            wanted = ("accounts", "executions")
            return [
                name
                for name in sorted(names)
                if not name.startswith(".") and (folder.parts[1:] == () or name in wanted)
            ]
    if inner[0] == "executions":
        if len(inner) == 1:
            return [name for name in sorted(names) if name in ids]
        if len(inner) == 2:
            left = [name for name in names if name not in _NEVER_BEGUN_AGAIN | _LOCKS]
            return sorted(left, key=lambda name: (name != spool.STATE, name))
        return sorted(names)
    return [name for name in sorted(names) if name not in _LOCKS and not name.endswith(".lock")]
