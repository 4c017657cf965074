"""What a workflow wants beside the files that inputs name: its secondary files, by patterns and expressions."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from posixpath import splitext

from hpcwaas.common.names import unusable_name
from hpcwaas.core.companions import Companion, Companions
from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.workflows.parameters import Array, CWLType, Parameter, Record, Secondary, Union
from hpcwaas.engines.cwl.workflows.snapshot import Snapshot
from hpcwaas.engines.input_problems import PROBLEM_LIMIT, Problems
from hpcwaas.errors import Unavailable

PATIENCE = 30.0
"""Seconds for all expressions of a request, and for its turn."""

FILE_LIMIT = 1000
"""Most files of one request."""

_TOGETHER = threading.BoundedSemaphore(2)
"""Requests whose expressions are evaluated at the same time: each takes a process."""

_BUSY = "The service can't evaluate the expressions of this workflow at the moment. Try again in a few seconds."


def companions(snapshot: Snapshot, inputs: Mapping[str, JSON], environment: Mapping[str, str]) -> Sequence[Companions]:
    """What belongs beside each file that has a `basename`, as far as the workflow says so.

    Args:
        environment: of the process that evaluates expressions; its PATH has a `node` in it.

    Raises:
        InvalidInputs: an expression that says so fails, or there are too many files.
        Unavailable: it can't be evaluated at present.
    """
    problems = Problems()
    found = []
    for parameter in snapshot.inputs:
        for way, file, rule in _files(parameter.type, inputs.get(parameter.name), parameter.name, parameter):
            if rule.secondary_files:
                found.append((way, file, rule))
            if len(found) > FILE_LIMIT:
                problems.add(way, f"at most {FILE_LIMIT} files can be asked for at once.")
                problems.throw()
    asked = [
        {"self": _as_runners_see(file), "text": text}
        for _, file, rule in found
        for entry in rule.secondary_files
        for text in _expressions(entry)
    ]
    values = iter(_evaluate(snapshot, inputs, asked, environment) if asked else ())
    answer = []
    for way, file, rule in found:
        needs: dict[str, Companion] = {}
        for entry in rule.secondary_files:
            results = [next(values) for _ in _expressions(entry)]
            wrong = next((result["error"] for result in results if "error" in result), None)
            if wrong is not None:
                problems.add(way, f"the expression that says what belongs beside it fails: {wrong}")
                continue
            names = results.pop(0)["value"] if entry.expression else entry.name(file["basename"])
            required = bool(results[0]["value"]) if results else entry.required
            for companion in _named(names, required=required):
                needs.setdefault(companion.basename, companion)
        answer.append(Companions(way, file["basename"], tuple(needs.values())))
        if problems.enough(0):
            break
    problems.throw()
    return answer


def _files(
    kind: CWLType, value: JSON, way: str, rule: Parameter, depth: int = 0
) -> Iterator[tuple[str, Mapping[str, JSON], Parameter]]:
    """The files with names in a value, each with the way to it and what is declared of it."""
    if depth > PROBLEM_LIMIT:
        return
    match value:
        case {"class": "File", "basename": str(name)} if unusable_name(name) is None:
            yield way, value, rule
        case list():
            for option in _options(kind):
                if isinstance(option, Array):
                    for index, item in enumerate(value):
                        yield from _files(option.items, item, f"{way}[{index}]", rule, depth + 1)
                    return
        case Mapping():
            for option in _options(kind):
                if isinstance(option, Record):
                    for field in option.fields:
                        yield from _files(field.type, value.get(field.name), f"{way}.{field.name}", field, depth + 1)
                    return


def _options(kind: CWLType) -> Sequence[CWLType]:
    return kind.options if isinstance(kind, Union) else (kind,)


def _expressions(entry: Secondary) -> Sequence[str]:
    """What of a declared secondary file has to be evaluated."""
    return [*([entry.pattern] if entry.expression else []), *([entry.condition] if entry.condition else [])]


def _as_runners_see(file: Mapping[str, JSON]) -> JSON:
    root, extension = splitext(file["basename"])
    place = f"/inputs/{file['basename']}"
    return {**file, "nameroot": root, "nameext": extension, "path": place, "location": f"file://{place}"}


def _named(result: JSON, *, required: bool) -> Iterator[Companion]:
    """What an expression has named: a name, a File, a Directory, or a list of them."""
    for item in result if isinstance(result, list) else [result]:
        name, kind = item, "File"
        if isinstance(item, Mapping):
            name, kind = item.get("basename") or item.get("location") or item.get("path"), str(item.get("class"))
        name = name.rstrip("/").rpartition("/")[2] if isinstance(name, str) else ""
        if unusable_name(name) is None and kind in ("File", "Directory"):
            yield Companion(name, kind, required)


def _evaluate(
    snapshot: Snapshot, inputs: Mapping[str, JSON], asked: Sequence[Mapping[str, JSON]], environment: Mapping[str, str]
) -> Sequence[Mapping[str, JSON]]:
    question = json.dumps({"inputs": inputs, "javascript": snapshot.javascript, "asked": asked})
    with _turn():
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-m", "hpcwaas.engines.cwl.inputs.evaluate"],
                input=question.encode(),
                capture_output=True,
                timeout=PATIENCE,
                env={**environment, "LANG": "C.UTF-8"},
                cwd="/",
                check=True,
            )
            values = json.loads(done.stdout)
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"The expressions of this workflow take longer than {PATIENCE:g} seconds.", 60) from error
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise Unavailable(_BUSY, 5) from error
    return [dict(value) for value in values]


@contextmanager
def _turn() -> Iterator[None]:
    if not _TOGETHER.acquire(timeout=PATIENCE):
        raise Unavailable(_BUSY, 5)
    try:
        yield
    finally:
        _TOGETHER.release()
