"""The embedded engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from hpcwaas.common.resources import resource
from hpcwaas.common.setting_types import Command, Network, Section, Size
from hpcwaas.engines.container_engines import ContainerEngine
from hpcwaas.engines.settings import EngineSettings

CWLTOOL_ARGUMENTS = (
    "--disable-color",
    "--relax-path-checks",  # names of uploads may have spaces; arguments never pass a shell unless a tool asks for one
    "--tmpdir-prefix={tmpdir}/",
    "--tmp-outdir-prefix={tmpdir}/",
)
"""What cwltool is told unless the settings say something else: it has to stay inside the execution's directory."""

_LIKE_CWLTOOL = ("cwltool", "toil-cwl-runner")


class RunnerSettings(Section):
    """The CWL runner. Nothing is assumed of it beyond the common `cwl-runner` interface:
    `COMMAND [ARGUMENTS] --outdir DIR WORKFLOW INPUTS` prints the output object."""

    command: Command = Field(
        ("cwltool",),
        min_length=1,
        description="Program and first arguments. `cwltool` alone runs without a new start of Python.",
    )
    arguments: tuple[str, ...] | None = Field(
        None,
        description=(
            "Arguments before `--outdir`. `{workdir}`, `{tmpdir}`, `{cores}` and `{memory_mib}` are replaced. "
            f"Default: `{' '.join(CWLTOOL_ARGUMENTS)}` for `cwltool`; for any other command none."
        ),
    )
    extra_arguments: tuple[str, ...] = Field(
        (), description="Further arguments, after those of `arguments` or its default: `[--parallel]`."
    )

    @property
    def takes_cwltool_arguments(self) -> bool:
        """Whether it is cwltool, or Toil, which takes the same arguments for containers."""
        return any(Path(word).name in _LIKE_CWLTOOL for word in self.command)

    def words(self, more: Sequence[str] = ()) -> tuple[str, ...]:
        """All arguments before `--outdir`, with their placeholders.

        Args:
            more: other settings' arguments.
        """
        arguments = self.arguments
        if arguments is None:
            arguments = CWLTOOL_ARGUMENTS if self.command == ("cwltool",) else ()
        return (*arguments, *more, *self.extra_arguments)


class LimitSettings(Section):
    """What one execution may use."""

    cores: int = Field(
        default_factory=lambda: os.cpu_count() or 1, gt=0, description="CPU cores. Default: all of this machine."
    )
    memory: Size = Field(4 * 2**30, description="Memory of all its processes together.")
    log: Size = Field(32 * 2**20, description="Size of its log.")
    disk: Size = Field(
        512 * 2**20,
        description="Outputs and temporary files together; also what an execution takes of outputs that lie elsewhere.",
    )
    time: float | None = Field(
        86400,
        gt=0,
        allow_inf_nan=False,
        description=(
            "Seconds that it may run, not counting the time that it waits; `null` for no limit. The metadata of a "
            "workflow can set another limit (`time_limit`), or a shorter one (`limits`)."
        ),
    )
    processes: int = Field(4096, ge=16, description="Processes and threads at the same time.")


class CWLSettings(EngineSettings):
    """The engine `cwl`, which runs CWL workflows on this machine. It is active when any of these is set, or when no
    engine has a setting."""

    catalogue: Path = Field(
        default_factory=lambda: resource("examples"),
        description="Directory whose CWL documents are published. Default: the included examples.",
    )
    without_metadata: Literal["everybody", "nobody"] = Field(
        "everybody",
        description=(
            "Who may run a workflow that has no metadata, or whose metadata don't say who. With `nobody`, a workflow "
            "for everybody needs `authorized_users: everybody` in its metadata."
        ),
    )
    update_every: float | None = Field(
        None,
        ge=1,
        allow_inf_nan=False,
        description=(
            "Seconds between two looks at the Git repositories that `catalogue.yaml` names. Default: they are fetched "
            "by `hpcwaas-api catalogue update` only."
        ),
    )
    local: bool = Field(
        True, description="Whether executions run on this machine. With `false` they run on the sites of `sites` only."
    )
    max_running: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 1),
        gt=0,
        description="Executions that run at the same time; others wait. Default: one for each CPU core, at least 2.",
    )
    http_inputs: bool = Field(
        False,
        description=(
            "Whether input files may be http(s) URLs. Addresses of this machine and of its local links are always "
            "refused."
        ),
    )
    http_allowed: tuple[Network, ...] = Field(
        (),
        description=(
            "Addresses and networks that input files may come from, including private ones. Default: the public "
            "internet."
        ),
    )
    http_denied: tuple[Network, ...] = Field(
        (), description="Addresses and networks that input files never come from, whatever else is allowed."
    )
    environment: tuple[str, ...] = Field(
        (), description="Names of environment variables that the runner gets besides PATH and the locale."
    )
    confinement: Literal["auto", "namespaces", "landlock", "none"] = Field(
        "auto",
        description=(
            "How executions are kept from the rest of the machine. `landlock`: by the kernel's Landlock. `namespaces`: "
            "by Landlock and namespaces. `auto`: by the best of these that the machine offers; with an `auth` section "
            "the service refuses to start without either. `none`: not at all, so users may be able to act as the "
            "service's account."
        ),
    )
    containers: ContainerEngine = Field(
        "docker",
        description=(
            "What starts the containers of tools (`DockerRequirement`). When it is set, the program has to be there. "
            "`podman`, `singularity` and `apptainer` need `confinement: none`, unless `CONTAINER_HOST` names a service "
            "of Podman's. `none`: tools for which a container is a hint run without one, and those that require one "
            "are refused."
        ),
    )
    readable: tuple[Path, ...] = Field(
        (),
        description=(
            "Files and directories that executions may read and run programs from, besides the system's, those of the "
            "runner and those of PATH: `/opt/software`."
        ),
    )
    writable: tuple[Path, ...] = Field(
        (),
        description=(
            "Directories in which all executions may write, such as a scratch file system. All share their contents."
        ),
    )
    runner: RunnerSettings = Field(default_factory=RunnerSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)

    def writable_places(self) -> Sequence[tuple[str, Path]]:
        """The directories that executions may write in besides their own."""
        return [("cwl.writable", place) for place in self.writable]
