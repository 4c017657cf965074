"""Executions on a real site: a Slurm with an SSH server before it, started for the tests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from examples.slurm.logins import Login
from hpcwaas.core.site_models import LOCAL
from tests.e2e.processes import eventually, log_text
from tests.service import Client
from tests.system.slurm_site import Site, SiteService, one_node

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SITES = ("login", "job", "toil", "plain")
PATIENCE = 120.0
DATA = Path(__file__).parents[2] / "examples" / "data"


REPOSITORY = {
    "flows/count.cwl": """cwlVersion: v1.2
class: Workflow
inputs: {text: File}
outputs: {number: {type: File, outputSource: count/number}}
steps: {count: {run: ../tools/lines/count.cwl, in: {text: text}, out: [number]}}
""",
    "flows/other.cwl": "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: 'true'\ninputs: []\noutputs: []\n",
    "tools/lines/count.cwl": """cwlVersion: v1.2
class: CommandLineTool
baseCommand: sh
stdout: number.txt
inputs:
  script: {type: File, inputBinding: {position: 1}, default: {class: File, location: ../../scripts/count.sh}}
  text: {type: File, inputBinding: {position: 2}}
outputs: {number: stdout}
""",
    "tools/lines/other.cwl": "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: 'true'\ninputs: []\noutputs: []\n",
    "scripts/count.sh": 'wc -l <"$1" | tr -d " "\n',
}
"""Of workflows as repositories have them: none lies at the top, and each refers to what lies beside its folder."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with one_node() as site:
        yield site


@pytest.fixture(scope="module")
def service(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteService]:
    """The service, with the same machine as four sites: they differ in the runner, and in where it runs."""
    service = SiteService(
        tmp_path_factory.mktemp("service"),
        {
            "login": site.settings("cwltool", work_dir="{home}/login"),
            "job": site.settings("cwltool", work_dir="{home}/job", leader="job"),
            "toil": site.settings("toil", work_dir="{home}/toil"),
            "plain": site.settings("cwltool", work_dir="{home}/plain", scheduler="none", slurm={}),
        },
    )
    for path, content in REPOSITORY.items():
        (service.catalogue / path).parent.mkdir(parents=True, exist_ok=True)
        (service.catalogue / path).write_text(content)
    try:
        service.start()
        client = service.as_user("alice")
        key = service.connect("alice", "login", site.alice)
        for each in SITES[1:]:
            answer = client("PUT", f"/sites/{each}/account", json={"user": site.alice.name, "ssh_key": key})
            assert answer.ok, answer.text
        yield service
    finally:
        service.end()


@pytest.fixture
def alice(service: SiteService) -> Client:
    return service.as_user("alice")


def jobs(execution: dict[str, Any]) -> list[str]:
    """Ids of an execution's jobs, as its steps show them."""
    return [step["job"]["id"] for step in execution["steps"] if step.get("job")]


@pytest.mark.parametrize("where", SITES)
def test_the_check_finds_everything_in_order(service: SiteService, alice: Client, where: str) -> None:
    checked = alice("POST", f"/sites/{where}/account/check").json()

    found = {point["id"]: point["status"] for point in checked["points"]}
    assert found.pop("containers") in ("ok", "warning")  # these sites name no engine, and not every machine has Docker
    assert {name: status for name, status in found.items() if status != "ok"} in (
        {},
        {"scheduler": "skipped", "partition": "skipped", "project": "skipped"}
        if where == "plain"
        else {"project": "skipped"},
    ), checked
    assert checked["usable"] is True


def test_the_examples_run_unchanged(service: SiteService, site: Site, alice: Client) -> None:
    texts = [alice.upload(name, text) for name, text in (("one.txt", b"The cat; the dog."), ("two words.txt", b"the"))]
    records = alice.upload("measurements.csv", (DATA / "measurements.csv").read_bytes())
    inputs: dict[str, dict[str, Any]] = {
        "word-statistics": {"texts": texts, "top": 1},
        "parameter-sweep": {"transmission_rates": [0.2, 0.4], "days": 50},
        "slow-count": {"seconds": 1},
        "failing-halfway": {"records": records},
    }
    before = len(site.submitted())
    paths = {
        (where, example): service.start_on(alice, where, example, **given)
        for where in SITES
        for example, given in inputs.items()
    }
    ended = {key: alice.finished(path, within=PATIENCE * 2) for key, path in paths.items()}

    for (where, example), execution in ended.items():
        expected = "FAILED" if example == "failing-halfway" else "SUCCEEDED"
        told = "\n".join(log_text(alice, paths[where, example]))
        assert execution["status"] == expected, (where, example, execution["reason"], told)
        assert (execution["site"], execution["account"]) == (where, site.alice.name)
        assert execution["directory"].startswith(f"{site.alice.home}/{where}/executions/")
        assert Path(execution["directory"]).is_dir()
    for where in SITES:
        words = ended[where, "word-statistics"]["outputs"]
        path = paths[where, "word-statistics"]
        assert alice("GET", f"{path}/outputs/total").json() == 5, words
        assert alice("GET", f"{path}/outputs/table").text.splitlines()[1] == "the,3,2,1"
        assert "one.txt: 4 words, 3 distinct" in "\n".join(log_text(alice, path))
        assert {step["status"] for step in ended[where, "word-statistics"]["steps"]} == {"SUCCEEDED"}
        runs = {step["name"]: step["scatter"] for step in ended[where, "parameter-sweep"]["steps"] if step["scatter"]}
        assert runs == {"simulate": {"total": 2, "done": 2, "failed": 0, "skipped": 0, "running": 0}}, where
        archive = alice("GET", f"{paths[where, 'parameter-sweep']}/outputs/curves", params={"format": "zip"})
        assert archive.content.startswith(b"PK")
        failed = log_text(alice, paths[where, "failing-halfway"])
        assert any("line 11: temperature is 'n/a', expected a number" in line for line in failed)
    # With Toil each step is a job, with `job` each execution; everything else runs on the login node.
    submitted = site.submitted()[before:]
    shown = {job for key, execution in ended.items() if key[0] == "toil" for job in jobs(execution)}
    assert shown <= set(submitted)
    assert len(shown) >= 6
    assert site.queued() == []


def test_workflows_of_a_repository_run_as_they_lie_there(service: SiteService, alice: Client) -> None:
    text = alice.upload("text.txt", b"a\nb\nc\n")
    paths = {where: service.start_on(alice, where, "flows.count", text=text) for where in SITES}
    for where, path in paths.items():
        execution = alice.finished(path, within=PATIENCE * 2)
        assert execution["status"] == "SUCCEEDED", (where, execution["reason"], log_text(alice, path))
        assert alice("GET", f"{path}/outputs/number").text == "3\n"


def test_nothing_is_sent_twice(service: SiteService, site: Site, alice: Client) -> None:
    content = b"x" * 3_000_000
    first, second = alice.upload("first.bin", content), alice.upload("second.bin", content)
    for upload in (first, second):
        path = service.start_on(alice, "login", "script", script="wc -c <$0 >size.txt", given=[upload])
        assert alice.finished(path, within=PATIENCE)["status"] == "SUCCEEDED"
        assert alice("GET", f"{path}/outputs/files", params={"path": "0"}).text == "3000000\n"
    stored = [each for each in (site.alice.home / "login" / "content").iterdir() if each.stat().st_size == len(content)]
    assert len(stored) == 1


def test_an_output_is_an_input_wherever_it_lies(service: SiteService, site: Site, alice: Client) -> None:
    source = service.start_on(alice, "login", "script", script="echo made >made.txt")
    done = alice.finished(source, within=PATIENCE)
    assert done["status"] == "SUCCEEDED", (done["reason"], log_text(alice, source))
    made = Path(done["directory"]) / "outputs" / "made.txt"
    before = sorted((site.alice.home / "login" / "content").iterdir())
    given = [done["outputs"]["files"][0]]
    read = 'cat "$0" >got.txt; echo no >>"$0" || true'
    paths = {where: service.start_on(alice, where, "script", script=read, given=given) for where in (*SITES, LOCAL)}
    for where, path in paths.items():
        taken = alice.finished(path, within=PATIENCE * 2)
        assert taken["status"] == "SUCCEEDED", (where, taken["reason"], log_text(alice, path))
        assert taken["inputs_from"] == [done["id"]]
        assert alice("GET", f"{path}/outputs/files", params={"path": "0"}).text == "made\n"
    # Where it lies it was linked, and a tool can't write to it.
    assert sorted((site.alice.home / "login" / "content").iterdir()) == before
    assert (made.read_text(), made.stat().st_mode & 0o777) == ("made\n", 0o400)
    here = alice("GET", paths[LOCAL]).json()["outputs"]["files"][0]
    back = service.start_on(alice, "plain", "script", script=read, given=[here])
    assert alice.finished(back, within=PATIENCE)["status"] == "SUCCEEDED"
    assert alice("GET", f"{back}/outputs/files", params={"path": "0"}).text == "made\n"
    made.unlink()
    gone = service.start_on(alice, "login", "script", script=read, given=given)
    failed = alice.finished(gone, within=PATIENCE)
    assert failed["status"] == "FAILED"
    assert failed["reason"] == (
        f"made.txt, an output of the execution {done['id']} and an input of this one, on login is missing: it was "
        "removed there, or its file system was purged."
    )


@pytest.mark.parametrize("where", ["login", "job", "toil"])
def test_a_log_is_followed_and_outputs_come_in_pieces(service: SiteService, alice: Client, where: str) -> None:
    script = "for n in 1 2 3 4 5 6; do echo line $n >&2; sleep 1; done; printf 0123456789 >out.txt"
    path = service.start_on(alice, where, "script", script=script)
    lines: list[str] = []
    seen_running = False
    while True:
        page = alice("GET", f"{path}/logs", params={"from": len(lines), "timeout": "20s", "levels": 15}).json()
        lines += [entry["content"] for entry in page["logs"]]
        seen_running |= any("line 2" in line for line in lines) and page["status"] == "RUNNING"
        if page["over"]:
            break

    assert page["status"] == "SUCCEEDED", lines
    if where != "toil":  # which tells what a tool has said when the tool has ended
        assert seen_running
    assert [line for line in lines if line.endswith("line 6")]
    whole = alice("GET", f"{path}/outputs/files", params={"path": "0"})
    assert whole.text == "0123456789"
    piece = alice("GET", f"{path}/outputs/files", params={"path": "0"}, headers={"Range": "bytes=2-5"})
    assert (piece.status_code, piece.text) == (206, "2345")


@pytest.mark.parametrize("where", SITES)
def test_cancelling_leaves_neither_job_nor_process(service: SiteService, site: Site, alice: Client, where: str) -> None:
    marker = site.alice.home / f"began-{where}"
    path = service.start_on(alice, where, "script", script=f"touch {marker}; sleep 600")
    eventually(marker.exists, PATIENCE)
    assert (site.queued() != []) is (where in ("job", "toil"))
    assert alice("DELETE", path).status_code == 202

    assert alice.finished(path, within=PATIENCE)["status"] == "CANCELLED"
    eventually(lambda: site.queued() == [])
    eventually(lambda: "sleep 600" not in site.said("ps", "-u", site.alice.name, "-o", "args"))


def test_a_failed_one_is_resumed_where_it_failed(service: SiteService, site: Site, alice: Client) -> None:
    service.publish("two-steps", TWO_STEPS)
    eventually(lambda: alice("GET", "/workflows/two-steps").status_code == 200)
    runs, good = site.alice.home / "runs", site.alice.home / "good"
    path = service.start_on(alice, "toil", "two-steps", runs=str(runs), good=str(good))
    failed = alice.finished(path, within=PATIENCE)
    assert failed["status"] == "FAILED", failed
    assert runs.read_text() == "first\n"
    site.alice.write("good", "")
    assert alice("POST", f"{path}/resume").status_code == 202

    resumed = alice.finished(path, within=PATIENCE)
    assert resumed["status"] == "SUCCEEDED", (resumed, log_text(alice, path))
    assert runs.read_text() == "first\nsecond\n"
    assert [attempt["status"] for attempt in resumed["attempts"]] == ["FAILED", "SUCCEEDED"]


def test_a_container_that_the_site_cannot_run_is_told_in_plain_words(service: SiteService, alice: Client) -> None:
    service.publish("boxed", BOXED)
    eventually(lambda: alice("GET", "/workflows/boxed").status_code == 200)
    for path in [service.start_on(alice, where, "boxed") for where in ("login", "toil")]:
        failed = alice.finished(path, within=PATIENCE)
        assert failed["status"] == "FAILED"
        assert failed["reason"].startswith(
            "A tool asks for a container (DockerRequirement), and there is none where it runs: "
        ), (failed, log_text(alice, path))


def test_what_a_job_does_is_said_in_plain_words(service: SiteService, site: Site, alice: Client) -> None:
    blocker = site.said(
        "sbatch",
        "--parsable",
        "--exclusive",
        "--uid",
        site.alice.name,
        "--chdir=/",
        "--output=/dev/null",
        "--wrap=sleep 600",
    ).strip()
    try:
        eventually(lambda: site.queued() == [blocker], PATIENCE)
        path = service.start_on(alice, "job", "slow-count", seconds=2)
        eventually(lambda: "waits" in (alice("GET", path).json()["reason"] or ""), PATIENCE)
        waiting = alice("GET", path).json()
        (job,) = set(site.queued()) - {blocker}
        assert waiting["status"] == "PENDING"
        assert waiting["reason"] in [f"Slurm job {job} waits, reason {why}" for why in ("Priority", "Resources")]
    finally:
        site.said("scancel", blocker)
    done = alice.finished(path, within=PATIENCE)
    assert done["status"] == "SUCCEEDED"


def test_a_jobs_times_are_those_of_slurm(service: SiteService, site: Site, alice: Client) -> None:
    path = service.start_on(alice, "toil", "slow-count", seconds=1)
    done = alice.finished(path, within=PATIENCE)
    assert done["status"] == "SUCCEEDED", done
    for step in done["steps"]:
        job = step["job"]
        told = site.said("scontrol", "show", "job", job["id"])
        assert job["state"] == "COMPLETED"
        assert "JobState=COMPLETED" in told
        for member, name in (("submitted_at", "SubmitTime"), ("started_at", "StartTime"), ("ended_at", "EndTime")):
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(_seconds(job[member])))
            assert f"{name}={moment}" in told
        assert f"NodeList={job['node']}" in told


def test_neither_of_two_users_reads_anything_of_the_other(service: SiteService, site: Site, alice: Client) -> None:
    bob = service.as_user("bob")
    assert bob("GET", "/sites/login/account").status_code == 404
    service.connect("bob", "login", site.bob)
    hers = service.start_on(alice, "login", "script", script="echo hers | tee hers.txt >&2")
    his = service.start_on(bob, "login", "script", script="echo his | tee his.txt >&2")
    ended = {"hers": alice.finished(hers, within=PATIENCE), "his": bob.finished(his, within=PATIENCE)}
    assert [each["status"] for each in ended.values()] == ["SUCCEEDED"] * 2
    assert [each["account"] for each in ended.values()] == [site.alice.name, site.bob.name]
    for client, other in ((alice, his), (bob, hers)):
        for suffix in ("", "/logs", "/outputs/files"):
            assert client("GET", other + suffix).status_code == 404
        assert other not in client("GET", "/executions").text
    assert bob("GET", "/sites/login/account").json()["user"] == site.bob.name
    assert alice("GET", "/sites/login/account").json()["user"] == site.alice.name
    # Nor does the account of one read the other's files.
    for login, directory in ((site.alice, ended["his"]["directory"]), (site.bob, ended["hers"]["directory"])):
        assert Path(directory).is_dir()
        assert "Permission denied" in site.said("setpriv", *as_login(login), "ls", directory)
    # What is shared can be an input all the same: it is read by her account, and written by his.
    given = {"given": [ended["hers"]["outputs"]["files"][0]], "script": 'cat "$0" >his.txt'}
    assert alice("PUT", f"{hers}/shares", json={"users": ["bob"], "groups": []}).ok
    taken = service.start_on(bob, "login", "script", **given)
    assert bob.finished(taken, within=PATIENCE)["status"] == "SUCCEEDED"
    assert bob("GET", f"{taken}/outputs/files", params={"path": "0"}).text == "hers\n"
    assert alice("PUT", f"{hers}/shares", json={"users": [], "groups": []}).ok
    refused = bob("POST", "/workflows/script", json={"inputs": given, "site": "login"})
    assert refused.status_code == 400
    assert "There is no such execution, or none that you may see" in refused.json()["detail"]


def as_login(login: Login) -> tuple[str, ...]:
    """What runs a command as an account, with no rights beyond its own."""
    return (
        "--reuid",
        str(login.uid),
        "--regid",
        str(login.uid),
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    )


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


BOXED = """\
cwlVersion: v1.2
class: CommandLineTool
requirements: {DockerRequirement: {dockerPull: "registry.invalid/boxed:1"}}
baseCommand: [cat, /etc/os-release]
inputs: {}
outputs: {release: stdout}
"""

TWO_STEPS = """\
cwlVersion: v1.2
class: Workflow
inputs: {runs: string, good: string}
outputs: {done: {type: File, outputSource: second/done}}
steps:
  first:
    in: {runs: runs}
    out: [done]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo first >>"$0"']
      arguments: [$(inputs.runs)]
      inputs: {runs: string}
      outputs: {done: stdout}
      stdout: first.txt
  second:
    in: {runs: runs, good: good, after: first/done}
    out: [done]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'test -e "$1" && echo second >>"$0"']
      arguments: [$(inputs.runs), $(inputs.good)]
      inputs: {runs: string, good: string, after: File}
      outputs: {done: stdout}
      stdout: second.txt
"""
