"""Why a run failed, from what runners say."""

import re
from typing import Optional, Sequence

from hpcwaas.engines.cwl.sites.agent.log import ERROR, WARN

AWAY = re.compile(r"unable to contact|timed out|connection (refused|reset)|zero bytes|temporar|communication", re.I)
LIMITS = re.compile(r"submit limit|violates|(QOS|Assoc)(Max|Grp)", re.I)
"""What Slurm says when it takes no job of this account now, and may later."""
_JOB_END = re.compile(
    r"\[job [^\]]+\] (?:(?P<exit>exited with status: \d+|was terminated by signal: \w+"
    r"|exceeded time limit of \d+ seconds)|Job error:\s*(?P<error>.+))"
)
_STANDARD_ERROR = "Failed command standard error:"
_REFUSED = re.compile(r"sbatch: error: Batch job submission failed: (.+?)\.?$")
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|\bENOSPC\b|\bEDQUOT\b")
_JOB_FAILED = re.compile(r"Job failed with exit value (\d+)|Exit reason: (\w+)|Failed job in backing scheduler: (\d+)")
_SIGNALLED = "140"
"""How a job ends that is told of its time limit before it listens."""


class Diagnosis:
    """Finds in a log why a run failed: the first tool that did, and the last line that it wrote; or what the scheduler
    did to a job.

    Args:
        time: limit of a job, as the scheduler writes it.
    """

    def __init__(self, time: Optional[str] = None) -> None:
        self._ends = {
            "TIMELIMIT": f"was ended by {f'the time limit of {time}' if time else 'its time limit'}",
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

    def observe(self, level: int, text: str, message: bool) -> None:
        """Takes a line of the log."""
        text = text.strip()
        self.last = text or self.last
        self._full |= bool(_DISK_FULL.search(text))
        match = _JOB_FAILED.search(text)
        if match:
            self._take_end(match.groups())
        match = _REFUSED.search(text)
        if match:
            self.refused = f"Slurm refused a job of the execution: {match.group(1)}."
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

    def _take_end(self, found: Sequence[Optional[str]]) -> None:
        """Takes what Toil says of a job's end, in three lines."""
        self._ended = [new or old for new, old in zip(found, self._ended if not found[0] else ("", "", ""))]
        status, word, job = self._ended
        words = self._ends.get("TIMELIMIT" if status == _SIGNALLED else word)
        if job and words and not self._failure:
            self._failure, self._tail, self._closed = f"Slurm job {job} {words}", "", True

    def reason(self, step: Optional[str], status: int) -> str:
        """Why the run failed.

        Args:
            step: that failed first, if one did.
            status: exit status of the runner; negative when a signal ended it.
        """
        if self.refused:
            return self.refused
        words = self._words(step, status)
        return f"The disk of the site was full, or the account's quota was used up. {words}" if self._full else words

    def _words(self, step: Optional[str], status: int) -> str:
        cause = self._failure + (f": {self._tail}" if self._failure and self._tail else "")
        if cause:
            return (f"Step {step} failed: {cause}" if step else f"The tool failed: {cause}")[:1000]
        end = f"exited with status {status}" if status >= 0 else f"was ended by signal {-status}"
        cause = self._error or self.last
        return f"The runner {end}" + (f": {cause[:1000]}" if cause else ".")
