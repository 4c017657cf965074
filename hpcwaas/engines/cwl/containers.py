"""What starts the containers that tools ask for (`DockerRequirement`) on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpcwaas.engines.container_engines import ARGUMENTS, conflict, named_in
from hpcwaas.engines.cwl.settings import CWLSettings
from hpcwaas.engines.cwl.workflows.slurm import StepNeeds

KEY = "containers"
NONE = "none"
UDOCKER = "udocker"
UDOCKER_DIR = "UDOCKER_DIR"
"""Variable: where udocker has its images and tools."""
UDOCKER_PLACES = (("UDOCKER_CONTAINERS", "udocker"), ("UDOCKER_TMP", ""), ("PROOT_TMP_DIR", ""))
"""Variables: where it writes, in the directory of temporary files."""
_PATIENCE = 5
_UNIX = "unix://"
_PODMAN_SETTINGS = Path("/etc/containers")


@dataclass(frozen=True, slots=True)
class _Engine:
    """A container engine.

    Attributes:
        program: its command.
        trial: arguments with which the program fails when no container can be started.
        host: variable that says where its daemon listens; `socket` is where it does when nobody says.
        mounts: without a daemon it mounts file systems itself, which no confined process can.
        passes: beginnings of the names of variables that reach the runner.
        homes: variables that say where the account has its images and settings, unless they are set otherwise.
    """

    program: str
    trial: tuple[str, ...] = ("--version",)
    host: str | None = None
    socket: str | None = None
    mounts: bool = True
    passes: tuple[str, ...] = ()
    homes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_SINGULARITY = _Engine("singularity", passes=("CWL_SINGULARITY_CACHE", "SINGULARITY_", "APPTAINER_"))
_ENGINES = {
    "docker": _Engine(
        "docker", ("version", "--format", "{{.Server.Version}}"), "DOCKER_HOST", "/var/run/docker.sock", mounts=False
    ),
    "podman": _Engine(
        "podman",
        ("info", "--format", "{{.Host.Arch}}"),
        "CONTAINER_HOST",
        passes=("CONTAINER", "REGISTRY_AUTH_FILE", "XDG_"),
        homes={"XDG_DATA_HOME": (".local", "share"), "XDG_CONFIG_HOME": (".config",)},
    ),
    "singularity": _SINGULARITY,
    "apptainer": _SINGULARITY,
    UDOCKER: _Engine(UDOCKER, mounts=False, passes=("UDOCKER_", "PROOT_"), homes={UDOCKER_DIR: (".udocker",)}),
}


def trial(name: str) -> Sequence[str]:
    """The command that fails where an engine starts no container; empty for `none`, and for what isn't known."""
    engine = _ENGINES.get(name)
    return [engine.program, *engine.trial] if engine else []


class Containers:
    """The container engine of this machine, as the settings have it.

    Args:
        environment: of the service.

    Attributes:
        name: `none` when tools get no container; empty when the runner alone knows, because its arguments say it.
    """

    def __init__(self, settings: CWLSettings, environment: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._environment = environment
        self._said = named_in(settings.runner.words())
        self._chosen = KEY in settings.model_fields_set
        self.name: str = settings.containers
        if self._said and not self._chosen:
            self.name = self._said[1] or ""
        if not settings.runner.takes_cwltool_arguments and not self._chosen:
            self.name = ""
        self._engine = _ENGINES.get(self.name)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the runner is told."""
        return ARGUMENTS[self._settings.containers] if self._chosen else ()

    @property
    def socket(self) -> Path | None:
        """Where the engine's daemon listens, if the settings name the engine."""
        if not self._chosen or not self._engine or not self._engine.host:
            return None
        place = self._environment.get(self._engine.host) or self._engine.socket or ""
        return Path(place.removeprefix(_UNIX)) if place.removeprefix(_UNIX).startswith("/") else None

    @property
    def daemon(self) -> str:
        """The program that asks a daemon for containers; empty where they come from the runner's own processes."""
        asked = self._engine and (self._engine.socket or self.socket)
        return self._engine.program if self._engine and asked else ""

    def environment(self) -> dict[str, str]:
        """The variables that the engine needs."""
        if not self._chosen or not self._engine:
            return {}
        host = self._environment.get(self._engine.host or "")
        if self._engine.host and host:  # everything else is its daemon's
            return {self._engine.host: host}
        passes = self._engine.passes
        found = {name: value for name, value in self._environment.items() if passes and name.startswith(passes)}
        return {name: str(self._home(*place)) for name, place in self._engine.homes.items()} | found

    @property
    def setuid(self) -> bool:
        """Whether the engine has setuid programs of its own, as for subordinate ids: `newuidmap`."""
        return self._chosen and self._engine is not None and self._engine.mounts

    def readable(self) -> list[Path]:
        """Where the engine has what it needs, besides its program."""
        if self.name == UDOCKER and self._chosen:
            return [Path(self.environment()[UDOCKER_DIR])]
        return [self.socket, _PODMAN_SETTINGS] if self.socket else []

    def problems(self, confined: bool) -> Iterator[str]:
        """What is wrong with the setting on this machine.

        Args:
            confined: whether executions are.
        """
        if not self._chosen:
            return
        if not self._settings.runner.takes_cwltool_arguments:
            yield (
                "is for cwltool and Toil; another runner is told by its own arguments (`runner.arguments`) how it "
                "starts containers"
            )
            return
        if wrong := conflict(self._settings.runner.words()):
            yield wrong
            return
        if not self._engine:
            return
        if self._found() is None:
            yield f"there is no program {self._engine.program} on PATH"
        elif confined and self._engine.mounts and not self.socket:
            instead = f", or let it ask its service for them ({self._engine.host})" if self._engine.host else ""
            yield (
                f"{self._engine.program} mounts file systems, which a confined execution can't. Take `udocker` or "
                f"`docker`, turn `confinement` off (`none`){instead}, or run such workflows on a site"
            )
        elif self.daemon:
            return  # it may come later: `silent` tells while the service runs
        elif self.name == "podman" and os.geteuid() == 0:
            yield (
                "Podman starts no container for root as runners ask for it (`--userns=keep-id`). Run the service by an "
                "account of its own, or take `docker` or `udocker`"
            )
        elif wrong := self._failure(patient=True):
            yield f"{wrong.rstrip('.')}. Make that command succeed for the service's account, or take another engine"

    def silent(self) -> str | None:
        """Why the engine that the settings name starts no container at present; None when nothing is known to stand
        against it."""
        if not self._chosen or not self._engine or self._found() is None:
            return None
        failure = self._failure()
        return failure and f"No container can be started: {failure}"

    def _failure(self, *, patient: bool = False) -> str | None:
        """What stands against containers, as its own command tells.

        Args:
            patient: whether a command that takes long is believed to succeed: the machine may be busy.
        """
        command = trial(self.name)
        try:
            answer = subprocess.run(
                command, capture_output=True, text=True, timeout=_PATIENCE, check=False, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            late = patient and isinstance(error, subprocess.TimeoutExpired)
            return None if late else f"{error} (setting cwl.{KEY})."
        if answer.returncode == 0:
            return None
        said = (answer.stderr.strip() or answer.stdout.strip() or f"status {answer.returncode}").splitlines()[-1]
        return f"`{' '.join(command)}` failed: {said}"

    def refusal(self, needs: Sequence[StepNeeds]) -> str | None:
        """Why a workflow can't run here for want of a container, if that is known; for the user.

        Args:
            needs: of its steps.
        """
        if self.name == NONE:
            why = f"containers are turned off on this machine (setting cwl.{KEY})"
        elif self._engine and self._found() is None:
            why = f"this machine has no {self._engine.program} to start one (setting cwl.{KEY})"
        else:
            return None
        return want(needs, why, hints=self.name != NONE)

    def _home(self, *place: str) -> Path:
        """In the home of the service's account; that of executions is empty."""
        return Path(self._environment.get("HOME") or Path.home(), *place)

    def _found(self) -> str | None:
        path = self._environment.get("PATH", os.defpath)
        return shutil.which(self._engine.program, path=path) if self._engine else None


def want(needs: Sequence[StepNeeds], why: str, *, hints: bool = False) -> str | None:
    """The sentence that refuses a workflow for want of a container; None when it needs none.

    Args:
        needs: of its steps.
        why: there is no container, a part of a sentence.
        hints: whether those count that are hints. They do for a runner that has an engine.
    """
    images = ((each.name, each.images + each.hinted if hints else each.images) for each in needs)
    wanted = next(((name, found[0]) for name, found in images if found), None)
    return wanted and (
        f"Step {wanted[0]} runs in a container, {wanted[1]}, and {why}. Run the workflow on a site that has "
        "containers, or ask an operator of the service."
    )
