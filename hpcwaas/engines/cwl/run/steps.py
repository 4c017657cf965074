"""What the runner's messages say about steps, and why a run failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from hpcwaas.core.models import Level, Status, Step, StepDeclaration, StepStatus
from hpcwaas.core.step_models import Scatter
from hpcwaas.engines.cwl.run.channel import Line

_STEP = re.compile(
    r"\[step (?P<name>[^\]]+)\] (?:(?P<event>start)$|completed (?P<end>\w+)$|Cannot make job: (?P<why>.+))", re.DOTALL
)
_JOB_END = re.compile(
    r"(?P<toil>\[cwltool\] )?\[job (?P<name>[^\]]+)\] (?:(?P<exit>exited with status: \d+|was terminated by signal: \w+"
    r"|exceeded time limit of \d+ seconds)|Job error:\s*(?P<error>.+))",
    re.DOTALL,
)
_NOISE = re.compile(
    r", try again with --debug for more information(?=[:.])|^Got workflow error:? *|^Workflow error(?:, [^:]*)?:\s*"
    r"|^I'm sorry, I couldn't load this CWL file[^\n]*\n?The error was:\s*|^\[workflow [^\]]*\] "
    r"|, try --no-container to disable Docker, or install a user space Docker replacement[^:]*--user-space-docker-cmd\."
)
# cwltool lays messages out in columns, the right one of which begins far out.
_COLUMN = re.compile(r"\s*\n {20,}")
# What cwltool writes of a script that failed: the script, what it wrote, and in the middle of that what is wrong.
_SCRIPT = re.compile(r"(?:script|Javascript expression) was:")
_SCRIPT_ERROR = re.compile(r"(?:Uncaught )?(?P<error>\w*Error\b.*)")
_NO_CONTAINER = re.compile(
    r"\b(?:Docker|Singularity) is (?:required to run|not available for) this tool(?:, try --no-container[^:]*)?"
    r"(?:--user-space-docker-cmd\.)?: (?P<why>.+)|(?P<off>--no-container, but this CommandLineTool has)",
    re.DOTALL,
)
_RAISED = re.compile(r"\s*cwl(?:tool|_utils)\.errors\.\w+: ")
"""Begins what an error says that ends a worker of Toil's. It may go on in the next line."""
_STANDARD_ERROR = "[toil.cwl.cwltoil] Failed command standard error:"
"""Toil gives it when the tool has ended."""
_COMMAND = re.compile(r"Command '?\[(?P<words>[^]]*)\]'? returned non-zero exit status (?P<status>\d+)")
_TOO_DEEP = "maximum recursion depth exceeded"
# In the words of cwltool, of the C library and of shells.
_FILE_TOO_LARGE = re.compile(r"SIGXFSZ|File too large|File size limit exceeded|exited with status: 153$")
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|\bENOSPC\b|\bEDQUOT\b")
_MAX_REASON = 1000


class StepTracker:
    """Status and times of an execution's steps.

    Args:
        declarations: the steps of the workflow. A lone tool is one step.
    """

    def __init__(self, declarations: Sequence[StepDeclaration]) -> None:
        self._steps = {each.name: Step(each.name, StepStatus.PENDING, each.label) for each in declarations}

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps, in the workflow's order."""
        return tuple(self._steps.values())

    def observe(self, message: str, now: datetime) -> bool:
        """Takes a message of the runner. True when a step changed."""
        match = _STEP.match(message)
        if not match:
            if len(self._steps) == 1 and message.startswith("[job "):
                return self._start(next(iter(self._steps)), now)
            return False
        name = match["name"]
        if name not in self._steps:  # of a workflow inside the workflow
            return False
        if match["event"]:
            return self._start(name, now)
        step = self._steps[name]
        if match["end"] == "success" or (match["end"] == "skipped" and step.status is StepStatus.RUNNING):
            status = StepStatus.SUCCEEDED  # a scatter that skipped some of its jobs ends as skipped, too
        elif match["end"] == "skipped":
            status = StepStatus.SKIPPED
        else:
            status = StepStatus.FAILED
        self._steps[name] = replace(step, status=status, started_at=step.started_at or now, ended_at=now)
        return True

    def count(self, name: str, scatter: Scatter) -> None:
        """Takes how far a scattered step has come."""
        if name in self._steps:
            self._steps[name] = replace(self._steps[name], scatter=scatter)

    def _start(self, name: str, now: datetime) -> bool:
        if self._steps[name].status is not StepStatus.PENDING:  # the second job of a scatter
            return False
        self._steps[name] = replace(self._steps[name], status=StepStatus.RUNNING, started_at=now)
        return True

    def failed(self) -> str | None:
        """Name of the step that failed first."""
        failed = {
            step.ended_at: step.name
            for step in self._steps.values()
            if step.status is StepStatus.FAILED and step.ended_at
        }
        return failed[min(failed)] if failed else None


def finish(steps: Sequence[Step], status: Status, now: datetime) -> tuple[Step, ...]:
    """The steps of an execution that ended: none of them goes on.

    Args:
        status: of the execution.
    """
    running, pending = {
        Status.SUCCEEDED: (StepStatus.SUCCEEDED, StepStatus.SUCCEEDED),
        Status.FAILED: (StepStatus.FAILED, StepStatus.SKIPPED),
    }.get(status, (StepStatus.CANCELLED, StepStatus.CANCELLED))
    ends = {StepStatus.RUNNING: running, StepStatus.PENDING: pending}
    stopped = [replace(step, scatter=step.scatter and replace(step.scatter, running=0)) for step in steps]
    return tuple(
        replace(step, status=ends[step.status], ended_at=now if step.started_at else None)
        if step.status in ends
        else step
        for step in stopped
    )


class Diagnosis:
    """Finds the reason of a failure in what the runner and its tools wrote."""

    def __init__(self) -> None:
        self._failure: str | None = None
        self._error: str | None = None
        self._last_raw = ""
        self._in_script = False
        self._script_error: str | None = None
        self._container: str | None = None
        self._raised = ""
        self._tail: str | None = None
        self._in_tail = False
        self.file_too_large = False
        self.disk_full = False

    def observe(self, line: Line) -> None:
        """Takes a line of the log."""
        self.disk_full |= bool(_DISK_FULL.search(line.text))
        self.file_too_large |= bool(_FILE_TOO_LARGE.search(line.text))
        self._observe_script(line.text)
        if not line.message:
            self._last_raw = line.text.strip() or self._last_raw
            self._observe_worker(line.text)
            return
        self._in_tail = self._tail is None and line.text == _STANDARD_ERROR
        if match := _NO_CONTAINER.search(line.text):
            self._container = _container_failure(match["why"])
        if line.level < Level.WARN or self._failure:
            return
        if match := _JOB_END.match(line.text):
            if match["error"] or match["toil"]:
                self._failure = match["error"] or match["exit"].replace(": ", " ")
            else:
                self._failure = match["exit"].replace(": ", " ") + (f": {self._last_raw}" if self._last_raw else "")
        elif match := _STEP.match(line.text):
            self._failure = match["why"] or self._failure
        elif line.level is Level.ERROR:
            self._error = _NOISE.sub("", line.text).strip() or self._error

    def _observe_worker(self, text: str) -> None:
        """Takes a line that a worker of Toil's may have left."""
        if self._in_tail:
            self._tail = text.strip() or self._tail
        said = text.strip() if _RAISED.match(text) else ""
        if self._raised:
            said = self._raised + (text.strip() or "the runner doesn't say why")
        self._raised = f"{said} " if said.endswith(":") else ""
        if (match := _NO_CONTAINER.search(said)) and not self._raised:
            self._container = self._container or _container_failure(match["why"])

    def _observe_script(self, text: str) -> None:
        for part in text.split("\n"):
            if _SCRIPT.search(part):
                self._in_script = True
            elif self._in_script and (match := _SCRIPT_ERROR.match(part)):
                self._in_script = False
                self._script_error = self._script_error or f"an expression in JavaScript failed: {match['error']}"

    def reason(self, step: str | None, status: int) -> str:
        """Why the run failed, in plain words.

        Args:
            step: that failed, if one did.
            status: exit status of the runner; negative when a signal ended it.
        """
        cause = (self._failure and self._tail and f"{self._failure}: {self._tail}") or self._failure or self._error
        if self._container and (not self._failure or _NO_CONTAINER.search(self._failure)):
            return (f"Step {step} failed: " if step else "") + self._container
        if not self._failure and _TOO_DEEP in (self._error or ""):  # it speaks of itself, not of the tool
            return "The runner gave up: directories or values are nested too deeply."
        if self._script_error and (cause is None or _SCRIPT.search(cause)):
            cause = self._script_error
        if cause is None:
            end = f"exited with status {status}" if status >= 0 else f"was ended by signal {-status}"
            cause = f"The runner {end}" + (f": {self._last_raw}" if self._last_raw else ".")
        elif step:
            cause = f"Step {step} failed: {cause}"
        elif self._failure:
            cause = f"The tool failed: {cause}"
        cause = _COLUMN.sub(" ", cause)
        cause = "\n".join(line.rstrip() for line in cause.splitlines() if line.strip())
        return cause if len(cause) <= _MAX_REASON else cause[:_MAX_REASON] + "…"


def _container_failure(why: str | None) -> str:
    """Why a tool got no container, and what to do.

    Args:
        why: as the runner says it; None where containers are turned off.
    """
    if why is None:
        cause = "containers are turned off"
    else:
        cause = _COMMAND.sub(_failed_command, " ".join(why.split())).rstrip(".")
    return (
        f"A tool asks for a container (DockerRequirement), and none could be started: {cause}. Ask an operator of the "
        "service: the setting cwl.containers says what starts containers on this machine, and the log may tell more."
    )


def _failed_command(match: re.Match[str]) -> str:
    words = " ".join(word.strip().strip("'\"") for word in match["words"].split(","))
    return f"`{words}` failed with status {match['status']}"
