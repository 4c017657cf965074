"""Commands of Slurm that tell of jobs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpcwaas.core.site_models import Job
from hpcwaas.engines.cwl.sites.slurm_text import SEPARATOR, human, limit, moment, rows, size, told

_NOT_BEGUN = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
_BEGUN = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")
_ROOT = "0"


def bare(state: str) -> str:
    """The one word of a state: without who cancelled the job, and the sign that there is more to it."""
    return state.partition(" ")[0].rstrip("+")


def over(state: str) -> bool:
    """Whether it is one of jobs that have ended."""
    return bare(state) not in (*_NOT_BEGUN, *_BEGUN)


class Squeue:
    """The jobs of a user that the controller knows: those that wait or run, and those that ended minutes ago."""

    _FIELDS = ("%i", "%T", "%r", "%N", "%V", "%S", "%e", "%l", "%j")

    def __init__(self, user: str) -> None:
        self._user = user

    def argv(self) -> Sequence[str]:
        form = SEPARATOR.join(self._FIELDS)
        return ("squeue", "--noheader", f"--user={self._user}", "--states=all", f"--format={form}")

    def parse(self, stdout: str) -> Sequence[Job]:
        return [_queued(row) for row in rows(stdout, len(self._FIELDS))]


def _queued(row: Sequence[str]) -> Job:
    job, state, reason, node, submitted, started, ended, most, name = row
    return _job(job, state, reason, node, submitted, started, ended, name, limit(most))


class Sacct:
    """What the database of jobs knows of some."""

    _FIELDS = (
        *("JobIDRaw", "State", "ExitCode", "Reason", "NodeList", "Submit", "Start", "End"),
        *("Timelimit", "ReqMem", "AllocCPUS", "NNodes", "MaxRSS", "UID", "JobName"),
    )

    def __init__(self, user: str, jobs: Sequence[str]) -> None:
        self._user = user
        self._jobs = jobs

    def argv(self) -> Sequence[str]:
        form = (f"--delimiter={SEPARATOR}", f"--format={','.join(self._FIELDS)}")
        return ("sacct", "--noheader", "--parsable2", *form, f"--jobs={','.join(self._jobs)}")

    def parse(self, stdout: str) -> Sequence[Job]:
        table = list(rows(stdout, len(self._FIELDS)))
        most: dict[str, int] = {}
        for row in table:
            job, used = row[0].partition(".")[0], size(row[12])
            most[job] = max(most.get(job, 0), used or 0)
        return [self._recorded(row, most[row[0]]) for row in table if "." not in row[0]]

    def _recorded(self, row: Sequence[str], used: int) -> Job:
        job, state, code, reason, node, submitted, started, ended, most, memory, cores, nodes, _, uid, name = row
        had = _memory(memory, cores, nodes)
        amounts = f"{human(used)} of {human(had)}" if used and had else ""
        match bare(state):
            case "CANCELLED":
                state = self._cancelled(state, uid)
            case "OUT_OF_MEMORY":
                reason = amounts
            case "FAILED":
                reason = _exit(code) or reason
                if had is not None and used > had:  # a kernel without cgroups kills, and Slurm doesn't say why
                    reason += f"; it used {amounts}"
        return _job(job, state, reason, node, submitted, started, ended, name, limit(most))

    def _cancelled(self, state: str, uid: str) -> str:
        by = state.partition(" by ")[2]
        if not by:
            return "CANCELLED"
        return f"CANCELLED by {self._user if by == uid else 'root' if by == _ROOT else f'the user {by}'}"


class Scontrol:
    """What the controller knows of a job: more than `squeue` tells."""

    def __init__(self, job: str) -> None:
        self._job = job

    def argv(self) -> Sequence[str]:
        return ("scontrol", "--oneliner", "show", "job", self._job)

    def parse(self, stdout: str) -> Sequence[Job]:
        jobs = []
        for line in stdout.splitlines():
            # A name or a comment may look like anything: of a field that stands there twice, the first counts.
            found = re.match(r"JobId=(?P<id>\d+) .*?JobName=(?P<name>.*) UserId=\S+ (?P<rest>.*)", line)
            if found:
                rest: dict[str, str] = {}
                for name, value in re.findall(r"(\w+)=(\S*)", found["rest"]):
                    rest.setdefault(name, value)
                jobs.append(_shown(found["id"], found["name"], rest))
        return jobs


def _shown(job: str, name: str, field: dict[str, str]) -> Job:
    state, reason = field.get("JobState", ""), field.get("Reason", "")
    if state == "FAILED":
        reason = _exit(field.get("ExitCode", "")) or reason
    submitted, started, ended = (field.get(key, "") for key in ("SubmitTime", "StartTime", "EndTime"))
    node, most = field.get("NodeList", ""), limit(field.get("TimeLimit", ""))
    return _job(job, state, reason.replace("_", " "), node, submitted, started, ended, name, most)


def _job(
    job: str, state: str, reason: str, node: str, submitted: str, started: str, ended: str, name: str, most: str | None
) -> Job:
    word = bare(state)
    why = told(reason)
    if word in _BEGUN or word in ("COMPLETED", "CANCELLED"):
        why = None  # it is why the job had waited
    elif word == "TIMEOUT":
        why = most
    waited = word in _NOT_BEGUN or (over(state) and told(node) is None)  # and never began
    return Job(
        job,
        state,
        why,
        told(node),
        told(name),
        moment(submitted),
        None if waited else moment(started),
        moment(ended) if over(state) else None,  # else it is when it will end at the latest
    )


def _exit(code: str) -> str | None:
    status, _, signal = code.partition(":")
    if signal.isdigit() and signal != "0":
        return f"signal {signal}"
    return f"exit status {status}" if status.isdigit() and status != "0" else None


def _memory(field: str, cores: str, nodes: str) -> int | None:
    """What a job had asked for. Older versions say it for each core (`c`) or node (`n`)."""
    number = size(field.rstrip("cn"))
    times = {"c": cores, "n": nodes}.get(field[-1:], "1")
    return number * int(times) if number and times.isdigit() else None
