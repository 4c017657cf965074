"""Commands of Slurm that tell where an account may run jobs. None of them costs anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpcwaas.engines.cwl.sites.slurm_text import SEPARATOR, rows


@dataclass(frozen=True, slots=True)
class FoundPartition:
    """A partition.

    Attributes:
        state: `UP`, `DOWN`, `DRAIN` or `INACTIVE`.
        max_time: longest time limit, as Slurm writes it; `UNLIMITED` for none.
    """

    name: str
    state: str
    max_time: str


class Partition:
    """What the controller knows of a partition, also one that isn't for the account."""

    def __init__(self, name: str) -> None:
        self._name = name

    def argv(self) -> Sequence[str]:
        return ("scontrol", "--all", "--oneliner", "show", "partition", self._name)

    def parse(self, stdout: str) -> FoundPartition | None:
        field = dict(re.findall(r"(\w+)=(\S*)", stdout))
        if "State" not in field:
            return None
        return FoundPartition(field.get("PartitionName", ""), field["State"], field.get("MaxTime", ""))


class Nodes:
    """The nodes of a partition."""

    _FIELDS = ("%D", "%T")
    _USABLE = ("idle", "mixed", "allocated", "completing", "planned", "reserved", "powered_down", "powering_up")

    def __init__(self, partition: str) -> None:
        self._partition = partition

    def argv(self) -> Sequence[str]:
        return ("sinfo", "--noheader", f"--partition={self._partition}", f"--format={SEPARATOR.join(self._FIELDS)}")

    def parse(self, stdout: str) -> tuple[int, int]:
        """How many run jobs, or will; and how many there are."""
        usable = of = 0
        for number, state in rows(stdout, len(self._FIELDS)):
            if number.isdigit():
                of += int(number)
                # A sign behind the state tells of power saving or of planned work; a star that it doesn't answer.
                usable += int(number) if state.rstrip("~#!%@^$-+").lower() in self._USABLE else 0
        return usable, of


class Projects:
    """The projects that an account may charge. Only where there is a database of jobs."""

    _FIELDS = ("Account", "Partition")

    def __init__(self, user: str) -> None:
        self._user = user

    def argv(self) -> Sequence[str]:
        form = ",".join(f"{field}%256" for field in self._FIELDS)
        return (
            "sacctmgr",
            "--noheader",
            "--parsable2",
            "--readonly",
            "show",
            "associations",
            f"user={self._user}",
            f"format={form}",
        )

    def parse(self, stdout: str) -> frozenset[str]:
        return frozenset(line.partition("|")[0] for line in stdout.splitlines() if "|" in line)


class Trial:
    """A job that is checked and not submitted."""

    def __init__(self, partition: str | None, account: str | None, time: str | None) -> None:
        self._options = {"partition": partition, "account": account, "time": time}

    def argv(self) -> Sequence[str]:
        options = [f"--{name}={value}" for name, value in self._options.items() if value is not None]
        return ("sbatch", "--test-only", "--output=/dev/null", *options, "--wrap=true")
