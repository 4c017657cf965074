"""What the answer of a site's probe means for executions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hpcwaas.common.scrubbing import scrubber_of
from hpcwaas.core.site_models import Point, PointStatus
from hpcwaas.engines.cwl.containers import NONE, trial
from hpcwaas.engines.cwl.sites.agent.log import clean
from hpcwaas.engines.cwl.sites.point import failed, ok, skipped, warned
from hpcwaas.engines.cwl.sites.slurm_jobs import Squeue
from hpcwaas.engines.cwl.sites.slurm_places import Nodes, Partition, Projects, Trial
from hpcwaas.engines.cwl.sites.slurm_text import Answer, human, limit
from hpcwaas.engines.site_settings import SiteSettings, slurm_seconds

_OPERATORS = "Ask an operator of the service"
_RUNNERS = {"toil": ("Toil", (9, 6)), "cwltool": ("cwltool", (3, 1))}
"""Oldest versions: since then Toil lets jobs have a time limit of which their tools say nothing."""
_LITTLE, _TOO_LITTLE = 2**30, 64 * 2**20
_NOT_FOUND = 127
_COMPLAINTS, _LONGEST_COMPLAINT = 3, 500
"""Lines and characters of what a prologue says that are shown: the last ones."""
_NO_NODES = "Requested node configuration is not available"
_KINDS = {
    "full": "there is no room left on its file system, or in the account's quota",
    "denied": "the account may not write there",
    "read-only": "its file system can't be written to",
    "missing": "there is no such directory",
}


def commands(settings: SiteSettings, user: str) -> dict[str, list[str]]:
    """What the probe has to run, by names. Nothing of it costs anything."""
    found = {"runner": [*settings.runner.command, "--version"]}
    if engine := trial(settings.container_engine or ""):
        found["containers"] = [*engine]
    if settings.scheduler == "slurm":
        slurm = settings.slurm
        found["squeue"] = [*Squeue(user).argv()]
        found["trial"] = [*Trial(slurm.partition, None, slurm.time).argv()]
        if slurm.partition is not None:
            found["partition"] = [*Partition(slurm.partition).argv()]
            found["nodes"] = [*Nodes(slurm.partition).argv()]
        if slurm.account is not None:
            found["charged"] = [*Trial(slurm.partition, slurm.account, slurm.time).argv()]
        found["projects"] = [*Projects(user).argv()]
    return found


class Probed:
    """The points that a probe tells of.

    Args:
        answer: of the agent's command `probe`.
    """

    def __init__(self, settings: SiteSettings, user: str, answer: Mapping[str, Any]) -> None:
        self._settings = settings
        self._user = user
        self._answer = answer
        self._told = {name: Answer.of(each) for name, each in (answer.get("commands") or {}).items()}

    def points(self) -> Iterator[Point]:
        """All of them."""
        work_dir = self._work_dir()
        yield work_dir
        if work_dir.status is not PointStatus.FAILED:
            yield self._room()
        yield ok("python", f"It is {self._answer['python']}.")
        if complaint := self._prologue():
            yield complaint
            return
        yield self._runner()
        yield self._containers()
        if self._settings.scheduler == "none":
            for point in ("scheduler", "partition", "project"):
                yield skipped(point, "The site has no scheduler.")
            return
        scheduler = self._scheduler()
        yield scheduler
        if scheduler.status is PointStatus.OK:
            yield self._partition()
            yield self._project()

    def _work_dir(self) -> Point:
        if unset := self._answer.get("unset"):
            names = ", ".join(unset)
            return failed(
                "work_dir",
                f"The setting `work_dir` of the site, {self._settings.work_dir}, stands on variables that the account "
                f"doesn't have: {names}.",
                "If you have to ask for that directory, do so; else ask an operator of the service.",
            )
        place = str(self._answer.get("work_dir"))
        if wrong := self._answer.get("writable"):
            why = _KINDS.get(str(wrong.get("kind")), str(wrong.get("detail")))
            return failed(
                "work_dir",
                f"Nothing can be written in {place}: {why}.",
                "Make room, or ask the site's operators for a larger quota."
                if wrong.get("kind") == "full"
                else "Ask the site's operators whether the account may write there, or an operator of the service for "
                "another `work_dir`.",
            )
        return ok("work_dir", f"Executions live in {place}.")

    def _room(self) -> Point:
        free = self._answer.get("free_bytes")
        quota = str(self._answer.get("quota") or "")
        if not isinstance(free, int):
            return warned("room", "How much room there is can't be found out.", "Nothing, if executions work.")
        detail = f"{human(free)} are free on the file system."
        if re.search(r"\d[kKMGT]?\*", quota):  # how `quota` marks what is over
            return warned("room", f"{detail} The account is over its quota.", "Remove files before executions fail.")
        if free < _TOO_LITTLE:
            return failed("room", detail, "Remove files, or ask the site's operators for room.")
        if free < _LITTLE:
            return warned("room", detail, "Remove files before executions fail for want of room.")
        return ok("room", detail)

    def _prologue(self) -> Point | None:
        """What is wrong with the prologue, after which everything else is run."""
        told = self._answer["commands"].get("runner") or {}
        if told.get("stage") != "prologue":
            return None
        answer = Answer.of(told)
        if answer.status is None:
            return failed(
                "runner",
                f"The site's prologue {self._settings.prologue} didn't end within 10 seconds.",
                f"{_OPERATORS}: it may wait for an answer, which nobody gives.",
            )
        scrubbed = scrubber_of(self._settings)(answer.stderr)
        lines = [clean(line).strip() for line in scrubbed.splitlines()]
        said = " / ".join([line for line in lines if line][-_COMPLAINTS:])[-_LONGEST_COMPLAINT:]
        return failed(
            "runner",
            f"The site's prologue {self._settings.prologue} failed with status {answer.status}"
            + (f". It says: {said}" if said else ", and says nothing."),
            f"{_OPERATORS}: its last command has to succeed, or nothing runs there.",
        )

    @property
    def _after(self) -> str:
        return "after the site's `prologue`" if self._settings.prologue else "and the site has no `prologue`"

    def _runner(self) -> Point:
        answer = self._told.get("runner", Answer(None, "", ""))
        command = " ".join(self._settings.runner.command)
        name, oldest = _RUNNERS.get(self._settings.runner.kind, ("", ()))
        if answer.status is None:
            return warned(
                "runner",
                f"`{command} --version` gave no answer within 10 seconds.",
                "File systems of sites may be slow for the first time. Check again.",
            )
        if answer.status != 0 and (answer.status == _NOT_FOUND or name):
            return failed(
                "runner",
                f"`{command} --version` can't be run, {self._after} ({answer.words()}).",
                f"{_OPERATORS}: the site's settings `prologue` and `runner` have to name one that every account finds.",
            )
        if not name:
            return ok("runner", f"`{command}` is there.")
        text = answer.stdout + answer.stderr
        found = re.search(r"\b(\d+)\.(\d+)(\.\w+)*", text)
        if found is None:
            return warned("runner", f"`{command} --version` tells no version.", f"{_OPERATORS} whether it is {name}.")
        version = (int(found[1]), int(found[2]))
        if version < oldest:
            wanted = ".".join(map(str, oldest))
            return failed("runner", f"It is {name} {found[0]}.", f"{_OPERATORS}: it has to be {wanted} or later.")
        return ok("runner", f"It is {name} {found[0]}.")

    def _containers(self) -> Point:
        """What starts containers. Where it is missing, tools that ask for none run all the same."""
        name, of_jobs = self._settings.container_engine, self._settings.jobs
        if name == NONE:
            return skipped("containers", "They are turned off there: what requires one is refused before it starts.")
        if name is None:
            return skipped("containers", "Only the site's runner knows what starts them.")
        answer, command = self._told.get("containers", Answer(None, "", "")), trial(name)
        shown = f"`{' '.join(command)}`"
        nodes = " Its nodes may be different: a check submits no job." if of_jobs else ""
        if answer.status == 0:
            return ok("containers", f"{name.capitalize()} is there, on the login node.{nodes}")
        if answer.status is None:
            advice = "File systems of sites may be slow for the first time. Check again."
            return warned("containers", f"{shown} gave no answer within 10 seconds.", advice)
        if answer.status == _NOT_FOUND:
            whose = f"The setting `containers` is {name}" if self._settings.containers else f"The runner takes {name}"
            found = f"{whose}, and there is no program `{command[0]}`, {self._after}.{nodes}"
        else:
            found = f"{name.capitalize()} can't start any: {shown} fails, {self._after} ({answer.words()}).{nodes}"
        return warned(
            "containers",
            found,
            f"Without it, workflows whose tools ask for a container (DockerRequirement) fail. {_OPERATORS}: the site's "
            "settings `containers` and `prologue` have to name what every account can use; `containers: none` says "
            "that there is nothing.",
        )

    def _scheduler(self) -> Point:
        answer = self._told.get("squeue", Answer(None, "", ""))
        if answer.status == 0:
            return ok("scheduler", "Slurm tells of the account's jobs.")
        if answer.status == _NOT_FOUND:
            return failed(
                "scheduler",
                "Slurm's command `squeue` isn't found.",
                f"{_OPERATORS}: the site's `prologue` has to bring it, or the site has another `scheduler`.",
            )
        if answer.unreachable:
            return failed(
                "scheduler",
                f"Slurm doesn't answer ({answer.words()}).",
                "It may be in maintenance. Try again later; if it stays so, ask the site's operators.",
            )
        return failed("scheduler", f"Slurm refuses to tell of jobs ({answer.words()}).", "Ask the site's operators.")

    def _partition(self) -> Point:
        name, trial = self._settings.slurm.partition, self._told["trial"]
        told = f"The partition {name}" if name else "Slurm's default partition"
        refused = trial.status != 0 and not _of_project(trial)
        if name is not None and not trial.unreachable:
            found = Partition(name).parse(self._told["partition"].stdout)
            if found is None and refused:
                return failed("partition", f"There is no partition {name} ({trial.words()}).", f"{_OPERATORS}.")
            if found is not None and (point := self._usable(found.state, found.max_time, told)):
                return point
        if refused and _NO_NODES in trial.words():
            return warned(
                "partition",
                f"{told} has no node at this moment that could run a job as the settings ask for: it would wait.",
                "If it stays so, ask the site's operators.",
            )
        if refused:
            return failed(
                "partition",
                f"{told} takes no job of the account: {trial.words()}.",
                "Ask the site's operators whether the account may use it, or an operator of the service for another.",
            )
        return ok("partition", f"{told} would take a job.")

    def _usable(self, state: str, max_time: str, told: str) -> Point | None:
        """What is wrong with a partition that there is."""
        if state != "UP":
            advice = "Ask the site's operators until when."
            if state == "DOWN":
                return warned("partition", f"{told} is DOWN: jobs wait there and don't begin.", advice)
            return failed("partition", f"{told} is {state}: it takes no jobs.", advice)
        longest = slurm_seconds(limit(max_time) or "")
        for setting, asked in self._times():
            if longest is not None and (slurm_seconds(asked) or 0) > longest:
                return failed(
                    "partition",
                    f"{told} runs jobs for {limit(max_time)} at most, and the site's setting `slurm.{setting}` asks "
                    f"for {asked}: they would wait for ever.",
                    f"{_OPERATORS} to correct it.",
                )
        nodes = self._told["nodes"]
        usable, of = Nodes("").parse(nodes.stdout) if nodes.status == 0 else (1, 1)
        if not usable:
            return warned(
                "partition",
                f"None of the {of} nodes of {told[0].lower() + told[1:]} can run jobs at this moment: they wait.",
                "Ask the site's operators.",
            )
        return None

    def _times(self) -> Iterator[tuple[str, str]]:
        """The settings from which jobs have their time limits, when workflows don't say."""
        settings, slurm = self._settings, self._settings.slurm
        of_runner = settings.leader == "job" and settings.runner.kind == "toil"
        for own in ("time", *(["leader_time"] if of_runner else [])):
            setting = own if getattr(slurm, own) else "max_time"
            if asked := getattr(slurm, setting):
                yield setting, asked

    def _project(self) -> Point:
        account = self._settings.slurm.account
        listed = self._told["projects"]
        own = Projects(self._user).parse(listed.stdout) if listed.status == 0 else None
        trial = self._told["charged" if account else "trial"]
        which = f"The project {account}" if account else "The account's default project"
        if trial.status != 0 and _of_project(trial):
            have = f" It has: {', '.join(sorted(own))}." if own else " It has none." if own is not None else ""
            return failed(
                "project",
                f"{which} can't be charged by the account: {trial.words()}.{have}",
                "Ask the site's operators to add the account to a project, or an operator of the service to correct "
                "`slurm.account`.",
            )
        if own is None:
            return skipped("project", "The site doesn't tell which projects there are, and asks for none.")
        return ok("project", f"{which} would be charged.")


def _of_project(trial: Answer) -> bool:
    return "account" in trial.words().lower()
