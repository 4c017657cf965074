"""What the jobs of an execution ask a site's scheduler for, within what its operators allow."""

from __future__ import annotations

from collections.abc import Sequence

from hpcwaas.engines.cwl.sites.starting import kind_of
from hpcwaas.engines.cwl.workflows.slurm import Slurm, StepNeeds, seconds, slurm_time
from hpcwaas.engines.site_settings import SiteSettings
from hpcwaas.errors import BadRequest


def resources(
    settings: SiteSettings, site: str, wanted: Slurm, needs: Sequence[StepNeeds]
) -> tuple[Slurm, tuple[str, ...]]:
    """What jobs ask for, and what is to be said of it.

    Where the runner makes a job of each step, steps ask for what they declare, and this is for those that declare
    nothing. Where all is one job, it has room for the step that needs most, and time for all of them.

    Args:
        site: its name for people.
        wanted: what the workflow's metadata say.

    Raises:
        BadRequest: more than is allowed there; says of what.
    """
    if settings.scheduler == "none":
        return Slurm(), ()
    given = settings.slurm
    _partition(settings, site, wanted)
    slurm = Slurm(
        partition=wanted.partition or given.partition,
        account=wanted.account or given.account,
        time=wanted.time or given.time,
        cores=wanted.cores,
        memory=wanted.memory,
        nodes=wanted.nodes,
    )
    _bound(settings, site, "The metadata of the workflow ask", wanted)
    for step in needs:
        declared = Slurm(time=slurm_time(step.time) if step.time else None, cores=step.cores, memory=step.memory)
        _bound(settings, site, f"The step {step.name} asks", declared)
    if settings.leader != "job" or kind_of(settings.runner.command) == "toil":
        return slurm, ()
    return _one_job(settings, site, slurm, wanted, needs)


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
