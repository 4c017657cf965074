"""What jobs of a workflow ask Slurm for: what metadata say, and what documents declare."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from hpcwaas.core.models import JSON

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)|(?P<alone>\d+)")
_MEMORY = re.compile(r"(\d+) ?(MiB|GiB|TiB)")
_UNITS = {"MiB": 1, "GiB": 1 << 10, "TiB": 1 << 20}


@dataclass(frozen=True, slots=True)
class Slurm:
    """What a job asks for; None where nothing is said.

    Attributes:
        account: project that is charged.
        time: as Slurm writes it.
        memory: MiB.
    """

    partition: str | None = None
    account: str | None = None
    time: str | None = None
    cores: int | None = None
    memory: int | None = None
    nodes: int | None = None


NOTHING = Slurm()

_KEYS = tuple(sorted(each.name for each in fields(Slurm)))


@dataclass(frozen=True, slots=True)
class StepNeeds:
    """What the tools of a step declare to need: the most that any of them does.

    Attributes:
        memory: MiB.
        time: seconds of all of them, one after the other.
        unknown: what can't be told before it runs, in the words of CWL.
        processes: short names of the process that it runs, and of all inside it.
        scatter: whether it runs it for each of several values.
        mpi: whether a tool of it is started by MPI, an extension of cwltool's that runners have to be told of.
        untimely: whether a time limit is an expression that Toil would evaluate before the inputs are known.
        images: of the containers that its tools require.
        hinted: of those that are hints.
        process: short name of the process that it runs.
        over: of a step that runs for each of several values, the lists of these: the input of the workflow, or
            `STEP/OUTPUT`, that each comes from, and its length if nothing comes from there; None for what isn't known.
    """

    name: str
    cores: int | None = None
    memory: int | None = None
    time: int | None = None
    unknown: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    scatter: bool = False
    mpi: bool = False
    untimely: bool = False
    images: tuple[str, ...] = ()
    hinted: tuple[str, ...] = ()
    process: str = ""
    over: tuple[tuple[str | None, int | None], ...] = ()


def load_needs(declared: Mapping[str, JSON]) -> StepNeeds:
    """Reads what `describe.py` wrote of a step."""
    return StepNeeds(
        declared["name"],
        declared["cores"],
        declared["memory"],
        declared["time"],
        tuple(declared["unknown"]),
        tuple(declared["processes"]),
        declared["scatter"],
        declared["mpi"],
        declared["untimely"],
        tuple(declared["images"]),
        tuple(declared["hinted"]),
        declared.get("process", ""),
        tuple((source, length) for source, length in declared.get("over", ())),
    )


def totals(needs: Sequence[StepNeeds], order: Mapping[str, JSON]) -> dict[str, int]:
    """How often steps run that run once for each of several values, as far as that is known before they do.

    Args:
        order: the inputs of the execution.
    """
    by_name = {step.name: step for step in needs}
    found: dict[str, int] = {}

    def length(source: str | None, default: int | None) -> int | None:
        step, _, output = (source or "").partition("/")
        if output:  # a list with a member for each run of another step
            return total(by_name[step]) if step in by_name and len(by_name[step].over) == 1 else None
        value = order.get(source) if source else None
        return len(value) if isinstance(value, list) else default if value is None else None

    def total(step: StepNeeds) -> int | None:
        lengths = [length(*each) for each in step.over]
        return None if None in lengths or not lengths else math.prod(each or 0 for each in lengths)

    for step in needs:
        if (number := total(step)) is not None:
            found[step.name] = number
    return found


def read_slurm(value: Any) -> Slurm:
    """Reads the key `slurm` of metadata completely or not at all.

    Raises:
        ValueError: it isn't understood; says why.
    """
    if not isinstance(value, dict):
        raise ValueError(f"slurm must be a map with any of {', '.join(_KEYS)}")  # noqa: TRY004  (as all that is wrong)
    return Slurm(**{_key(key): _value(key, given) for key, given in value.items()})


def _key(key: Any) -> str:
    if key in _KEYS:
        return str(key)
    near = get_close_matches(str(key).casefold(), _KEYS, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"slurm: unknown key {key!r}, expected any of {', '.join(_KEYS)}{meant}")


def _value(key: str, given: Any) -> Any:
    match key, given:
        case (("partition" | "account"), str()) if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.,+-]*", given):
            return given
        case "time", str() if _TIME.fullmatch(given):
            return given
        case (("cores" | "nodes" | "memory"), int()) if not isinstance(given, bool) and given > 0:
            return given
        case "memory", str() if match := _MEMORY.fullmatch(given):
            return int(match[1]) * _UNITS[match[2]]
    expected = {
        "partition": "a name",
        "account": "a name",
        # YAML makes a number of what isn't in quotes: 3600 of 1:00:00.
        "time": "a time as Slurm writes it, in quotes: '01:00:00', '1-00:00:00', or minutes",
        "memory": "a number of MiB above 0, or one with a unit: 8 GiB",
    }.get(key, "a whole number above 0")
    raise ValueError(f"slurm: {key} must be {expected}")


def seconds(time: str) -> int:
    """A time of Slurm's in seconds."""
    match = _TIME.fullmatch(time)
    if match is None:
        raise ValueError(time)
    if match["alone"]:
        return int(match["alone"]) * 60
    hours = int(match["days"] or 0) * 24 + int(match["hours"])
    return (hours * 60 + int(match["minutes"])) * 60 + int(match["seconds"])


def slurm_time(number: int) -> str:
    """Seconds as Slurm writes them."""
    days, rest = divmod(number, 86400)
    text = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text
