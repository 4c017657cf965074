"""What jobs on a site ask for, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from hpcwaas.engines.cwl.sites.resources import leaders, most, resources
from hpcwaas.engines.cwl.workflows.metadata import NO_LIMITS, Limits
from hpcwaas.engines.cwl.workflows.slurm import Slurm, StepNeeds, seconds, slurm_time
from hpcwaas.engines.site_settings import SiteSettings
from hpcwaas.errors import BadRequest
from tests.simulators.logins import HOST_KEY


def settings(slurm: dict[str, Any], **more: Any) -> SiteSettings:
    values = {"host": "login.example.org", "host_keys": [HOST_KEY], "slurm": slurm}
    return SiteSettings.model_validate(values | more)


CWLTOOL = {"leader": "job", "runner": {"command": ["cwltool"]}}


def test_metadata_come_before_the_settings_of_the_site() -> None:
    site = settings({"partition": "main", "partitions": ["gpu"], "account": "bsc01", "time": "01:00:00"})
    assert resources(site, "Mare", Slurm(), ())[0] == Slurm("main", "bsc01", "01:00:00")
    wanted = Slurm("gpu", "mine", "00:10:00", 4, 2048, 2)
    assert resources(site, "Mare", wanted, ())[0] == wanted


def test_one_job_has_room_for_the_largest_step_and_time_for_all() -> None:
    needs = (StepNeeds("a", cores=4, memory=100, time=600), StepNeeds("b", cores=2, memory=8000, time=3000))
    found, remarks = resources(settings({"time": "00:05:00"}, **CWLTOOL), "Mare", Slurm(cores=1), needs)
    assert found == Slurm(cores=4, memory=8000, time="01:00:00")
    assert remarks == ()


def test_what_is_known_only_when_it_runs_gets_what_is_usual_and_is_told() -> None:
    needs = (StepNeeds("a", time=600), StepNeeds("b", unknown=("ResourceRequirement",)))
    found, remarks = resources(settings({"time": "00:05:00"}, **CWLTOOL), "Mare", Slurm(cores=3), needs)
    assert found == Slurm(cores=3, time="00:05:00")
    assert len(remarks) == 1
    assert "Step b: what it asks for (ResourceRequirement) is known only when it runs" in remarks[0]


def test_steps_that_are_jobs_of_their_own_ask_for_themselves() -> None:
    found, _ = resources(settings({}), "Mare", Slurm(), (StepNeeds("a", cores=4, memory=100, time=600),))
    assert found == Slurm()


@pytest.mark.parametrize("more", [{}, CWLTOOL], ids=["toil", "cwltool"])
def test_jobs_for_which_nobody_says_a_time_get_no_more_than_is_allowed(more: dict[str, Any]) -> None:
    site = settings({"max_time": "02:00:00"}, **more)
    assert resources(site, "Mare", Slurm(), [StepNeeds("a", unknown=("ToolTimeLimit",))])[0].time == "02:00:00"
    assert resources(site, "Mare", Slurm(time="00:10:00"), [StepNeeds("a")])[0].time == "00:10:00"


def test_what_metadata_ask_for_in_vain_is_told() -> None:
    _, remarks = resources(settings({}), "Mare", Slurm(cores=4, nodes=2, memory=100), [StepNeeds("a")])
    assert len(remarks) == 1
    assert "cores (4) and nodes (2)" in remarks[0]
    assert resources(settings({}), "Mare", Slurm(memory=100), [StepNeeds("a")])[1] == ()


@pytest.mark.parametrize(
    ("limits", "whole", "time"),
    [
        ({"time": "01:00:00"}, None, None),
        ({"time": "01:00:00", "max_time": "1-00:00:00"}, None, "1-00:00:00"),
        ({"max_time": "1-00:00:00", "leader_time": "3-00:00:00"}, None, "3-00:00:00"),
        ({"leader_time": "3-00:00:00"}, 3000.5, "01:00:01"),
        ({"leader_time": "01:00:00"}, 90000, "01:00:00"),
        ({}, 3000, "01:00:00"),
    ],
)
def test_the_runners_own_job_lasts_as_long_as_the_whole(
    limits: dict[str, str], whole: float | None, time: str | None
) -> None:
    steps = Slurm("main", "bsc01", "01:00:00", 8, 4000, 2)
    assert leaders(settings({"max_memory": 500}), steps, None).memory == 500
    assert leaders(settings(limits, leader="job"), steps, whole) == Slurm("main", "bsc01", time, memory=1024)


@pytest.mark.parametrize(
    ("limits", "wanted", "needs", "words"),
    [
        ({"max_time": "01:00:00"}, Slurm(time="02:00:00"), StepNeeds("a"), "metadata of the workflow ask for a time"),
        ({"max_time": "60"}, Slurm(), StepNeeds("align", time=3601), "The step align asks for a time of 01:00:01"),
        ({"max_cores": 8}, Slurm(cores=9), StepNeeds("a"), "for 9 cores; the site Mare allows 8 at most"),
        ({"max_cores": 8}, Slurm(), StepNeeds("a", cores=9), "The step a asks for 9 cores"),
        ({"max_memory": 100}, Slurm(memory=101), StepNeeds("a"), "for 101 MiB of memory"),
        ({"max_memory": 100}, Slurm(), StepNeeds("a", memory=101), "(setting slurm.max_memory)"),
        ({"partition": "main"}, Slurm(partition="gpu"), StepNeeds("a"), "the partition gpu, which the site Mare"),
        ({}, Slurm(partition="gpu"), StepNeeds("a"), "It names none that workflows may choose."),
    ],
)
@pytest.mark.parametrize("leader", ["login", "job"])
def test_more_than_is_allowed_is_refused(
    limits: dict[str, Any], wanted: Slurm, needs: StepNeeds, words: str, leader: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        resources(settings(limits, leader=leader), "Mare", wanted, [needs])
    assert words in caught.value.detail


@pytest.mark.parametrize("scheduler", ["slurm", "none"])
def test_more_than_the_workflows_own_limits_is_refused(scheduler: str) -> None:
    site = settings({"max_cores": 64, "max_memory": 9000} if scheduler == "slurm" else {}, scheduler=scheduler)
    limits = Limits(cores=4, memory=8 << 30)
    needs = [StepNeeds("a", cores=4, memory=8192)]
    resources(site, "Mare", Slurm(), needs, limits)
    for wanted, step, words in (
        (Slurm(cores=5), needs[0], "The metadata of the workflow ask for 5 cores; its metadata allow 4 at most"),
        (Slurm(), StepNeeds("b", cores=5), "The step b asks for 5 cores; its metadata allow 4 at most (limits.cores)"),
        (Slurm(), StepNeeds("b", memory=8193), "for 8193 MiB of memory; its metadata allow 8192 MiB at most"),
    ):
        with pytest.raises(BadRequest) as caught:
            resources(site, "Mare", wanted, [step], limits)
        assert words in caught.value.detail


def test_the_narrowest_limit_holds_for_what_is_known_only_when_it_runs() -> None:
    site = settings({"max_cores": 64, "max_memory": 9000})
    assert most(site, NO_LIMITS) == (64, 9000)
    assert most(site, Limits(cores=4, memory=8 << 30)) == (4, 8192)
    assert most(site, Limits(cores=100, memory=1 << 40)) == (64, 9000)
    assert most(settings({}), Limits(memory=1000)) == (None, 1)


def test_all_steps_together_may_be_too_long_for_one_job() -> None:
    needs = (StepNeeds("a", time=2000), StepNeeds("b", time=2000))
    site = settings({"max_time": "01:00:00"}, **CWLTOOL)
    with pytest.raises(BadRequest, match="All steps together ask for a time of 01:06:40"):
        resources(site, "Mare", Slurm(), needs)
    assert resources(site, "Mare", Slurm(time="00:30:00"), needs)[0].time == "00:30:00"


def test_a_time_limit_that_toil_evaluates_too_early_is_refused() -> None:
    needs = [StepNeeds("align", unknown=("ToolTimeLimit",), untimely=True)]
    with pytest.raises(BadRequest, match="The time limit of the step align is an expression"):
        resources(settings({}, scheduler="none"), "Mare", Slurm(), needs)
    assert resources(settings({}, **CWLTOOL), "Mare", Slurm(), needs)[0] == Slurm()


def test_without_a_scheduler_nothing_is_asked_for() -> None:
    site = settings({"max_cores": 1}, scheduler="none")
    assert resources(site, "Mare", Slurm(cores=9), [StepNeeds("a", cores=9)]) == (Slurm(), ())


def test_times_of_slurm() -> None:
    for text, number in (("01:02:03", 3723), ("2-00:00:01", 172801), ("90", 5400), ("100:00:00", 360000)):
        assert seconds(text) == number
    assert [slurm_time(number) for number in (59, 3600, 90000)] == ["00:00:59", "01:00:00", "1-01:00:00"]
