"""What a site costs through the service, beside the same without it, on a Slurm of one node that is started for it.

Everything is measured in turns in this run; the ratios are what counts. Goals:

    job       from the trigger of a job of a second to SUCCEEDED, beside `ssh HOST sbatch --wait` of the same: at most
              1.5 times that and a second
    toil      a workflow with Toil, beside the bare `toil-cwl-runner` on the login node: at most 1.15
    commands  sessions and connections of one account from the trigger of 1, 50 and 200 executions to their ends: at
              most one session in two seconds, and one connection, however many there are
    log       from when a line of the log is written to when its follower has it: at most 3 seconds for 95 % of them
    file      64 MiB, and a GiB, to the site and back, beside plain `sftp`: at least 0.8 of its speed

    python benchmarks/sites.py [--rounds N] [job|toil|commands|log|file …]

Needs root and the packages of `bash .ci/packages demo-site`; says so where they are missing. Ends with 1 if a goal is
missed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from examples.slurm.daemons import CannotStartError
from tests.service import Client
from tests.system.slurm_site import Site, SiteService, one_node

ROOT = Path(__file__).parents[1]
SECOND = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sleep, "1"]
inputs: {}
outputs: {}
"""
LINES = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'for n in $(seq LINES); do date +%s.%N >&2; sleep 0.5; done']
inputs: {}
outputs: {}
"""
_LINES = 40
_WORK = 30.0
"""Seconds that executions of a crowd run, with the time that it takes to start all of them."""
IDLER = """\
#!/bin/sh
# As a CWL runner, the least that a crowd of them can be.
sleep "$(cat "$HOME/seconds")"
echo '{"files": []}'
"""


class Bench:
    """The site and the service, with one user and her account.

    Attributes:
        failed: whether a goal was missed.
    """

    def __init__(self, site: Site, service: SiteService, directory: Path) -> None:
        self.site, self.service, self.directory = site, service, directory
        self.failed = False
        self.client: Client = service.as_user("alice")
        self._key = directory / "key"
        self._key.touch(0o600)
        identifier = service.connect("alice", "job", site.alice)
        self._key.write_text(service.private_key(identifier))
        for name in service.settings["sites"]:
            account = {"user": site.alice.name, "ssh_key": identifier}
            assert self.client("PUT", f"/sites/{name}/account", json=account).ok

    def ssh(self, *command: str, program: str = "ssh", text: str | None = None) -> None:
        """Runs a command by the machine's own client of SSH."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes")
        words = [f"-o{option}" for option in (*options, f"Port={self.site.port}", f"IdentityFile={self._key}")]
        target = f"{self.site.alice.name}@127.0.0.1"
        subprocess.run([program, *words, target, *command], check=True, capture_output=True, input=text, text=True)

    def run(self, site: str, workflow: str, **inputs: Any) -> str:
        """From the trigger to SUCCEEDED, as a follower of the log sees it; gives the execution's path."""
        path = self.service.start_on(self.client, site, workflow, **inputs)
        self.followed(path)
        return path

    def followed(self, path: str, take: Callable[[dict[str, Any]], None] = lambda _entry: None) -> None:
        """Follows a log to its end."""
        position = 0
        while True:
            page = self.client("GET", f"{path}/logs", params={"from": position, "timeout": "30s", "levels": 15}).json()
            for entry in page["logs"]:
                take(entry)
            position += len(page["logs"])
            if page["over"]:
                break
        assert page["status"] == "SUCCEEDED", self.client("GET", path).text

    def goal(self, name: str, value: float, most: float, unit: str = "", *, least: bool = False) -> None:
        """Prints a figure beside its goal."""
        met = value >= most if least else value <= most
        self.failed |= not met
        words = f"at {'least' if least else 'most'} {most:g}{unit}"
        print(f"{name}: {value:.2f}{unit} (goal: {words}) {'met' if met else 'MISSED'}", flush=True)


def seconds(task: Callable[[], object]) -> float:
    """How long something takes."""
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def one_second_job(bench: Bench, rounds: int) -> None:
    """A job of a second through the service, beside `ssh HOST sbatch --wait` of the same job."""
    document = bench.site.alice.write("second.cwl", SECOND)
    prologue = Path(bench.service.settings["sites"]["job"]["prologue"]).read_text()
    script = bench.site.alice.write("second.sh", f"#!/bin/bash\n{prologue}cwltool --outdir out {document}\n")
    bench.site.alice.write("plain.sh", "#!/bin/sh\nsleep 1\n")
    bench.run("job", "second")
    rows = [
        (
            seconds(lambda: bench.run("job", "second")),
            seconds(lambda: bench.ssh("sbatch", "--wait", str(script))),
            seconds(lambda: bench.ssh("sbatch", "--wait", "plain.sh")),
        )
        for _ in range(rounds)
    ]
    through, bare, plain = (statistics.median(row[number] for row in rows) for number in range(3))
    figures = {"trigger_to_succeeded_s": through, "sbatch_wait_s": bare, "sbatch_wait_without_cwltool_s": plain}
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))
    bench.goal("a job of a second", through, round(1.5 * bare + 1, 2), " s")


def toil(bench: Bench, rounds: int) -> None:
    """Toil through the service, beside the bare command on the login node."""
    texts = sorted((ROOT / "examples" / "data").glob("*.txt"))[:2]
    uploads = [bench.client.upload(text.name, text.read_bytes()) for text in texts]
    home = bench.site.alice.home
    for text in texts:
        bench.site.alice.write(text.name, text.read_text())
    places = [{"class": "File", "path": str(home / text.name)} for text in texts]
    order = bench.site.alice.write("order.json", json.dumps({"texts": places}))
    main = ROOT / "examples" / "word-statistics" / "main.cwl"
    prologue = bench.service.settings["sites"]["toil"]["prologue"]
    options = "--batchSystem slurm --slurmTime 0:10:00 --no-container --disableProgress --relax-path-checks"
    bare = f". {prologue}; toil-cwl-runner {options} --jobStore js-$$ --outdir out {main} {order}"
    rows = [
        (seconds(lambda: bench.run("toil", "word-statistics", texts=uploads)), seconds(lambda: bench.ssh(bare)))
        for _ in range(rounds)
    ]
    through, alone = (statistics.median(row[number] for row in rows) for number in range(2))
    print(json.dumps({"through_the_service_s": round(through, 2), "bare_toil_s": round(alone, 2)}))
    bench.goal("Toil through the service", statistics.median(row[0] / row[1] for row in rows), 1.15)


def commands(bench: Bench) -> None:
    """Sessions and connections, while 1, 50 and 200 executions run on one account, of which one is followed."""
    alice = bench.site.alice
    for count in (1, 50, 200):
        alice.write("seconds", str(_WORK + count / 4))
        connections, sessions = bench.site.connections(alice), bench.site.commands(alice)
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            start = [
                pool.submit(bench.service.start_on, bench.client, "crowd", "script", script="") for _ in range(count)
            ]
            paths = [each.result() for each in start]
        bench.followed(paths[0])
        for path in paths:
            assert bench.client.finished(path, within=300)["status"] == "SUCCEEDED"
        took = time.monotonic() - began
        rate = (bench.site.commands(alice) - sessions) / took
        bench.goal(f"sessions with {count} executions in {took:.0f} s", rate, 0.5, "/s")
        bench.goal(f"connections with {count} executions", bench.site.connections(alice) - connections, 1)


def following(bench: Bench) -> None:
    """How late a line of the log reaches its follower."""
    path = bench.service.start_on(bench.client, "login", "lines")
    late: list[float] = []

    def take(entry: dict[str, Any]) -> None:
        now = datetime.now(UTC).timestamp()
        if found := re.search(r"\b\d{10}\.\d{9}$", entry["content"]):
            late.append(now - float(found[0]))

    bench.followed(path, take)
    assert len(late) == _LINES, len(late)
    print(
        json.dumps({"lines": len(late), "median_s": round(statistics.median(late), 2), "worst_s": round(max(late), 2)})
    )
    bench.goal("a line of the log, p95", statistics.quantiles(late, n=20)[-1], 3, " s")


def large_files(bench: Bench, rounds: int) -> None:
    """Files to the site and back, beside plain `sftp`."""
    large_file(bench, 64, rounds)
    large_file(bench, 1024, rounds)


def _there_and_back(bench: Bench, mib: int, number: int) -> tuple[float, ...]:
    """The ratios of a file to the site and back, and the speeds behind them."""
    large = bench.directory / f"large-{number}.bin"
    with large.open("wb") as stream:
        for _ in range(mib):
            stream.write(os.urandom(1 << 20))
    small = bench.client.upload("small.bin", os.urandom(10))
    with large.open("rb") as stream:
        identifier = bench.client("POST", "/files", params={"name": large.name}, data=stream).json()["id"]
    overhead = seconds(lambda: bench.run("login", "script", script="true", given=[small]))
    up = seconds(lambda: bench.run("login", "script", script="true", given=[identifier])) - overhead
    made = bench.run("login", "script", script=f"head -c {mib << 20} /dev/urandom >large.txt")
    down = seconds(lambda: fetch(bench.client, f"{made}/outputs/files?path=0", mib << 20))
    there = f"there-{number}.bin"
    bare_up = seconds(lambda: sftp(bench, f"put {large} {there}"))
    bare_down = seconds(lambda: sftp(bench, f"get {there} {bench.directory}/back.bin"))
    for each in (large, bench.directory / "back.bin", bench.site.alice.home / there):
        each.unlink()
    return bare_up / up, bare_down / down, mib / up, mib / down, mib / bare_up, mib / bare_down


def large_file(bench: Bench, mib: int, rounds: int) -> None:
    """Files of one size."""
    rows = [_there_and_back(bench, mib, number) for number in range(rounds)]
    names = ("up_mib_s", "down_mib_s", "sftp_up_mib_s", "sftp_down_mib_s")
    medians = [statistics.median(row[number] for row in rows) for number in range(6)]
    print(json.dumps({name: round(value) for name, value in zip(names, medians[2:], strict=True)}))
    bench.goal(f"{mib} MiB to the site, beside sftp", medians[0], 0.8, " of its speed", least=True)
    bench.goal(f"{mib} MiB from the site, beside sftp", medians[1], 0.8, " of its speed", least=True)


def fetch(client: Client, path: str, size: int) -> None:
    """Downloads, and throws away."""
    got = 0
    with client("GET", path, stream=True) as answer:
        for chunk in answer.iter_content(1 << 20):
            got += len(chunk)
    assert got == size, (got, size)


def sftp(bench: Bench, line: str) -> None:
    """Runs one line of `sftp`."""
    bench.ssh(program="sftp", text=f"{line}\n")


@contextmanager
def bench_of(directory: Path) -> Iterator[Bench]:
    """A site and a service."""
    with one_node(cpus=256, memory=64000) as site:
        idler = site.directory / "idler"
        idler.write_text(IDLER)
        idler.chmod(0o755)
        crowd = {"runner": {"command": [str(idler)]}, "limits": {"executions": 200}, "scheduler": "none", "slurm": {}}
        service = SiteService(
            directory / "service",
            {
                "job": site.settings(leader="job"),
                "login": site.settings(scheduler="none", slurm={}),
                "toil": site.settings("toil"),
                "crowd": site.settings(**crowd),
            },
        )
        for name, document in (("second", SECOND), ("lines", LINES.replace("LINES", str(_LINES)))):
            service.publish(name, document)
        try:
            service.start()
            yield Bench(site, service, directory)
        finally:
            service.end()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("only", nargs="*", help="job, toil, commands, log, file; default: all")
    asked = parser.parse_args()
    parts: dict[str, tuple[Callable[..., None], *tuple[Any, ...]]] = {
        "job": (one_second_job, asked.rounds),
        "toil": (toil, asked.rounds),
        "commands": (commands,),
        "log": (following,),
        "file": (large_files, asked.rounds),
    }
    try:
        with tempfile.TemporaryDirectory() as name, bench_of(Path(name)) as bench:
            for part, (measure, *arguments) in parts.items():
                if not asked.only or part in asked.only:
                    print(f"-- {measure.__doc__}", flush=True)
                    measure(bench, *arguments)
            sys.exit(bench.failed)
    except CannotStartError as error:
        print(f"Sites aren't measured here. {error}")


if __name__ == "__main__":
    main()
