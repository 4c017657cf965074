"""Sites: the machines that execute for users by accounts of their own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from hpcwaas.common.setting_types import Section
from hpcwaas.core.site_models import LOCAL, LOGIN
from hpcwaas.engines.container_engines import ContainerEngine, conflict, named_in

_HOST_KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


def _site_id(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", value):
        raise ValueError("expected at most 32 lower-case letters, digits and hyphens, for instance mare")
    if value == LOCAL:
        raise ValueError(f"`{LOCAL}` is the service's own machine (setting cwl.local)")
    return value


def _host(value: str) -> str:
    host, _colon, port = value.rpartition(":") if re.search(r":\d+$", value) else (value, "", "22")
    if not re.fullmatch(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]", host) or not 0 < int(port) < 65536:
        raise ValueError("expected HOST or HOST:PORT, for instance login.example.org:22")
    return f"{host}:{port}"


def _host_key(value: str) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm  # takes long, and few settings have sites
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    kind, _, rest = value.strip().partition(" ")
    line = f"{kind} {rest.partition(' ')[0]}"
    try:
        load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm):
        kind = ""
    if kind not in _HOST_KEY_TYPES:
        raise ValueError(
            "expected a public host key as `ssh-keyscan` prints it without the name: ssh-ed25519 AAAA…; of the types "
            + ", ".join(_HOST_KEY_TYPES)
        )
    return line


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("can't be empty")
    return value


def slurm_seconds(value: str) -> int | None:
    """Seconds of a time that is written as Slurm writes it; None when it isn't."""
    found = re.fullmatch(
        r"(?:(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)|(?P<only>\d+))", value
    )
    if found is None:
        return None
    days, hours, minutes, seconds, only = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes + only) * 60 + seconds


def _time(value: object) -> object:
    # YAML makes a number of what isn't in quotes: 36000 of 10:00:00.
    if not isinstance(value, str) or not slurm_seconds(value):
        raise ValueError("expected a time as Slurm writes it: `HH:MM:SS`, `D-HH:MM:SS` or minutes, in quotes")
    return value


def _word(value: str) -> str:
    if not re.fullmatch(r"[\w.@+-]+", value, re.ASCII):
        raise ValueError("expected one name, as Slurm shows it")
    return value


def _program(value: str) -> str:
    if not value.isprintable() or not value or set(value) & set("'\\!"):
        raise ValueError("expected a program's name or path, without quotes, backslashes and `!`")
    return value


def _directory(value: str) -> str:
    plain = re.sub(r"\{[A-Za-z_]\w*\}", "x", value, flags=re.ASCII)
    certain = plain.isprintable() and not set(plain) & set("{}'\\!") and ".." not in value.split("/")
    if not certain or not value.startswith(("/", "{")):
        raise ValueError(
            "expected a path that begins with `/` or a variable, for instance {home}/.hpcwaas, and has no quotes, "
            "backslashes and `!`"
        )
    return value


def _logins(value: object) -> object:
    if value != "subject" and not isinstance(value, dict):
        raise ValueError("expected `subject`, or login names by subjects: `{alice: u1234}`")
    for subject, login in value.items() if isinstance(value, dict) else ():
        if not isinstance(subject, str) or not isinstance(login, str) or not LOGIN.fullmatch(login) or login == "root":
            raise ValueError(f"has no login name for {subject!r}; expected text of letters and digits, and not `root`")
    return value


Logins = Annotated[dict[str, str] | str, BeforeValidator(_logins)]
SiteId = Annotated[str, AfterValidator(_site_id)]
SlurmTime = Annotated[str, BeforeValidator(_time)]
SlurmName = Annotated[str, AfterValidator(_word)]


class SiteRunnerSettings(Section):
    """The CWL runner of a site, found there after the prologue."""

    command: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("toil-cwl-runner",), min_length=1, description="Program and first arguments: `toil-cwl-runner` or `cwltool`."
    )
    arguments: tuple[str, ...] = Field((), description="Further arguments, before those of the service.")

    @property
    def kind(self) -> Literal["toil", "cwltool", "other"]:
        """Which runner it is."""
        names = [Path(word).name for word in self.command]
        if "toil-cwl-runner" in names:
            return "toil"
        return "cwltool" if "cwltool" in names else "other"


class SiteSlurmSettings(Section):
    """What jobs get when their workflow doesn't say otherwise, and what they may get at most."""

    partition: SlurmName | None = Field(None, description="Partition. Default: that of Slurm.")
    account: SlurmName | None = Field(None, description="Project that is charged. Default: the user's own.")
    time: SlurmTime | None = Field(None, description="Time limit of a job: `'01:00:00'`.")
    max_time: SlurmTime | None = Field(
        None, description="Longest time limit of a job. Also that of jobs for which nobody says another."
    )
    leader_time: SlurmTime | None = Field(
        None,
        description="With Toil and `leader: job`: time limit of the runner's own job, which lasts as long as the whole "
        "execution, the waiting of its steps included. Default: `max_time`, else that of the partition.",
    )
    max_cores: int | None = Field(None, gt=0, description="Most cores that a job may ask for.")
    max_memory: int | None = Field(None, gt=0, description="Most MiB of memory that a job may ask for.")
    partitions: tuple[SlurmName, ...] = Field((), description="Further partitions that workflows may ask for.")

    @model_validator(mode="after")
    def _fits(self) -> SiteSlurmSettings:
        if self.time and self.max_time and (slurm_seconds(self.time) or 0) > (slurm_seconds(self.max_time) or 0):
            raise ValueError("`time` is more than `max_time`")
        return self


class SiteLimitSettings(Section):
    """What the service puts on a site."""

    executions: int = Field(20, gt=0, description="Executions of one account that run there at the same time.")
    keep_days: int | None = Field(
        30, gt=0, description="Days after its end for which an execution's files stay there; `null` for ever."
    )
    sessions: int = Field(4, gt=0, description="Sessions at the same time in the one connection of an account.")


class SiteSettings(Section):
    """A login node that is reached by SSH."""

    title: str | None = Field(None, min_length=1, description="Name for people. Default: the site's id.")
    description: str | None = Field(None, min_length=1, description="A sentence or two for people.")
    host: Annotated[str, AfterValidator(_host)] = Field(description="HOST or HOST:PORT of its SSH server.")
    host_keys: Annotated[tuple[Annotated[str, AfterValidator(_host_key)], ...], AfterValidator(_some)] = Field(
        description="Its public host keys, as `ssh-keyscan HOST` prints them without the name. No other is accepted."
    )
    scheduler: Literal["slurm", "none"] = Field("slurm", description="What gives out its nodes.")
    runner: SiteRunnerSettings = Field(default_factory=SiteRunnerSettings)
    containers: ContainerEngine | None = Field(
        None,
        description="What starts the containers of tools (`DockerRequirement`) there; with `none`, tools for which a "
        "container is a hint run without one. Default: what the runner's arguments say, else Docker.",
    )
    leader: Literal["login", "job"] = Field(
        "login",
        description="Where the runner itself runs: on the login node, or in a job of its own. With `cwltool` and "
        "`job` the whole execution is one job.",
    )
    prologue: Path | None = Field(
        None,
        description="Shell script (bash) of this machine that is sourced there before the runner: `module load …`. "
        "When its last command fails, executions do.",
    )
    python: Annotated[str, AfterValidator(_program)] = Field(
        "python3", description="Python of the login node, 3.6 or later."
    )
    work_dir: Annotated[str, AfterValidator(_directory)] = Field(
        "{home}/.hpcwaas",
        description="Directory of the account for executions, on a file system that its nodes share. `{home}`, "
        "`{user}` and `{scratch}` stand for the account's HOME, login name and variable SCRATCH; any other variable "
        "in the same way.",
    )
    slurm: SiteSlurmSettings = Field(default_factory=SiteSlurmSettings)
    limits: SiteLimitSettings = Field(default_factory=SiteLimitSettings)
    maintenance: str | None = Field(
        None, min_length=1, description="Why nothing new may start there, and until when. What runs goes on."
    )
    users: tuple[str, ...] | None = Field(None, description="Subjects who may use it.")
    groups: tuple[str, ...] | None = Field(
        None, description="Groups whose members may use it. Without `users` and `groups`: everybody."
    )
    logins: Logins | None = Field(
        None,
        description="Whose account is whose, where certificates (`ssh_ca`) open accounts: login names by "
        "subjects, `{alice: u1234}`, or `subject` if every user is called there as here. Say that only if nobody can "
        "choose their subject. Default: SSH keys open accounts.",
    )

    @property
    def container_engine(self) -> ContainerEngine | None:
        """What starts containers there; None when the runner alone knows."""
        if self.containers or self.runner.kind == "other":
            return self.containers
        said = named_in([*self.runner.command, *self.runner.arguments])
        return said[1] if said else "docker"

    @property
    def jobs(self) -> bool:
        """Whether tools run in jobs, on nodes: else they run on the login node."""
        return self.scheduler != "none" and (self.runner.kind == "toil" or self.leader == "job")

    @field_validator("users", "groups", "logins", mode="before")
    @classmethod
    def _told(cls, value: object) -> object:
        """Nothing after the colon might be meant as nobody, and would let everybody in."""
        if value is None:
            raise ValueError("is empty: name some, write `[]` (of `logins`: `{}`) for nobody, or remove it")
        return value

    @model_validator(mode="after")
    def _fits(self) -> SiteSettings:
        if self.containers and self.runner.kind == "other":
            raise ValueError("`containers` is for cwltool and Toil; say it in `runner.arguments`")
        if self.containers and (wrong := conflict(self.runner.arguments)):
            raise ValueError(f"`containers`: {wrong}")
        if self.leader == "job" and self.scheduler == "none":
            raise ValueError("`leader: job` needs a scheduler")
        if self.slurm.leader_time and not (self.leader == "job" and self.runner.kind == "toil"):
            raise ValueError(
                "`slurm.leader_time` is of no use: only with Toil and `leader: job` has the runner a job of its own"
            )
        return self
