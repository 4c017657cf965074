"""Records what real Slurm answers, into this directory. As root, from the top folder:

    python -m tests.data.sites.slurm.record

Names of machines, accounts and directories are replaced by others. `by-hand.jsonl` isn't touched.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from examples.slurm.one_node import OneNode
from hpcwaas.engines.cwl.sites.slurm_jobs import Sacct, Scontrol, Squeue
from hpcwaas.engines.cwl.sites.slurm_places import Nodes, Partition, Projects, Trial

HERE = Path(__file__).parent
PATIENCE = 90.0


class Recorder:
    """Runs commands as an account, and writes what they answer."""

    def __init__(self, node: OneNode, name: str) -> None:
        self.node = node
        self.user = node.logins[0]
        self.file = HERE / f"{name}.jsonl"
        self.file.write_text("")
        host = node.said("hostname", "-s").strip()
        self.replaced = {str(node.directory): "/site", self.user.name: "alice", host: "node1"}

    def run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            env={**self.node.environment, "SLURM_TIME_FORMAT": "%s", "HOME": str(self.user.home)},
            cwd=self.user.home,
            user=self.user.uid,
            group=self.user.uid,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )

    def record(self, name: str, argv: Sequence[str], note: str = "") -> None:
        done = self.run(argv)
        answer = {"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
        text = json.dumps({"name": name, "note": note, "argv": list(argv), **answer})
        for found, instead in self.replaced.items():
            text = text.replace(found, instead)
        with self.file.open("a") as file:
            file.write(text + "\n")

    def submit(self, script: str, *options: str) -> str:
        done = self.run(["sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", script])
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def until(self, job: str, *states: str) -> None:
        """Waits until a job has a state."""
        self.wait(lambda: self.run(["squeue", "-h", "-t", "all", "-j", job, "-o", "%T"]).stdout.split()[0] in states)

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def job(self, name: str, job: str, note: str, *, accounting: bool) -> None:
        """What each command tells of a job."""
        self.record(f"squeue-{name}", Squeue(self.user.name).argv(), f"{note}; job {job}")
        self.record(f"scontrol-{name}", Scontrol(job).argv(), f"{note}; job {job}")
        if accounting:
            time.sleep(4)  # it knows late
            self.record(f"sacct-{name}", Sacct(self.user.name, [job]).argv(), f"{note}; job {job}")


def record(name: str, *, accounting: bool) -> None:
    """Records what a site answers."""
    directory = Path(tempfile.mkdtemp(prefix="hpcwaas-record-"))
    try:
        with OneNode(directory, accounting=accounting) as node:
            _record(Recorder(node, name), node, accounting=accounting)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _record(site: Recorder, node: OneNode, *, accounting: bool) -> None:
    def job(name: str, identifier: str, note: str) -> None:
        site.job(name, identifier, note, accounting=accounting)

    running = site.submit("sleep 600", "--job-name=a|b JobState=FAILED c", "--comment=hpcwaas:one|two")
    site.until(running, "RUNNING")
    job("running", running, "running, with odd names")
    held = site.submit("true", "--hold")
    job("held", held, "held by the user")
    site.run(["scancel", held])
    dependent = site.submit("true", f"--dependency=afterok:{running}")
    job("dependency", dependent, "waits for another")
    full = site.submit("sleep 600", "--cpus-per-task=16")
    site.wait(lambda: "Resources" in node.said("squeue", "-h", "-j", full, "-o", "%r"))
    job("resources", full, "waits for resources")
    behind = site.submit("sleep 600", "--cpus-per-task=16")
    site.wait(lambda: "Priority" in node.said("squeue", "-h", "-j", behind, "-o", "%r"))
    job("priority", behind, "waits behind another")
    for each in (dependent, full, behind):
        site.run(["scancel", each])
    job("cancelled-waiting", behind, "cancelled by its user before it began")
    node.said("scontrol", "requeue", running)
    site.until(running, "PENDING")
    job("requeued", running, "put back into the queue by an administrator")
    site.run(["scancel", running])
    done = site.submit("true")
    site.until(done, "COMPLETED")
    job("completed", done, "completed")
    failed = site.submit("exit 3")
    site.until(failed, "FAILED")
    job("failed", failed, "ended with status 3")
    killed = site.submit("kill -9 $$")
    site.until(killed, "FAILED")
    job("killed", killed, "killed by a signal")
    greedy = site.submit("python3 -c 'x = bytearray(400 << 20); import time; time.sleep(60)'", "--mem=100")
    site.until(greedy, "FAILED", "OUT_OF_MEMORY", "CANCELLED")
    job("memory", greedy, "used more memory than it had, without cgroups")
    mine = site.submit("sleep 600")
    site.until(mine, "RUNNING")
    if accounting:
        site.wait(lambda: "RUNNING" in site.run(["sacct", "-n", "-X", "-j", mine, "-o", "State"]).stdout)
    site.run(["scancel", mine])
    site.until(mine, "CANCELLED")
    job("cancelled", mine, "cancelled by its user")
    theirs = site.submit("sleep 600")
    site.until(theirs, "RUNNING")
    node.said("scancel", theirs)
    site.until(theirs, "CANCELLED")
    job("cancelled-admin", theirs, "cancelled by an administrator")
    tasks = site.submit("exit $SLURM_ARRAY_TASK_ID", "--array=0-2")
    site.wait(lambda: "PENDING" not in node.said("squeue", "-h", "-j", tasks, "-t", "all", "-o", "%T"))
    site.wait(lambda: "RUNNING" not in node.said("squeue", "-h", "-j", tasks, "-t", "all", "-o", "%T"))
    job("array", tasks, "an array of three")
    held_by_admin = site.submit("true", "--hold")
    node.said("scontrol", "hold", held_by_admin)
    job("held-admin", held_by_admin, "held by an administrator")
    site.run(["scancel", held_by_admin])
    long = site.submit("true", "--time=48:00:00")
    site.wait(lambda: "Limit" in node.said("squeue", "-h", "-j", long, "-o", "%r"))
    job("partition-limit", long, "asks for more time than the partition gives")
    site.run(["scancel", long])
    lost = site.submit("sleep 600", "--no-requeue")
    site.until(lost, "RUNNING")
    node.said("scontrol", "update", "nodename=" + node.said("hostname", "-s").strip(), "state=down", "reason=test")
    site.until(lost, "NODE_FAIL")
    job("node-fail", lost, "its node failed")
    node.said("scontrol", "update", "nodename=" + node.said("hostname", "-s").strip(), "state=drain", "reason=test")
    site.record("sinfo-down", Nodes("main").argv(), "the only node is down")
    site.record("trial-down", Trial("main", None, None).argv(), "the only node is down")
    waiting = site.submit("true")
    site.wait(lambda: "Node" in node.said("squeue", "-h", "-j", waiting, "-o", "%r"))
    job("nodes-down", waiting, "waits for nodes that are down")
    site.run(["scancel", waiting])
    node.said("scontrol", "update", "nodename=" + node.said("hostname", "-s").strip(), "state=resume")
    job("unknown", "99999", "Slurm doesn't know the job")
    if not accounting:
        site.record("sacct-disabled", Sacct(site.user.name, ["1"]).argv(), "there is no database")
    if accounting:
        node.said("sacctmgr", "-i", "modify", "account", "physics", "set", "GrpJobs=0")
        grouped = site.submit("true")
        site.wait(lambda: "Assoc" in node.said("squeue", "-h", "-j", grouped, "-o", "%r"))
        job("assoc-limit", grouped, "its project has as many jobs as it may")
        site.run(["scancel", grouped])
        node.said("sacctmgr", "-i", "modify", "account", "physics", "set", "GrpJobs=-1")
    # A star means that it doesn't answer yet.
    site.wait(lambda: node.said("sinfo", "-h", "-p", "main", "-o", "%T").strip() in ("idle", "mixed", "allocated"))
    limited = site.submit("sleep 600", "--time=1")
    _record_places(site, node)
    site.until(limited, "TIMEOUT")
    job("timeout", limited, "ended by its time limit")
    node.slurmctld.stop()
    job("no-controller", "1", "the controller is down")
    _record_trials(site, "no-controller", "the controller is down")
    if accounting:
        node.slurmctld.start()
        node.slurmdbd.stop()
        site.record("sacct-no-database", Sacct(site.user.name, ["1"]).argv(), "the database's server is down")
        site.record("projects-no-database", Projects(site.user.name).argv(), "the database's server is down")


def _record_places(site: Recorder, node: OneNode) -> None:
    site.record("partition-main", Partition("main").argv())
    site.record("partition-staff", Partition("staff").argv(), "for another group")
    site.record("partition-unknown", Partition("nope").argv())
    site.record("sinfo-up", Nodes("main").argv())
    site.record("projects", Projects(site.user.name).argv())
    for name, trial in {
        "ok": Trial("main", None, "00:10:00"),
        "default": Trial(None, None, None),
        "project": Trial("main", "physics", None),
        "project-unknown": Trial("main", "nope", None),
        "partition-unknown": Trial("nope", None, None),
        "partition-staff": Trial("staff", None, None),
        "time": Trial("main", None, "48:00:00"),
    }.items():
        site.record(f"trial-{name}", trial.argv())
    site.record("sbatch-qos", ["sbatch", "--test-only", "--qos=nope", "--wrap", "true"])
    site.record("sbatch-memory", ["sbatch", "--test-only", "--mem=100G", "--wrap", "true"])
    node.said("scontrol", "update", "partitionname=main", "state=inactive")
    site.record("partition-inactive", Partition("main").argv())
    site.record("trial-inactive", Trial("main", None, None).argv())
    node.said("scontrol", "update", "partitionname=main", "state=up")


def _record_trials(site: Recorder, name: str, note: str) -> None:
    site.record(f"partition-{name}", Partition("main").argv(), note)
    site.record(f"sinfo-{name}", Nodes("main").argv(), note)
    site.record(f"trial-{name}", Trial("main", None, None).argv(), note)


if __name__ == "__main__":
    record("plain", accounting=False)
    record("accounting", accounting=True)
