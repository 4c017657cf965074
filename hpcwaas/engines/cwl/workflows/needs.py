"""What the steps of a loaded workflow declare to need, as JSON that `slurm.py` reads back. A part of `describe.py`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpcwaas.engines.cwl.workflows.declare import short

if TYPE_CHECKING:
    from hpcwaas.core.models import JSON

MPI = "http://commonwl.org/cwltool#MPIRequirement"
"""How many processes of a tool are started by MPI: an extension of cwltool's."""

_CUDA = "http://commonwl.org/cwltool#CUDARequirement"
_LIMIT = "ToolTimeLimit"
_IMAGES = ("dockerPull", "dockerImageId", "dockerImport", "dockerLoad")
_LONGEST_IMAGE = 200
_DEPTH = 20


def step_needs(tool: Any, names: Sequence[str]) -> list[JSON]:
    """The needs of each step, in the order of the names; of a lone tool, of itself.

    Args:
        tool: a process as cwltool has loaded it.
    """
    if tool.tool["class"] != "Workflow":
        return [_needs(names[0], tool, scattered=False, known=False) | {"over": []}]
    steps = {short(step.tool["id"]): step for step in tool.steps}
    defaults = {short(port["id"]): _length(port.get("default")) for port in tool.tool["inputs"]}
    return [
        _needs(name, steps[name].embedded_tool, scattered="scatter" in steps[name].tool, known=_known(steps[name]))
        | {"over": _over(steps[name].tool, tool.tool["id"], defaults)}
        for name in names
    ]


def _over(step: Any, workflow: str, defaults: Mapping[str, int | None]) -> list[JSON]:
    """The lists for whose values a step runs: where each comes from, and how long it is if nothing comes from there.
    Of several lists that are gone through side by side, the first is enough.

    Args:
        workflow: id of the workflow.
        defaults: lengths of the defaults of the workflow's inputs.
    """
    keys = step.get("scatter") or []
    keys = [keys] if isinstance(keys, str) else keys
    ports = {port["id"]: port for port in step["inputs"]}
    several = str(step.get("scatterMethod") or "dotproduct") != "dotproduct"
    found: list[JSON] = []
    for key in keys if several else keys[:1]:
        port = ports.get(key) or {}
        sources = port.get("source") or []
        sources = [sources] if isinstance(sources, str) else sources
        if len(sources) > 1 or "linkMerge" in port or "pickValue" in port:
            found.append([None, None])
            continue
        # In a document of several processes, names stand behind that of the workflow.
        source = sources[0].removeprefix(workflow).lstrip("#/") if sources else None
        length = _length(port.get("default"))
        found.append([source, defaults.get(source) if length is None and source else length])
    return found


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


def _known(step: Any) -> bool:
    """Whether Toil knows what goes into a step before it looks at the resources of its tool."""
    return "scatter" in step.tool or "when" in step.tool


def _needs(name: str, process: Any, *, scattered: bool, known: bool) -> JSON:
    most: dict[str, int | None] = {"cores": None, "memory": None}
    unknown: set[str] = set()
    images: dict[bool, set[str]] = {True: set(), False: set()}
    times: list[int | None] = []
    processes: list[str] = []
    mpi = untimely = False
    for inner, repeated, ready in _inside(process, repeated=scattered, known=known):
        processes.append(short(inner.tool["id"]))
        if inner.tool["class"] == "Workflow":
            continue
        declared = _declared(inner)
        image, required = _image(inner)
        images[required] |= image
        untimely |= declared["time"] == _LIMIT and not (ready or _asks_late(inner))
        mpi |= inner.get_requirement(MPI)[0] is not None
        for key, value in declared.items():
            if isinstance(value, str):
                unknown.add(value)
            elif key in most and value is not None:
                most[key] = max(most[key] or 0, value)
        if inner.tool["class"] == "CommandLineTool":
            time = declared["time"]
            # How often a scatter runs it is known only when it does.
            times.append(time if isinstance(time, int) and not repeated else None)
    time = sum(each for each in times if each is not None) if times and None not in times else None
    told = {"name": name, **most, "time": time, "unknown": sorted(unknown)}
    told |= {"processes": sorted({*processes}), "process": processes[0]}
    told |= {"scatter": scattered, "mpi": mpi, "untimely": untimely}
    return told | {"images": sorted(images[True]), "hinted": sorted(images[False])}


def _inside(process: Any, *, repeated: bool, known: bool, depth: int = 0) -> Iterator[tuple[Any, bool, bool]]:
    """A process and all those that it runs, each with whether it may run more than once, and `_known` of its step."""
    yield process, repeated, known
    if process.tool["class"] == "Workflow" and depth < _DEPTH:
        for step in process.steps:
            again = repeated or "scatter" in step.tool
            yield from _inside(step.embedded_tool, repeated=again, known=_known(step), depth=depth + 1)


def _image(tool: Any) -> tuple[set[str], bool]:
    """The container that a tool asks for, as its document calls it, and whether it doesn't run without one."""
    container, required = tool.get_requirement("DockerRequirement")
    if not container or tool.tool["class"] != "CommandLineTool":
        return set(), False
    named = next((container[key] for key in _IMAGES if isinstance(container.get(key), str)), "made by a Dockerfile")
    return {" ".join(named.split())[:_LONGEST_IMAGE]}, bool(required)


def _asks_late(tool: Any) -> bool:
    """Whether Toil looks at a tool's resources only when its inputs are known."""
    asked = [tool.get_requirement(word)[0] or {} for word in ("ResourceRequirement", _CUDA)]
    return any(isinstance(value, str) and ("$(" in value or "${" in value) for each in asked for value in each.values())


def _declared(tool: Any) -> dict[str, int | str | None]:
    """What one tool declares; the words of CWL for what is an expression."""
    resources = tool.get_requirement("ResourceRequirement")[0] or {}
    limit = (tool.get_requirement(_LIMIT)[0] or {}).get("timelimit")
    mpi = (tool.get_requirement(MPI)[0] or {}).get("processes")
    cores = _number(resources.get("coresMin", resources.get("coresMax")), "ResourceRequirement")
    processes = _number(mpi, "MPIRequirement")
    if isinstance(processes, int):
        # A core for each, unless each has several.
        cores = processes * cores if isinstance(cores, int) else processes
    return {
        "cores": cores,
        "memory": _number(resources.get("ramMin", resources.get("ramMax")), "ResourceRequirement"),
        "time": _number(limit, _LIMIT) or None,
        "mpi": processes if isinstance(processes, str) else None,
    }


def _number(value: Any, word: str) -> int | str | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
        return math.ceil(value)
    return word
