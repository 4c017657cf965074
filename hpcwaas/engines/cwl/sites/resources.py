"""What the jobs of an execution ask a site's scheduler for, within what its operators allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpcwaas.engines.cwl.workflows.metadata import NO_LIMITS, Limits
from hpcwaas.engines.cwl.workflows.slurm import Slurm, StepNeeds, seconds, slurm_time
from hpcwaas.engines.site_settings import SiteSettings
from hpcwaas.errors import BadRequest

_RUNNER_MEMORY = 1024
"""MiB of a runner that makes jobs of the steps: Toil takes some 250, and more for workflows of thousands of steps."""
_TO_END = 600
"""Seconds that are left to an execution to end, with its jobs, when it has reached its own limit of time."""


def resources(
    settings: SiteSettings, site: str, wanted: Slurm, needs: Sequence[StepNeeds], limits: Limits = NO_LIMITS
) -> tuple[Slurm, tuple[str, ...]]:
    """What jobs ask for, and what is to be said of it.

    Where the runner makes a job of each step, steps ask for what they declare, and this is for those that declare
    nothing. Where all is one job, it has room for the step that needs most, and time for all of them.

    Args:
        site: its name for people.
        wanted: what the workflow's metadata say.
        limits: the workflow's own.

    Raises:
        BadRequest: more than is allowed there; says of what.
    """
    untimely = [step.name for step in needs if step.untimely]
    if untimely and settings.runner.kind == "toil":
        raise BadRequest(
            f"The time limit of the step {untimely[0]} is an expression, which the runner of the site {site}, Toil, "
            "evaluates before it knows the step's inputs. The developer of the workflow can help it: by making "
            "`coresMin` or `ramMin` of the tool an expression as well, or by `when` of a step of a workflow."
        )
    _own_bound("The metadata of the workflow ask", wanted, limits)
    for step in needs:
        _own_bound(f"The step {step.name} asks", Slurm(cores=step.cores, memory=step.memory), limits)
    if settings.scheduler == "none":
        return Slurm(), ()
    given = settings.slurm
    _partition(settings, site, wanted)
    slurm = Slurm(
        partition=wanted.partition or given.partition,
        account=wanted.account or given.account,
        time=wanted.time or given.time or given.max_time,
        cores=wanted.cores,
        memory=wanted.memory,
        nodes=wanted.nodes,
    )
    _bound(settings, site, "The metadata of the workflow ask", wanted)
    for step in needs:
        declared = Slurm(time=slurm_time(step.time) if step.time else None, cores=step.cores, memory=step.memory)
        _bound(settings, site, f"The step {step.name} asks", declared)
    if settings.runner.kind == "toil":
        return slurm, _ignored(wanted)
    if settings.leader != "job":
        return slurm, ()
    return _one_job(settings, site, slurm, wanted, needs)


def most(settings: SiteSettings, limits: Limits) -> tuple[int | None, int | None]:
    """The most cores and MiB of memory that a step may ask for; None for no limit.

    Args:
        limits: the workflow's own.
    """
    cores = [each for each in (settings.slurm.max_cores, limits.cores) if each]
    memory = [each for each in (settings.slurm.max_memory, limits.memory and max(1, limits.memory >> 20)) if each]
    return min(cores, default=None), min(memory, default=None)


def leaders(settings: SiteSettings, slurm: Slurm, time: float | None) -> Slurm:
    """What the runner's own job asks for, where the runner makes others for the steps.

    Args:
        slurm: what those get.
        time: seconds that the whole execution may take, if there is a limit.
    """
    limit = settings.slurm.leader_time or settings.slurm.max_time
    if time is not None:
        whole = slurm_time(math.ceil(time) + _TO_END)
        limit = min(limit, whole, key=seconds) if limit else whole
    memory = min(_RUNNER_MEMORY, settings.slurm.max_memory or _RUNNER_MEMORY)
    return Slurm(partition=slurm.partition, account=slurm.account, time=limit, memory=memory)


def _ignored(wanted: Slurm) -> tuple[str, ...]:
    """That something of the metadata is for nothing, where each step asks for its own."""
    words = [f"{name} ({value})" for name, value in (("cores", wanted.cores), ("nodes", wanted.nodes)) if value]
    if not words:
        return ()
    remark = (
        f"The metadata of the workflow ask for {' and '.join(words)}, which the runner of this site takes from the "
        "steps alone (ResourceRequirement): steps that declare nothing get one core."
    )
    return (remark,)


def _one_job(
    settings: SiteSettings, site: str, slurm: Slurm, wanted: Slurm, needs: Sequence[StepNeeds]
) -> tuple[Slurm, tuple[str, ...]]:
    cores = max([wanted.cores or 0, *(step.cores or 0 for step in needs)]) or None
    memory = max([wanted.memory or 0, *(step.memory or 0 for step in needs)]) or None
    time = slurm.time
    known = [step.time for step in needs if step.time is not None]
    if wanted.time is None and needs and len(known) == len(needs):
        time = slurm_time(sum(known))
        _bound(settings, site, "All steps together ask", Slurm(time=time))
    remarks = [
        f"Step {step.name}: what it asks for ({', '.join(step.unknown)}) is known only when it runs; its job gets what "
        "the workflow's metadata or the site's settings say."
        for step in needs
        if step.unknown
    ]
    found = Slurm(slurm.partition, slurm.account, time, cores, memory, slurm.nodes)
    return found, tuple(remarks)


def _partition(settings: SiteSettings, site: str, wanted: Slurm) -> None:
    allowed = {name for name in (settings.slurm.partition, *settings.slurm.partitions) if name}
    if wanted.partition is not None and wanted.partition not in allowed:
        known = f"It may use {', '.join(sorted(allowed))}." if allowed else "It names none that workflows may choose."
        raise BadRequest(
            f"The metadata of the workflow ask for the partition {wanted.partition}, which the site {site} doesn't "
            f"allow. {known}"
        )


def _own_bound(who: str, asked: Slurm, limits: Limits) -> None:
    """Refuses what is more than the workflow's own limits."""
    if asked.cores and limits.cores and asked.cores > limits.cores:
        raise BadRequest(
            f"{who} for {asked.cores} cores; its metadata allow {limits.cores} at most (limits.cores). Its publisher "
            "can change that."
        )
    if asked.memory and limits.memory and asked.memory << 20 > limits.memory:
        raise BadRequest(
            f"{who} for {asked.memory} MiB of memory; its metadata allow {limits.memory >> 20} MiB at most "
            "(limits.memory). Its publisher can change that."
        )


def _bound(settings: SiteSettings, site: str, who: str, asked: Slurm) -> None:
    """Refuses what is more than the settings of a site allow."""
    limits = settings.slurm
    if asked.time and limits.max_time and seconds(asked.time) > seconds(limits.max_time):
        raise BadRequest(
            f"{who} for a time of {asked.time}; the site {site} allows {limits.max_time} at most (setting "
            "slurm.max_time)."
        )
    if asked.cores and limits.max_cores and asked.cores > limits.max_cores:
        raise BadRequest(
            f"{who} for {asked.cores} cores; the site {site} allows {limits.max_cores} at most (setting "
            "slurm.max_cores)."
        )
    if asked.memory and limits.max_memory and asked.memory > limits.max_memory:
        raise BadRequest(
            f"{who} for {asked.memory} MiB of memory; the site {site} allows {limits.max_memory} MiB at most (setting "
            "slurm.max_memory)."
        )
