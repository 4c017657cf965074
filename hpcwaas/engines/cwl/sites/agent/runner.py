"""How the runner of an execution is run.

What is known of Toil (9.6.0, with Slurm 22.05):

- With `--batchSystem slurm` each job is submitted as `toil_job_N_NAME`; what `--slurmArgs` says goes along, so the
  comment that tells whose job it is. Without a partition Toil looks for one that allows its time limit, and gives up if
  there is none. That is the tool's ToolTimeLimit, else `--defaultWalltime` (10 hours); `--slurmTime` beats them both.
  It comes as `--time=0:SECONDS`, and there is no limit of its own for it, as there is for cores and memory; a
  ToolTimeLimit of 0 leaves it out.
- `--writeMessages` names a file to which the leader writes a line for each event, fields separated by tabs:
  `JobIssuedMessage NAME KIND/ID N`, `ExternalBatchIdMessage N SLURM-ID SlurmBatchSystem`, `JobCompletedMessage NAME
  KIND/ID EXIT`, `JobFailedMessage NAME KIND/ID`. NAME is WORKFLOW.STEP.TOOL; of a scatter it is WORKFLOW.NUMBER.TOOL,
  without the step; inside an inner workflow it begins with the inner one's name. So a request says of each step which
  processes it runs, and a job that fits several steps belongs to none.
- All runs of a scattered step are issued together, when the job CWLScatter has ended. Those of a crossproduct have the
  same names: only KIND/ID tells them apart.
- By default a job goes on with its successor, and the messages name the first one for both: `--disableChaining`.
- By default what fails is tried again with more memory: `--retryCount`. Jobs of a failed node are requeued by Slurm.
- A job is told (SIGUSR2) between 30 and 90 seconds before its time limit, and ends itself: Slurm calls that a failure,
  and one with a limit of a minute ends when it begins.
- An sbatch or squeue that fails is tried again for `--statePollingTimeout`, whatever the reason.
- Tools' standard error comes when their step ends. A leader that is killed leaves its jobs, queued and running ones.
- `--restart` takes the same job store, document and inputs, and does what isn't done yet. What a killed leader left
  runs at the same time if nobody cancels it before. Numbers begin at 1 again, and the workflow itself isn't issued.
- What fails is told as failed, and then everything before it, too.
"""

import os
from typing import Dict, List, Tuple
from urllib.parse import quote

from hpcwaas.engines.cwl.sites.agent.answers import JSON
from hpcwaas.engines.cwl.sites.agent.archives import unpack
from hpcwaas.engines.cwl.sites.agent.execution import Execution
from hpcwaas.engines.cwl.sites.agent.files import remove_tree, write
from hpcwaas.engines.cwl.sites.agent.programs import prologued


class Stopped(Exception):
    """The execution is over before its runner began.

    Args:
        reason: why.
    """


def prepare(execution: Execution, request: Dict[str, JSON]) -> None:
    """Makes what the runner needs.

    Raises:
        Stopped: an input can't be made.
    """
    for name in ("tmp", "outputs"):
        os.makedirs(execution.path("work", name), exist_ok=True)
    for each in request.get("inputs") or []:
        target = execution.path(each["target"])
        if each.get("unpack") and not os.path.isdir(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            source = os.path.join(execution.root, "content", each["sha256"])
            try:
                unpack(source, target, each["unpack"])
            except ValueError as error:
                name = os.path.basename(target)
                raise Stopped(f"The archive for the input {name} can't be unpacked: {error}.") from error


def command(execution: Execution, request: Dict[str, JSON]) -> List[str]:
    """The command that runs the runner of an execution, after the prologue."""
    path = execution.path
    document = os.path.join(execution.root, request["document"])
    document += f"#{request['fragment']}" if request.get("fragment") else ""
    arguments = list(request.get("arguments") or [])
    line = list(request["command"])
    if request["kind"] == "cwltool":
        temporary = path("work", "tmp", "")
        line += ["--disable-color", "--relax-path-checks"]
        line += [f"--tmpdir-prefix={temporary}", f"--tmp-outdir-prefix={temporary}", *arguments]
    elif request["kind"] == "toil":
        line += _toil(execution, request, arguments)
    else:
        line += arguments
    line += ["--outdir", path("work", "outputs"), document, path("job.json")]
    first = ""
    if request["kind"] == "toil" and request.get("most_time"):
        first = _bounding(path("work", "bin"), request["most_time"])
    return prologued(line, path("stage"), request.get("prologue") or "", first)


_SBATCH = """\
#!/bin/bash
# Takes no job of Toil's that asks for more time than the site allows: it may be known only when the step runs.
most={most}
PATH=${{PATH//"${{BASH_SOURCE[0]%/*}}":/}}
asked= name=
for word; do
  case $word in
    --time=0:*) asked=${{word#--time=0:}};;
    toil_job_*) name=$word;;
  esac
done
if [ -z "$name" ]; then exec sbatch "$@"; fi
if [ -z "$asked" ]; then exec sbatch --time=0:$most "$@"; fi
if [ "${{asked%%.*}}" -le "$most" ]; then exec sbatch "$@"; fi
echo "hpcwaas: the job $name asks for $asked seconds, and the site allows $most" >&2
exit 1
"""


def _bounding(directory: str, most: int) -> str:
    """Makes an `sbatch` that is to come before Slurm's own; its directory."""
    os.makedirs(directory, exist_ok=True)
    write(os.path.join(directory, "sbatch"), _SBATCH.format(most=most).encode())
    os.chmod(os.path.join(directory, "sbatch"), 0o700)
    return directory


def _toil(execution: Execution, request: Dict[str, JSON], arguments: List[str]) -> List[str]:
    """Arguments for Toil. An operator's own come after what they may change, and before what they may not."""
    path, slurm = execution.path, request.get("slurm") or {}
    line = ["--disableProgress", "--logColors=False", "--relax-path-checks", "--retryCount=0"]
    line += ["--statePollingTimeout=86400"]  # seconds for which a scheduler may be away
    line += [f"--workDir={path('work', 'tmp')}", f"--coordinationDir={path('work', 'tmp')}"]
    if request.get("scheduler") == "slurm":
        words = [f"--comment=hpcwaas:{execution.id}"]
        words += [f"--account={slurm['account']}"] if slurm.get("account") else []
        given = [each for each in arguments if each.startswith("--slurmArgs=")]
        arguments = [each for each in arguments if each not in given]
        words += [each.partition("=")[2] for each in given]
        line += ["--batchSystem=slurm", "--disableChaining=True"]
        line += [f"--slurmPartition={slurm['partition']}"] if slurm.get("partition") else []
        line += [f"--defaultWalltime={_seconds(slurm['time'])}"] if slurm.get("time") else []
        line += [*arguments, "--slurmArgs=" + " ".join(words)]
    else:
        line += ["--batchSystem=single_machine", *arguments]
    restart = request.get("resume") and os.path.isdir(path("jobstore"))
    if not restart:
        remove_tree(path("jobstore"))
    line += [f"--jobStore=file:{path('jobstore')}", f"--writeMessages={path('messages')}"]
    return line + (["--restart"] if restart else [])


def _seconds(time: str) -> int:
    """Seconds of a time as Slurm writes it: `D-HH:MM:SS`, `HH:MM:SS`, or minutes."""
    days, _, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    hours, minutes, seconds = parts if len(parts) == 3 else [0, parts[0], 0]
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def environment(execution: Execution, request: Dict[str, JSON]) -> Dict[str, str]:
    """The environment of the runner."""
    words = dict(os.environ, **request.get("environment") or {})
    words["HPCWAAS_EXECUTION"] = execution.id
    words.pop("XDG_RUNTIME_DIR", None)  # it goes when the login does
    if request["kind"] == "toil":  # jobs that it submits aren't steps of the job that it may be in
        words = {name: word for name, word in words.items() if not name.startswith("SLURM_") or name == "SLURM_CONF"}
    return words


def short_names(execution: Execution, request: Dict[str, JSON]) -> List[Tuple[str, str]]:
    """What stands in the log for the places of the machine."""
    document = os.path.dirname(os.path.join(execution.root, request["document"]))
    names = []
    for place, short in ((execution.path("work"), "."), (execution.directory, "."), (document, "workflow")):
        names += [("file://" + quote(place), short), (place, short)]
    return names
