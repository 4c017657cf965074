"""How the steps of a workflow stand, from what runners say."""

import re
from typing import Dict, Iterable, List, Optional, Set

from hpcwaas.engines.cwl.sites.agent.answers import JSON
from hpcwaas.engines.cwl.sites.agent.files import now
from hpcwaas.engines.cwl.sites.agent.runs import CwltoolRuns, ToilRuns

_STEP = re.compile(
    r"\[step (?P<name>[^\]]+)\] (?:(?P<event>start)$|completed (?P<end>\w+)$|Cannot make job: .+)", re.DOTALL
)
_QUEUED = re.compile(r"\bJob (?P<name>\S+) with batch system ID \S+ queued as job (?P<id>\d+)")
_PARTS = re.compile(r"(?:(?:\d+|iteration\d+)\.)+(?P<process>.+)", re.DOTALL)


class Steps:
    """Status and times of the steps, from what runners say. A step of Toil runs as soon as a job of it is queued.

    Args:
        declared: `name` and `label` of each step; `processes`, where it is known: the short names, such as `tool.cwl`,
            of the process that the step runs and of all inside it.
            `process`, likewise: that of the step alone.
            `scatter`, where it is known: whether the step runs once for each of several values; `total`: how many.
        before: how the steps stood when an earlier attempt ended.
        process: what Toil called the whole workflow then.
        parallel: whether cwltool does several things at once.
    """

    def __init__(
        self,
        declared: Iterable[Dict[str, JSON]],
        before: Iterable[Dict[str, JSON]] = (),
        process: Optional[str] = None,
        parallel: bool = False,
    ) -> None:
        self._steps: Dict[str, Dict[str, JSON]] = {}
        self._processes: Dict[str, Set[str]] = {}
        self._scattered: Dict[str, Set[str]] = {}
        self._totals: Dict[str, Optional[int]] = {}
        self._cwltool_runs: Dict[str, CwltoolRuns] = {}
        self._toil_runs: Dict[str, ToilRuns] = {}
        self._parallel = parallel
        self._begun: Optional[str] = None
        for each in declared:
            step = {"name": each["name"], "status": "PENDING", "label": each.get("label")}
            self._steps[each["name"]] = dict(step, started_at=None, ended_at=None, scatter=None)
            self._processes[each["name"]] = set(map(_process, each.get("processes") or ()))
            if each.get("scatter", True):
                own = {_process(each["process"])} if each.get("process") else self._processes[each["name"]]
                self._scattered[each["name"]] = own
            if each.get("scatter"):
                self._totals[each["name"]] = each.get("total")
        self._steps.update((step["name"], step) for step in before)
        self.process = process
        self._going: Dict[str, Dict[str, int]] = {}
        self._failing: Dict[str, Set[str]] = {}
        self._working: Set[str] = set()
        self._issued: Dict[str, str] = {}
        self.jobs: List[Dict[str, JSON]] = []

    def all(self) -> List[Dict[str, JSON]]:
        """The steps, in the workflow's order."""
        runs: Dict[str, CwltoolRuns | ToilRuns] = dict(self._cwltool_runs, **self._toil_runs)
        return [
            dict(step, scatter=runs[name].told()) if name in runs else dict(step) for name, step in self._steps.items()
        ]

    def failed(self) -> Optional[str]:
        """The step that failed first."""
        failed = {step["ended_at"]: name for name, step in self._steps.items() if step["status"] == "FAILED"}
        return failed[min(failed)] if failed else None

    def fail(self, name: str) -> None:
        """Notes that a step failed."""
        self._end(name, "FAILED")

    def cwltool(self, text: str) -> bool:
        """Takes a message of cwltool. True when a step changed."""
        match = _STEP.match(text)
        if not match:
            heard = self._cwltool_runs if self._parallel else [self._begun]
            for each in heard:
                if each in self._cwltool_runs and self._steps[each]["status"] == "RUNNING":
                    self._cwltool_runs[each].hear(text)
            lone = next(iter(self._steps)) if len(self._steps) == 1 and text.startswith("[job ") else None
            return lone is not None and self._start(lone)
        name = match.group("name")
        if name not in self._steps:  # of a workflow inside the workflow
            return False
        if name in self._totals and name not in self._cwltool_runs:
            self._cwltool_runs[name] = CwltoolRuns(name, self._totals[name], self._parallel)
        if match.group("event"):
            self._begun = name
            if name in self._cwltool_runs:
                self._cwltool_runs[name].begin()
            return self._start(name)
        end = match.group("end")
        if name in self._cwltool_runs:
            self._cwltool_runs[name].end(end or "failed")
        running = self._steps[name]["status"] == "RUNNING"
        # A scatter that skipped some of its jobs ends as skipped, too.
        good = end == "success" or (end == "skipped" and running)
        self._end(name, "SUCCEEDED" if good else "SKIPPED" if end == "skipped" else "FAILED")
        return True

    def toil(self, fields: List[str]) -> bool:
        """Takes a message of Toil. True when a step or `jobs` changed."""
        topic, values = fields[0].rpartition(".")[2], fields[1:]
        if topic == "ExternalBatchIdMessage":
            name = self._issued.get(values[0])
            if name is not None and "slurm" in values[2].lower():
                self._add(values[1], name)
            return name is not None
        if topic not in ("JobIssuedMessage", "JobCompletedMessage", "JobFailedMessage"):
            return False
        name, kind = re.sub(r"\._(wrapper|resolve)$", "", values[0]), values[1].partition("/")[0][len("kind-") :]
        job = values[1]
        if kind not in ("CWLJob", "CWLJobWrapper", "CWLWorkflow", "ResolveIndirect"):  # those that have names
            return False
        if topic == "JobIssuedMessage":
            return self._issue(name, kind, job, values[2])
        step = self.step_of(name)
        if step is None:
            return False
        runs = self._runs_of(step, name)
        if topic == "JobFailedMessage":  # which comes of all before it, too
            if runs:
                runs.fail(kind, job)
            return name in self._failing.get(step, ()) and self._end(step, "FAILED")
        if runs:
            runs.complete(name, kind, job, values[2] == "0")
        return self._complete(step, name, kind, values[2] == "0")

    def _runs_of(self, step: str, name: str) -> Optional[ToilRuns]:
        """The runs of a step, if a job of that name is one of them and not a part of one."""
        if step not in self._totals or self._part_of(name) is None:
            return None
        if step not in self._toil_runs:
            self._toil_runs[step] = ToilRuns(self._steps[step].get("scatter"))
        return self._toil_runs[step]

    def _part_of(self, name: str) -> Optional[str]:
        """The process of which a job of this name is a run, one of several."""
        start = f"{self.process}."
        match = _PARTS.fullmatch(name[len(start) :]) if name.startswith(start) else None
        return _process(match.group("process")) if match else None

    def line(self, kind: str, text: str) -> bool:
        """Takes a message of a runner's log. True when a step changed."""
        if kind == "toil":
            self._queued(text)
        return kind == "cwltool" and self.cwltool(text)

    def _queued(self, text: str) -> None:
        """Toil's log tells of a job of Slurm when it is queued, its messages only when Slurm has been asked for it."""
        match = _QUEUED.search(text)
        if match and match.group("name") in self._issued.values():
            self._add(match.group("id"), match.group("name"))

    def _add(self, job: str, name: str) -> None:
        if all(job != known["id"] for known in self.jobs):
            self.jobs.append({"id": job, "step": self.step_of(name), "name": name})

    def _complete(self, step: str, name: str, kind: str, good: bool) -> bool:
        going, failing = self._going.setdefault(step, {}), self._failing.setdefault(step, set())
        if not good:
            failing.add(name)
        elif kind == "CWLWorkflow":  # it ends when its results are put together
            return False
        going[name] = max(0, going.get(name, 0) - 1)
        if failing or any(going.values()):
            return False
        return self._end(step, "SUCCEEDED" if step in self._working else "SKIPPED")

    def _issue(self, name: str, kind: str, job: str, number: str) -> bool:
        self._issued[number] = name
        if kind == "CWLWorkflow" and self.process is None:
            self.process = name
        step = self.step_of(name)
        runs = self._runs_of(step, name) if step else None
        if runs:
            runs.issue(name, kind, job)
        if step is None or kind == "ResolveIndirect":
            return False
        going = self._going.setdefault(step, {})
        going[name] = going.get(name, 0) + 1
        self._failing.setdefault(step, set()).discard(name)
        if kind != "CWLJobWrapper":  # which decides whether there is something to do
            self._working.add(step)
        return self._start(step, again=True)

    def step_of(self, name: str) -> Optional[str]:
        """The step that a job of Toil belongs to, by its name; None when that can't be told for sure."""
        if name == self.process:
            return None
        if len(self._steps) == 1:
            return next(iter(self._steps))
        if self.process and name.startswith(f"{self.process}."):
            rest = name[len(self.process) + 1 :]
            named = [step for step in self._steps if rest.startswith(f"{step}.")]
            if named:
                return max(named, key=len)
            part = self._part_of(name)
            found = [step for step, own in self._scattered.items() if part in own]
        else:
            found = [
                step
                for step, inside in self._processes.items()
                if any(name.startswith(f"{process}.") for process in inside)
            ]
        return found[0] if len(found) == 1 else None

    def _start(self, name: str, again: bool = False) -> bool:
        step = self._steps[name]
        if step["status"] != "PENDING" and not (again and step["status"] in ("SUCCEEDED", "SKIPPED")):
            return False
        step.update(status="RUNNING", started_at=step["started_at"] or now(), ended_at=None)
        return True

    def _end(self, name: str, status: str) -> bool:
        moment = now()
        self._steps[name].update(status=status, ended_at=moment, started_at=self._steps[name]["started_at"] or moment)
        return True


def _process(name: str) -> str:
    """The name of a process. One that stands inside a step has none, but a number that is another each time."""
    return "_:" if name.startswith("_:") else name


def finished(steps: Iterable[Dict[str, JSON]], status: str) -> List[Dict[str, JSON]]:
    """The steps of an execution that ended: none of them goes on."""
    running, pending = {"SUCCEEDED": ("SUCCEEDED", "SUCCEEDED"), "FAILED": ("FAILED", "SKIPPED")}.get(
        status, ("CANCELLED", "CANCELLED")
    )
    ends = {"RUNNING": running, "PENDING": pending}
    moment = now()
    stopped = [dict(step, scatter=dict(step["scatter"], running=0)) if step.get("scatter") else step for step in steps]
    return [
        dict(step, status=ends[step["status"]], ended_at=moment if step["started_at"] else None)
        if step["status"] in ends
        else step
        for step in stopped
    ]
