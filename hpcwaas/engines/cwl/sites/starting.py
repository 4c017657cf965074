"""What a site is asked to run, and what its answers mean."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hpcwaas.core.models import JSON
from hpcwaas.engines.container_engines import ARGUMENTS
from hpcwaas.engines.cwl.sites.mirror import Intent, Mirror, Staged
from hpcwaas.engines.cwl.sites.resources import leaders, most
from hpcwaas.engines.cwl.storage import spool
from hpcwaas.engines.cwl.storage.outputs import TakenOutput
from hpcwaas.engines.cwl.workflows.slurm import Slurm, StepNeeds, seconds, totals
from hpcwaas.engines.site_settings import SiteSettings

COMMENT = "hpcwaas:"
"""Begins the comment by which jobs are known on the site; the execution's id follows."""


def request(
    settings: SiteSettings,
    intent: Intent,
    workflow: str,
    staged: Sequence[Staged],
    *,
    prologue: str | None,
    log: int,
    order: Mapping[str, JSON],
) -> dict[str, JSON]:
    """What the agent is told of an execution.

    Args:
        workflow: digest of its package.
        log: most bytes of its log.
        order: its inputs.
    """
    slurm, needs = intent.slurm, {step.name: step for step in intent.needs}
    runs = totals(intent.needs, order)
    kind, limits = settings.runner.kind, settings.slurm
    containers = ARGUMENTS[settings.containers] if settings.containers else ()
    return {
        "version": 1,
        "id": intent.id,
        "attempt": 1,
        "document": f"workflows/{workflow}/{intent.document}",
        "fragment": intent.fragment,
        "steps": [
            {
                "name": step.name,
                "label": step.label,
                "processes": list(known.processes),
                "process": known.process,
                "scatter": known.scatter,
                "total": runs.get(step.name),
            }
            for step in intent.steps
            for known in [needs.get(step.name) or StepNeeds(step.name)]
        ],
        "remarks": list(intent.remarks),
        "inputs": [{"sha256": each.sha256, "target": each.target, "unpack": each.unpack} for each in staged],
        "taken": [_taken(each) for each in intent.near],
        "command": list(settings.runner.command),
        "arguments": [*_arguments(settings, intent), *containers, *settings.runner.arguments],
        "kind": kind,
        "scheduler": settings.scheduler,
        "leader": settings.leader,
        "slurm": _asked(slurm),
        "leader_slurm": _asked(leaders(settings, slurm, intent.time) if kind == "toil" else slurm),
        "most_time": seconds(limits.max_time) if limits.max_time else None,
        "comment": f"{COMMENT}{intent.id}",
        "prologue": prologue,
        # By the convention for environment variables: a runner that keeps traces goes on with this one.
        "environment": {"TRACEPARENT": intent.trace} if intent.trace else {},
        "time": intent.time,
        "log": log,
        "resume": False,
    }


def _taken(output: TakenOutput) -> dict[str, JSON]:
    execution_id = output.reference.rpartition(":")[2]
    return {"execution": execution_id, "path": output.path, "kind": output.kind, "target": output.target}


def _asked(slurm: Slurm) -> dict[str, JSON]:
    return {
        "partition": slurm.partition,
        "account": slurm.account,
        "time": slurm.time,
        "cores": slurm.cores,
        "memory_mib": slurm.memory,
        "nodes": slurm.nodes,
    }


def _arguments(settings: SiteSettings, intent: Intent) -> list[str]:
    """Arguments that let a runner take what steps declare, and refuse what one of them asks for beyond the limits when
    it runs."""
    kind = settings.runner.kind
    words = ["--enable-ext"] if kind != "other" and any(step.mpi for step in intent.needs) else []
    if kind != "toil":
        return words
    cores, memory = most(settings, intent.limits)
    words += [f"--maxCores={cores}"] if cores else []
    if intent.slurm.memory:  # for steps that declare none; CWL's own default comes before Toil's
        words += ["--no-cwl-default-ram", f"--defaultMemory={intent.slurm.memory}Mi"]
    return [*words, f"--maxMemory={memory}Mi"] if memory else words


def job(mirror: Mirror, execution_id: str) -> JSON:
    """The CWL input object of an execution."""
    return json.loads((mirror.execution(execution_id) / spool.ORDER).read_bytes())


def refused(site: str, error: Mapping[str, Any], names: Mapping[str, str] | None = None) -> str:
    """Why something can't be on a site, for the user.

    Args:
        error: as the agent says it: `kind`, `path`, `detail`.
        names: what contents are called, by their digests.
    """
    kind, detail = str(error.get("kind")), str(error.get("detail") or "").rstrip(".")
    path = str(error.get("path") or "")
    path = (names or {}).get(path, path)
    said = f": {detail}" if detail else ""
    where = f"{path} on {site}" if path else site
    match kind:
        case "full":
            return (
                f"There is no room for {where}: the disk is full, or the quota of the account is used up{said}. Make "
                "room there, then trigger the execution again."
            )
        case "denied":
            return f"The account may not use {where}{said}. Ask the site's support about its permissions."
        case "read-only":
            return f"The file system of {where} can only be read at present{said}. Try again later."
        case "missing":
            return f"{where} is missing{said}." if path else f"Something is missing on {site}{said}."
        case _:
            return f"The execution could not be started on {site}{said}."
