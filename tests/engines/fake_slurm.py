"""A Slurm of three scripts, which runs a job at once unless it is told to hold, refuse or be silent."""

from __future__ import annotations

from pathlib import Path

from tests.engines.agents import Site

_SBATCH = """\
#!/bin/bash
cd '{place}'
if [ -e refuse ]; then cat refuse >&2; exit 1; fi
id=$(($(cat next) + 1)); echo $id > next
for word; do
  case $word in --comment=*) comment=${{word#*=}};; --job-name=*) name=${{word#*=}};; esac
done
echo "$*" > args.$id
echo "$comment|$name" > job.$id
script=${{@: -1}}
[ -e hold ] || (SLURM_JOB_ID=$id setsid bash -c 'bash "$0"; rm -f job.'$id "$script" > /dev/null 2>&1 < /dev/null &)
if [ -e lose ]; then
  rm lose
  echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
  exit 1
fi
echo "$id"
"""
_SQUEUE = """\
#!/bin/bash
cd '{place}'
if [ -e silent ]; then
  echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2
  exit 1
fi
shopt -s nullglob
for file in job.*; do
  IFS='|' read -r comment name < "$file"
  for word; do
    case $word in --format=*) line=${{word#*=}};; esac
  done
  line=${{line/\\%k/$comment}}
  line=${{line/\\%j/$name}}
  line=${{line/\\%i/${{file#job.}}}}
  echo "${{line/\\%T/RUNNING}}"
done
"""
_SCANCEL = """\
#!/bin/bash
cd '{place}'
for id; do
  echo "$id" >> cancelled
  if [ -e "deaf.$id" ]; then rm "deaf.$id"; else rm -f "job.$id"; fi
done
"""


class Slurm:
    """The scheduler of a site.

    Attributes:
        place: directory with a file for each job, and files that say how it behaves: `hold`, `refuse` (with the words),
            `silent`, `lose` (the next answer of sbatch).
    """

    def __init__(self, site: Site) -> None:
        self.place = site.home / "slurm"
        self.place.mkdir()
        (self.place / "next").write_text("100")
        for name, text in (("sbatch", _SBATCH), ("squeue", _SQUEUE), ("scancel", _SCANCEL)):
            site.program(name, text.format(place=self.place))

    def set(self, name: str, text: str | None = "") -> None:
        """Changes how it behaves; None ends that."""
        if text is None:
            (self.place / name).unlink()
        else:
            (self.place / name).write_text(text)

    def submitted(self) -> list[str]:
        """Ids of all jobs that ever were."""
        return sorted(path.suffix[1:] for path in self.place.glob("args.*"))

    def jobs(self) -> list[str]:
        """Ids of the jobs that there are."""
        return sorted(path.suffix[1:] for path in self.place.glob("job.*"))

    def arguments(self, job: str) -> str:
        """What a job was submitted with."""
        return (self.place / f"args.{job}").read_text()

    def cancelled(self) -> list[str]:
        """Ids of jobs in the order in which they were cancelled."""
        path: Path = self.place / "cancelled"
        return path.read_text().split() if path.exists() else []
