"""What runs on a site: it starts executions, supervises them, and tells how they stand.

It is one file there, for a login node that has nothing but a Python: 3.6 or later, which is what RHEL 8 and its kin
call `python3`, and the standard library. Its parts are the modules of this package, which import nothing but that and
each other, so that `source` can put them together. The service copies the file to WORK_DIR/bin once per version, and
runs it by SSH as `PYTHON FILE COMMAND` with a JSON object on standard input. The answer is one JSON object behind a
line `@@HPCWAAS TOKEN`, so that whatever profile files print is passed over; what fails in a way that can be foreseen is
`{"error": {"kind", "path", "detail"}}`, see `answers.Trouble`.

    bin/                    this file, by its digest
    content/SHA256          uploads, each once; `.part` while they come
    workflows/DIGEST/       published workflows
    news                    grows by a byte whenever something is to be told
    executions/ID/          request.json job.json inputs/ work/ state.json outputs.json log.jsonl outputs/ cancel
        supervisor.json     who supervises it: made by whoever is first, which is how one is started once
        leader.json         the job of the scheduler that the supervisor runs in, where it runs in one
        jobs.json           jobs of the scheduler that its runner started
        jobstore/           Toil's, as long as the execution may be resumed

Everything appears by renaming or linking, so that a process killed between any two calls leaves something that the next
one understands. Times are the site's own, and none is compared with one of another machine.
"""

import re
from functools import cache
from pathlib import Path

PARTS = (
    *("answers", "files", "log", "runs", "steps", "diagnosis", "archives", "outputs", "programs", "processes"),
    *("execution", "runner", "supervisor", "probing", "taking", "starting", "looking", "ending", "giving", "main"),
)
"""The modules, each behind those that it imports."""

_OWN_IMPORT = re.compile(rf"^from {re.escape(__name__)}\.\w+ import (?:\([^)]*\)|[^(\n]*)\n", re.MULTILINE)


@cache
def source() -> bytes:
    """The agent as one file."""
    here = Path(__file__).parent
    parts = [_OWN_IMPORT.sub("", (here / f"{name}.py").read_text("utf-8")) for name in PARTS]
    return "\n\n".join(parts).encode()
