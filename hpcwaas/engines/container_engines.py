"""Container engines as settings name them, and how cwltool and Toil are told of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

ContainerEngine = Literal["docker", "podman", "singularity", "apptainer", "udocker", "none"]

ARGUMENTS: dict[ContainerEngine, tuple[str, ...]] = {
    "docker": (),
    "podman": ("--podman",),
    "singularity": ("--singularity",),
    "apptainer": ("--singularity",),
    "udocker": ("--user-space-docker-cmd=udocker",),
    "none": ("--no-container",),
}

_NAMES: dict[str, ContainerEngine] = {
    "--podman": "podman",
    "--singularity": "singularity",
    "--udocker": "udocker",
    "--no-container": "none",
    "--user-space-docker-cmd=udocker": "udocker",
}
_OTHER = "--user-space-docker-cmd"


def named_in(arguments: Iterable[str]) -> tuple[str, ContainerEngine | None] | None:
    """The argument that says what starts containers, and what that is; None for any other command. None when
    no argument says it."""
    return next(((word, _NAMES.get(word)) for word in arguments if word in _NAMES or word.startswith(_OTHER)), None)


def conflict(arguments: Iterable[str]) -> str | None:
    """What is wrong with a setting of a container engine beside a runner's arguments; None when nothing is."""
    said = named_in(arguments)
    return said and f"{said[0]} in the runner's arguments says the same or something else; keep one of both"
