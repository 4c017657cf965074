"""Why a run failed, from what runners say."""

import re
from typing import Optional, Sequence

from hpcwaas.engines.cwl.sites.agent.files import size_text, time_text
from hpcwaas.engines.cwl.sites.agent.log import ERROR, WARN

_AWAY = re.compile(r"unable to contact|timed out|connection (refused|reset)|zero bytes|temporar|communication", re.I)
_LIMITS = re.compile(r"submit limit|violates|(QOS|Assoc)(Max|Grp)", re.I)
"""What Slurm says when it takes no job of this account now, and may later."""
_NEVER = re.compile(r"PerJob|NotSatisfied")
"""What it names when it will take none like this one."""
_JOB_END = re.compile(
    r"\[job [^\]]+\] (?:(?P<exit>exited with status: \d+|was terminated by signal: \w+"
    r"|exceeded time limit of \d+ seconds)|Job error:\s*(?P<error>.+))"
)
_STANDARD_ERROR = "Failed command standard error:"
_REFUSED = re.compile(r"sbatch: error: Batch job submission failed: (.+?)\.?$")
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|\bENOSPC\b|\bEDQUOT\b")
_JOB_FAILED = re.compile(r"Job failed with exit value (\d+)|Exit reason: (\w+)|Failed job in backing scheduler: (\d+)")
_TOO_MUCH = re.compile(
    r"The job '\w+' (?P<name>\S+) .*is requesting (?P<asked>[\d.]+) (?:bytes of )?(?P<what>\w+)"
    r".*, more than the maximum of (?P<most>[\d.]+)"
)
_TOO_LONG = re.compile(
    r"hpcwaas: the job toil_job_\d+_(?P<name>\S+) asks for (?P<asked>\d+)\S* seconds, .* (?P<most>\d+)"
)
_NO_CONTAINER = re.compile(r"\b(?:Docker|Singularity) is required to run this tool: (.+?)\.?$")
_QUOTES = re.compile(r"[', ]+")
_COMMAND = re.compile(r"Command '\[(.+)\]' returned non-zero exit status \d+")
_SIGNALS = {"140": "TIMELIMIT", "137": "SIGKILL"}
"""Jobs that are told of their time limit before they listen, and that use too much memory where no cgroup says so."""


def passes(errors: str) -> bool:
    """Whether what sbatch says when it takes no job doesn't last: it may be asked again."""
    return bool(_AWAY.search(errors) or (_LIMITS.search(errors) and not _NEVER.search(errors)))


class Diagnosis:
    """Finds in a log why a run failed: the first tool that did, and the last line that it wrote; or what the scheduler
    did to a job.

    Attributes:
        last: the last line that says something.
        refused: that the scheduler took no job, or that there is no container.
        job: what Toil calls a job that asked for too much.
        hopeless: whether that is asked for again and again, and never given.
        timed_out: id of the scheduler's job that reached its time limit.
    """

    def __init__(self) -> None:
        self._ends = {
            "TIMELIMIT": "was ended by its time limit",
            "SIGKILL": "was killed (signal 9), most likely for using more memory than it had asked for",
            "MEMLIMIT": "used more memory than it had asked for (OUT_OF_MEMORY)",
            "KILLED": "was cancelled or killed",
            "LOST": "was lost with its node",
        }
        self._ended = ["", "", ""]
        self._full = False
        self._failure = ""
        self._tail = ""
        self._closed = False
        self._begun = ""
        self._error = ""
        self.last = ""
        self.refused = ""
        self.hopeless = False
        self.job: Optional[str] = None
        self.timed_out: Optional[str] = None

    def observe(self, level: int, text: str, message: bool) -> None:
        """Takes a line of the log."""
        text = text.strip()
        self.last = text or self.last
        self._full |= bool(_DISK_FULL.search(text))
        match = _JOB_FAILED.search(text)
        if match:
            self._take_end(match.groups())
        match = _TOO_MUCH.search(text)
        if match and not self._failure:
            asked, most = (_amount(match.group(name), match.group("what")) for name in ("asked", "most"))
            self.job, self._tail, self._closed = match.group("name"), "", True
            self._failure = f"it asks for {asked}, and the site allows {most}"
        match = _TOO_LONG.search(text)
        if match and not self._failure:
            asked, most = (time_text(int(match.group(name))) for name in ("asked", "most"))
            self.job, self.hopeless, self._tail, self._closed = match.group("name"), True, "", True
            self._failure = f"it asks for a time of {asked}, and the site allows {most}"
        self._take_refusal(text)
        if self._begun and text and not message:
            level, text, message = ERROR, f"{self._begun} {text}", True
        self._begun = ""
        if not message:
            self._tail = self._tail if self._closed else text or self._tail
            return
        if level >= WARN and text.endswith(":") and not text.endswith(_STANDARD_ERROR):
            self._begun = text  # it goes on in the next line
            return
        match = None if self._failure or level < WARN else _JOB_END.search(text)
        if match:
            self._failure = match.group("error") or match.group("exit").replace(": ", " ")
            self._closed = True
        elif text.endswith(_STANDARD_ERROR) and "cwltoil" in text:  # Toil gives it afterwards
            self._tail, self._closed = "", bool(self._tail and not self._failure)
        elif self._failure:
            self._closed = True
        elif level >= ERROR:
            self._error = text

    def _take_refusal(self, text: str) -> None:
        """Takes that something can't run here at all."""
        match = _REFUSED.search(text)
        if match:
            self.refused = f"Slurm refused a job of the execution: {match.group(1)}."
        match = _NO_CONTAINER.search(text)
        if match:
            why = _COMMAND.sub(lambda found: f"`{_QUOTES.sub(' ', found.group(1)).strip()}` failed", match.group(1))
            self.refused = (
                f"A tool asks for a container (DockerRequirement), and there is none where it runs: {why}. Ask an "
                "operator of the service which containers the site can run, and where their images have to be."
            )

    def _take_end(self, found: Sequence[Optional[str]]) -> None:
        """Takes what Toil says of a job's end, in three lines."""
        self._ended = [new or old for new, old in zip(found, self._ended if not found[0] else ("", "", ""))]
        status, word, job = self._ended
        end = _SIGNALS.get(status, word)
        words = self._ends.get(end)
        if job and words and not self._failure:
            self.timed_out = job if end == "TIMELIMIT" else None
            self._failure, self._tail, self._closed = f"Slurm job {job} {words}", "", True

    def reason(self, step: Optional[str], status: int, limit: Optional[str] = None) -> str:
        """Why the run failed.

        Args:
            step: that failed first, if one did.
            status: exit status of the runner; negative when a signal ended it.
            limit: of the job that `timed_out`.
        """
        if self.refused:
            return self.refused
        words = self._words(step, status)
        if limit:
            words = words.replace("its time limit", f"the time limit of {limit}")
        return f"The disk of the site was full, or the account's quota was used up. {words}" if self._full else words

    def _words(self, step: Optional[str], status: int) -> str:
        cause = self._failure + (f": {self._tail}" if self._failure and self._tail else "")
        if cause:
            whole = cause if cause.startswith("Slurm job") else f"The tool failed: {cause}"
            return (f"Step {step} failed: {cause}" if step else whole)[:1000]
        end = f"exited with status {status}" if status >= 0 else f"was ended by signal {-status}"
        cause = self._error or self.last
        return f"The runner {end}" + (f": {cause[:1000]}" if cause else ".")


def _amount(number: str, what: str) -> str:
    return f"{float(number):g} {what}" if what == "cores" else f"{size_text(int(float(number)))} of {what}"
