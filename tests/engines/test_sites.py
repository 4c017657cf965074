"""Sites as the engine offers them: where what may run, how it is brought there, and how it goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcwaas.core.models import Status
from hpcwaas.core.outputs import OutputFile
from hpcwaas.core.site_models import LOCAL, Placement
from hpcwaas.engines.cwl.inputs.fetch import FetchError
from hpcwaas.engines.cwl.inputs.job import FetchedFile
from hpcwaas.engines.cwl.sites import courier, starting, transfer
from hpcwaas.engines.cwl.sites.agent.starting import start
from hpcwaas.engines.cwl.sites.connection import RemoteFileError
from hpcwaas.engines.cwl.workflows.metadata import Limits
from hpcwaas.engines.cwl.workflows.slurm import Slurm, StepNeeds
from hpcwaas.errors import BadRequest, Conflict, Unavailable
from tests.engines.cwl_bench import DETAILS
from tests.engines.site_bench import OUTPUT, PLACEMENT, SiteBench, opened

TOIL = """#!/bin/sh
for word; do case $word in --jobStore=file:*) store=${word#--jobStore=file:};; --restart) restart=1;; esac; done
echo "$*" >> $HOME/lines; mkdir -p "$store"
[ "$restart" ] && [ -e $HOME/mended ] && echo '{}' && exit 0
echo 'it broke' >&2; exit 1
"""
"""Fails until it is mended and started again."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "RATE", 20.0)
    monkeypatch.setattr(courier, "WAIT", 0.3)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SiteBench]:
    with opened(tmp_path) as bench:
        yield bench


def test_sites_are_listed_without_asking_any(bench: SiteBench) -> None:
    [site] = bench.engine.sites()
    assert (site.id, site.title, site.scheduler, site.state, site.accounts) == (
        *("mare", "Mare", "none", "available", True),
    )
    bench.site["maintenance"] = "until Monday"
    bench.again()
    assert bench.engine.sites()[0].state == "maintenance"
    assert bench.logins.commands == []


def test_where_a_workflow_may_run(bench: SiteBench) -> None:
    job = replace(bench.job("true"), placement=None)
    assert bench.engine.place(job, DETAILS, PLACEMENT).placement == PLACEMENT
    for placement in (Placement("lumi", "u", "k"), Placement(LOCAL)):
        with pytest.raises(BadRequest, match=f"There is no site {placement.site}"):
            bench.engine.place(job, DETAILS, placement)
    elsewhere = replace(DETAILS, workflow=replace(DETAILS.workflow, sites=frozenset({"lumi"})))
    with pytest.raises(BadRequest, match="may not run on the site mare"):
        bench.engine.place(job, elsewhere, PLACEMENT)


def test_what_is_beyond_the_limits_of_a_site_is_refused(bench: SiteBench) -> None:
    bench.site |= {"scheduler": "slurm", "slurm": {"max_cores": 4}}
    bench.again()
    job = replace(bench.job("true"), slurm=Slurm(cores=8))
    with pytest.raises(BadRequest, match="8 cores; the site Mare allows 4"):
        bench.engine.place(job, DETAILS, PLACEMENT)
    assert bench.engine.place(replace(job, slurm=Slurm(cores=4)), DETAILS, PLACEMENT).slurm == Slurm(cores=4)


def test_nothing_new_starts_in_maintenance_and_what_runs_goes_on(bench: SiteBench) -> None:
    reference = bench.start("while [ ! -e $HOME/go ]; do sleep 0.1; done; echo '{}'")
    bench.running(reference)
    bench.site["maintenance"] = "new disks until Monday"
    bench.again()
    with pytest.raises(Unavailable, match="in maintenance: new disks until Monday"):
        bench.engine.place(bench.job("true"), DETAILS, PLACEMENT)
    (bench.home / "go").touch()
    assert bench.end(reference).status is Status.SUCCEEDED


def test_files_from_the_web_are_fetched_by_the_service(bench: SiteBench, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def fetch(url: str, target: Path, *_: object) -> None:
        fetched.append(url)
        if "gone" in url:
            raise FetchError(f"{url}: the server answered 404")
        target.write_text("from afar")

    monkeypatch.setattr(transfer, "fetch", fetch)
    monkeypatch.setitem(bench.settings, "http_inputs", True)
    bench.again()
    job = bench.job("cat $here/inputs/0/a.txt >&2; echo '{}'")
    reference = bench.begin(replace(job, fetched=(FetchedFile("https://x.example/a.txt", "inputs/0/a.txt"),)))
    assert bench.end(reference).status is Status.SUCCEEDED
    assert "from afar" in bench.text(reference)
    gone = bench.begin(replace(job, fetched=(FetchedFile("https://x.example/gone", "inputs/0/a.txt"),)))
    state = bench.end(gone)
    assert state.status is Status.FAILED
    assert state.reason == ("An input could not be downloaded. https://x.example/gone: the server answered 404")
    assert len(fetched) == 2


def test_a_failed_execution_goes_on_where_it_failed(bench: SiteBench, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="can't go on where an execution failed"):
        bench.engine.resume(failed(bench))
    toil = tmp_path / "toil-cwl-runner"
    toil.write_text(TOIL)
    toil.chmod(0o755)
    bench.site["runner"] = {"command": [str(toil)]}
    bench.again()
    reference = failed(bench)
    (bench.home / "mended").touch()
    bench.engine.resume(reference)
    assert not bench.engine.state(reference).status.over
    with pytest.raises(Conflict, match="only one that has FAILED"):
        bench.engine.resume(reference)
    assert bench.end(reference).status is Status.SUCCEEDED
    lines = (bench.home / "lines").read_text().splitlines()
    assert ["--restart" in line for line in lines] == [False, True]


def failed(bench: SiteBench) -> str:
    reference = bench.start("exit 3")
    assert bench.end(reference).status is Status.FAILED
    return reference


def test_what_runners_are_told(bench: SiteBench) -> None:
    bench.site |= {"runner": {"command": ["toil-cwl-runner"]}, "leader": "job", "scheduler": "slurm"}
    bench.site |= {"slurm": {"max_cores": 4, "max_memory": 1000, "time": "00:10:00", "max_time": "01:00:00"}}
    bench.again()
    job = replace(bench.job("true"), needs=(StepNeeds("tool", mpi=True, processes=("tool.cwl",), scatter=True),))
    job = bench.engine.place(replace(job, slurm=Slurm(cores=2, memory=500)), DETAILS, PLACEMENT)
    bench.logins.failure = Unavailable("Not now.")
    reference = bench.begin(job)
    site = bench.engine._sites.remote["mare"]
    intent = site._mirror.intent(reference.removeprefix("mare:"))
    assert intent is not None
    told = starting.request(site._around.settings, intent, "d" * 64, (), prologue="module load x", log=1, order={})
    assert told["arguments"] == [
        *("--enable-ext", "--maxCores=4", "--no-cwl-default-ram", "--defaultMemory=500Mi", "--maxMemory=1000Mi")
    ]
    assert (told["slurm"]["time"], told["leader_slurm"]["time"], told["most_time"]) == ("00:10:00", "01:00:00", 3600)
    assert told["leader_slurm"]["memory_mib"] == 1000
    assert ["cores (2)" in remark for remark in told["remarks"]] == [True]
    known = {"name": "tool", "label": None, "processes": ["tool.cwl"], "process": "", "scatter": True, "total": None}
    assert told["steps"] == [known]
    assert told["document"] == f"workflows/{'d' * 64}/tool.cwl"
    assert told["comment"] == f"hpcwaas:{intent.id}"
    json.dumps(told)


def test_a_site_has_its_own_container_engine(bench: SiteBench) -> None:
    bench.site |= {"runner": {"command": ["cwltool"], "arguments": ["--debug"]}, "containers": "apptainer"}
    bench.again()
    bench.logins.failure = Unavailable("Not now.")
    reference = bench.begin(bench.engine.place(bench.job("true"), DETAILS, PLACEMENT))
    site = bench.engine._sites.remote["mare"]
    intent = site._mirror.intent(reference.removeprefix("mare:"))
    assert intent is not None
    told = starting.request(site._around.settings, intent, "d" * 64, (), prologue=None, log=1, order={})
    assert told["arguments"] == ["--singularity", "--debug"]


def test_a_site_without_containers_refuses_what_requires_one(bench: SiteBench) -> None:
    bench.site |= {"runner": {"command": ["cwltool"]}, "containers": "none"}
    bench.again()
    boxed = replace(bench.job("true"), needs=(StepNeeds("tool", images=("debian:12",)),))
    with pytest.raises(BadRequest, match="Step tool runs in a container, debian:12, and containers are turned off"):
        bench.engine.place(boxed, DETAILS, PLACEMENT)
    hinted = replace(boxed, needs=(StepNeeds("tool", hinted=("debian:12",)),))
    assert bench.engine.place(hinted, DETAILS, PLACEMENT).placement == PLACEMENT


def test_a_workflows_own_limits_are_told_to_the_runner(bench: SiteBench) -> None:
    bench.site |= {"runner": {"command": ["toil-cwl-runner"]}, "leader": "job", "scheduler": "slurm"}
    bench.site |= {"slurm": {"max_cores": 4, "max_memory": 4000}}
    bench.again()
    job = replace(bench.job("true"), time=7200.0, limits=Limits(cores=2, memory=1 << 30, time=3600.0))
    with pytest.raises(BadRequest, match="its metadata allow 2 at most"):
        bench.engine.place(replace(job, needs=(StepNeeds("tool", cores=3),)), DETAILS, PLACEMENT)
    job = bench.engine.place(job, DETAILS, PLACEMENT)
    bench.logins.failure = Unavailable("Not now.")
    reference = bench.begin(job)
    site = bench.engine._sites.remote["mare"]
    intent = site._mirror.intent(reference.removeprefix("mare:"))
    assert intent is not None
    told = starting.request(site._around.settings, intent, "d" * 64, (), prologue=None, log=1, order={})
    assert told["arguments"] == ["--maxCores=2", "--maxMemory=1024Mi"]
    assert told["time"] == 3600.0
    assert told["leader_slurm"]["time"] == "01:10:00"


@pytest.mark.parametrize("taken", [True, False])
def test_who_brings_the_same_to_the_same_directory_may_be_faster(
    bench: SiteBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    file = tmp_path / "reads.fastq"
    file.write_bytes(b"ACGT")
    send, sent = transfer.send, []

    def too_late(connection: Any, work_dir: str, missing: Mapping[str, Path], wanted: Any) -> set[str]:
        there = send(connection, work_dir, missing, wanted)
        sent.append(there)
        digest = hashlib.sha256(b"ACGT").hexdigest()
        if digest in there and (not taken or len(sent) == 1):
            part = bench.work_dir / "content" / f"{digest}.part"
            part.rename(part.with_suffix("")) if taken else part.unlink()
            raise RemoteFileError("missing", digest, "there is no such file")
        return there

    monkeypatch.setattr(transfer, "send", too_late)
    state = bench.end(bench.start("cat $here/inputs/0/* >&2; echo '{}'", file))
    if taken:
        assert (state.status, bench.began()) == (Status.SUCCEEDED, 1), state
    else:
        assert (state.status, bench.began()) == (Status.FAILED, 0)
        assert state.reason == "reads.fastq was sent to mare 3 times and never arrived as it was sent."


@pytest.mark.parametrize("error", [FileNotFoundError("content"), ValueError("It is damaged: File exists.")])
def test_who_unpacks_the_same_workflow_may_be_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    (tmp_path / "content").mkdir()
    digest = hashlib.sha256(b"packed").hexdigest()
    part, target = tmp_path / "content" / f"{digest}.part", tmp_path / "workflows" / digest

    def too_late(*_: str) -> None:
        target.mkdir(parents=True)
        raise error

    monkeypatch.setattr("hpcwaas.engines.cwl.sites.agent.starting.unpack", too_late)
    part.write_bytes(b"packed")
    order = {"work_dir": str(tmp_path), "accept": {"workflows": [digest]}}
    assert start(order) == {"accepted": [digest], "wrong": [], "executions": {}}


def test_nothing_runs_when_nothing_is_unfinished(bench: SiteBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "_LINGER", 0.2)
    assert bench.end(bench.start(OUTPUT)).status is Status.SUCCEEDED
    couriers = bench.engine._sites.remote["mare"]._couriers
    bench.wait(lambda: not couriers._couriers)
    assert bench.end(bench.start(OUTPUT)).status is Status.SUCCEEDED


@pytest.mark.parametrize("checksum", ["a\\r\\nSet-Cookie: x=1", 'a\\"b', "sha1$"])
def test_what_a_tool_says_of_its_file_is_no_header(bench: SiteBench, checksum: str) -> None:
    told = f'{{"class": "File", "location": "file://\'$outdir\'/file.txt", "checksum": "{checksum}"}}'
    reference = bench.start(f"echo text > file.txt; printf '%s' '{{\"file\": {told}}}'")
    assert bench.end(reference).status is Status.SUCCEEDED
    output = bench.engine.output(reference, "file", None, "zip")
    assert isinstance(output, OutputFile)
    with output.stream:
        assert re.fullmatch(r"[0-9a-f]+-[0-9.]+", output.etag)
