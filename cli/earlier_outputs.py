"""Outputs of earlier executions as inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_plus, urlencode

from .api import answers, calls
from .client import Client
from .errors import NotFound, UsageError
from .jobfile import OUTPUT
from .mistakes import Mistakes
from .outputs import files_in
from .schemas import Schema, Several, changed, kinds, lists, properties, takes_files, takes_only
from .text import is_file

_ADDRESSES = ("http", "https", "file", "ftp", "s3", "data")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class EarlierOutputs:
    """Finds outputs, each execution once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._executions: dict[str, answers.Execution] = {}

    def found(self, execution_id: str, name: str, way: str | None) -> Any:
        """The value of an output, or of the file in it that `way` leads to; of a directory when it ends with `/`.
        `way` may be a place in a list, too.

        Raises:
            UsageError: there is none.
        """
        outputs = self._outputs(execution_id)
        if name not in outputs:
            known = f"Its outputs: {', '.join(outputs)}." if outputs else "It has no outputs."
            raise UsageError(f"The execution {execution_id} has no output {name}.", hint=known)
        value = outputs[name]
        if way is None:
            return value
        named = {file.get("location"): file for file in files_in(value) if file.get("basename") == way}
        if len(named) > 1:
            raise UsageError(
                f"The output {name} of the execution {execution_id} has {len(named)} files {way}.",
                hint=f"Name one by its place in the list, from 0 on: {execution_id}:{name}/0",
            )
        if named:
            return next(iter(named.values()))
        if isinstance(value, list) and way.isdecimal() and int(way) < len(value):
            return value[int(way)]
        if not (is_file(value) and value["class"] == "Directory"):
            names = ", ".join(str(file.get("basename")) for file in files_in(value))
            raise UsageError(
                f"The output {name} of the execution {execution_id} has no file {way}.",
                hint=f"Its files: {names}." if names else None,
            )
        place, _, above = str(value["location"]).partition("?path=")
        inside = "/".join(filter(None, (unquote_plus(above), way.rstrip("/"))))
        return {
            "class": "Directory" if way.endswith("/") else "File",
            "location": f"{place}?{urlencode({'path': inside})}",
            "basename": inside.rpartition("/")[2],
        }

    def _outputs(self, execution_id: str) -> Mapping[str, Any]:
        if execution_id not in self._executions:
            try:
                self._executions[execution_id] = self._client.call(calls.get_execution(execution_id))
            except NotFound as failure:
                if failure.problem is None:
                    raise
                raise UsageError(f"There is no execution {execution_id} that you can see.") from None
        execution = self._executions[execution_id]
        outputs = execution.get("outputs")
        if not isinstance(outputs, dict):
            raise UsageError(
                f"The execution {execution_id} is {execution.get('status')}, so it has no outputs yet.",
                hint=f"Wait for it: waas executions status {execution_id} --follow",
            )
        return outputs


def resolved(
    values: Mapping[str, Any], schema: Schema, find: Callable[[str, str, str | None], Any], mistakes: Mistakes
) -> dict[str, Any]:
    """Inputs in which outputs of earlier executions stand where they are named by `ID:OUTPUT` or `ID:OUTPUT/PATH`.

    Args:
        find: finds an output by the execution's id, the output's name and the way inside of it.
    """

    def act(value: Any, own: Schema, rule: Schema, way: str) -> Any:
        named = value.get("location") if is_file(value) else value
        match = OUTPUT.fullmatch(named) if isinstance(named, str) else None
        if (
            match is None
            or match["id"] is None
            or match["id"].lower() in _ADDRESSES
            or not _meant(match["id"], value, own, schema)
        ):
            return value
        found = find(match["id"], match["output"], match["path"])
        if not schema.get("x-announced") and next(files_in(found), None):
            raise UsageError(
                "The service is too old to take files of an earlier execution.",
                hint=f"Give them as local files, after: waas executions outputs {match['id']} --download DIR",
            )
        if is_file(value):
            return {**found, **value, "location": found["location"]} if is_file(found) else value
        # A list of lists takes a list as one of its members.
        flat = isinstance(found, list) and (not lists(own, schema) or all(isinstance(each, list) for each in found))
        return Several(found) if flat else found

    result = {}
    for name, value in values.items():
        with mistakes.of(name):
            new = changed(value, properties(schema).get(name, {}), schema, name, act)
            result[name] = new.members if isinstance(new, Several) else new
    return result


def _meant(identity: str, value: Any, own: Schema, root: Schema) -> bool:
    """Whether a text can't be meant as it is: where files alone are taken, it is no id of an upload."""
    if is_file(value) or takes_only({"File", "Directory"}, own, root):
        return True
    if not _UUID.fullmatch(identity):
        return False
    return takes_files(own, root) or "string" not in kinds(own, root)
