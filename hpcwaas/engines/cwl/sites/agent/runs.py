"""How far scattered steps have come, from what runners say of their runs."""

import re
from typing import Dict, List, Optional, Set

from hpcwaas.engines.cwl.sites.agent.answers import JSON

_RUN_ENDED = re.compile(r"\[(?:job|workflow) (?P<name>[^\]]+)\] completed (?P<end>\w+)$")


class CwltoolRuns:
    """Runs of a scattered step of cwltool's, which says that one begins, and nothing of those that it skips.

    Args:
        name: of the step.
        total: how many there are, where that is known.
        parallel: whether cwltool begins all of them at once, and does one after the other no more.
    """

    def __init__(self, name: str, total: Optional[int], parallel: bool) -> None:
        self._own = re.compile(rf"{re.escape(name)}(_\d+)?")
        self._total = total
        self._parallel = parallel
        self._begun = self._ended = self._failed = 0
        self._fails = False
        self._over: Optional[str] = None

    def begin(self) -> None:
        """Another run begins. Without `parallel`, the one before is over."""
        self._begun += 1
        self._failed += self._fails
        self._fails = False

    def hear(self, text: str) -> None:
        """Takes a message while the step is running, and, without `parallel`, no other step is."""
        match = _RUN_ENDED.match(text)
        good = match is not None and match.group("end") in ("success", "skipped")
        if match is None or (self._parallel and not self._own.fullmatch(match.group("name"))):
            return
        if self._parallel:
            self._ended += 1
            self._failed += not good
        else:
            self._fails |= not good

    def end(self, word: str) -> None:
        """The step has ended, in a word of cwltool's."""
        self._over = word

    def told(self) -> Dict[str, JSON]:
        """How far the step has come."""
        begun, total, skipped = self._begun, self._total, 0
        if self._over is None:
            ended = self._ended if self._parallel else begun - 1 + self._fails
        else:
            ended = begun
            if total is None and self._over == "success":
                total = begun
            skipped = max(0, (total or 0) - begun) if self._over in ("success", "skipped") else 0
        ended = min(max(0, ended), begun)
        return {
            "total": total if total is None else max(total, begun),
            "done": ended + skipped,
            "failed": min(self._failed + self._fails, ended),
            "skipped": skipped,
            "running": 0 if self._parallel else begun - ended,
        }


def again(scatter: Optional[Dict[str, JSON]]) -> Optional[Dict[str, JSON]]:
    """How far a scattered step has come when it is tried again: what failed isn't done."""
    if not scatter:
        return None
    return dict(scatter, done=scatter["done"] - scatter["failed"], failed=0, running=0)


class ToilRuns:
    """Runs of a scattered step of Toil's, each known by the ids of its jobs. What decides whether a run has something
    to do is a job of its own, of the same name as the one that does it then. One that runs a workflow ends with the job
    that puts its results together. Names may be those of several runs.

    Args:
        before: how far the step had come when an earlier attempt ended: what was done isn't done again.
    """

    def __init__(self, before: Optional[Dict[str, JSON]] = None) -> None:
        before = before or {}
        self._skipped_before = before.get("skipped") or 0
        self._done_before = before.get("done") or 0
        self._total_before = before.get("total") or 0
        self._runs: Dict[str, str] = {}
        self._left: Dict[str, List[str]] = {}
        self._workflows: Dict[str, List[str]] = {}
        self._run_of: Dict[str, str] = {}
        self._failing: Set[str] = set()

    def issue(self, name: str, kind: str, job: str) -> None:
        """A job of a run begins, or is tried again."""
        if kind == "ResolveIndirect":
            waiting = self._workflows.get(name)
            run = waiting.pop() if waiting else job  # which an earlier attempt has begun
        elif job in self._run_of:
            run = self._run_of[job]
        elif kind != "CWLJobWrapper" and self._left.get(name):
            run = self._left[name].pop()
        else:
            run = job
        self._run_of[job] = run
        self._runs[run] = "running"
        self._failing.discard(job)

    def complete(self, name: str, kind: str, job: str, good: bool) -> None:
        """A job has ended."""
        run = self._run_of.get(job)
        if run is None:
            return
        if not good:
            self._failing.add(job)
        elif kind == "CWLJobWrapper":
            self._runs[run] = "skipped"
            self._left.setdefault(name, []).append(run)
        elif kind == "CWLWorkflow":
            self._workflows.setdefault(name, []).append(run)
        else:
            self._runs[run] = "done"

    def fail(self, kind: str, job: str) -> None:
        """A job is given up. Of a workflow that is told when something inside it is."""
        run = self._run_of.get(job)
        if run is not None and (job in self._failing or (kind == "CWLWorkflow" and self._runs[run] == "running")):
            self._runs[run] = "failed"

    def told(self) -> Dict[str, JSON]:
        """How far the step has come."""
        states = list(self._runs.values())
        skipped = states.count("skipped") + self._skipped_before
        done = len(states) - states.count("running") + self._done_before
        return {
            "total": max(len(states) + self._done_before, self._total_before),
            "done": done,
            "failed": states.count("failed"),
            "skipped": skipped,
            "running": states.count("running"),
        }
