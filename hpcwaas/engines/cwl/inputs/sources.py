"""Where files among inputs may come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qs, unquote

from hpcwaas.core.endings import Part
from hpcwaas.core.models import JSON, Execution
from hpcwaas.core.ports.engine import ExecutionLookup, UploadLookup
from hpcwaas.engines.cwl.inputs.archive_checks import Look
from hpcwaas.engines.cwl.inputs.networks import Networks
from hpcwaas.engines.cwl.storage import outputs

_LOCATION = re.compile(r"/executions/(?P<id>[^/?#]+)/outputs/(?P<name>[^/?#]+)(?:\?(?P<query>[^#]*))?")
_UNSEEN = "There is no such execution, or none that you may see"

KeptOutputs: TypeAlias = Callable[[str], Mapping[str, JSON]]
"""The outputs of an execution by the engine's reference, as they are kept. May raise `UnusableOutput`."""

KindOfOutput: TypeAlias = Callable[[str, str], str | None]
"""Whether something among the outputs of an execution is a `File` or a `Directory`: reference, path. None where that
would have to be asked elsewhere. Raises `UnusableOutput` where it is known not to be there any more."""


class UnusableOutput(Exception):
    """An output can't be an input; says why in a sentence without its full stop."""


@dataclass(frozen=True, slots=True)
class EarlierOutput:
    """A file or directory among the outputs of an execution that has ended.

    Attributes:
        execution_id: of that execution.
        reference: by which the engine knows it.
        path: relative to the directory of its outputs.
        kind: `File` or `Directory`; None for what lies in a directory on a site, which isn't asked.
        declared: what the output object says of it.
        location: of the output or the part of it, as the API tells it.
    """

    execution_id: str
    reference: str
    path: str
    kind: str | None
    declared: Mapping[str, JSON]
    location: str

    @property
    def name(self) -> str:
        """Its base name."""
        name = self.declared.get("basename")
        return name if isinstance(name, str) else self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Sources:
    """What the calling user may use.

    Attributes:
        uploads: finds an upload of theirs.
        look: says which kind of archive an upload is.
        networks: from where files may be fetched by http(s) URLs; None when they may not.
        executions: finds an execution whose outputs they may see.
        kept, kind_of: the outputs of this engine's executions.
        announced: whether files may be named that are still to be uploaded.
    """

    uploads: UploadLookup
    look: Look
    networks: Networks | None = None
    executions: ExecutionLookup = lambda _: None
    kept: KeptOutputs = lambda _: {}
    announced: bool = False
    kind_of: KindOfOutput = lambda _reference, _path: None

    def output(self, location: str) -> EarlierOutput:
        """The output that a location names.

        Raises:
            UnusableOutput: there is none, or it can't be an input.
        """
        match = _LOCATION.fullmatch(location)
        query = parse_qs(match["query"] or "", keep_blank_values=True) if match else {}
        if match is None or query.keys() - {"path"} or any(len(values) != 1 for values in query.values()):
            raise UnusableOutput(
                "An output is named by its location, /executions/ID/outputs/NAME or "
                "/executions/ID/outputs/NAME?path=PART"
            )
        name, path = unquote(match["name"]), query.get("path", [""])[0]
        execution = self.executions(unquote(match["id"]))
        if execution is None:
            raise UnusableOutput(_UNSEEN)
        reference = self._usable(execution)
        kept = self.kept(reference)
        if name not in kept:
            known = ", ".join(sorted(kept)) or "none"
            raise UnusableOutput(f"The execution {execution.id} has no output {name!r}. Its outputs: {known}")
        try:
            found = outputs.find(kept[name], path or None)
        except LookupError:
            raise UnusableOutput(f"The output {name!r} of the execution {execution.id} has no part {path!r}") from None
        if not isinstance(found, outputs.Place):
            raise UnusableOutput(
                f"The output {name!r} of the execution {execution.id} is no file or directory here; give its value, or "
                "one of its parts with ?path="
            )
        declared = found.declared or {}
        kind = self.kind_of(reference, found.path) or declared.get("class")
        return EarlierOutput(execution.id, reference, found.path, kind, declared, location)

    @staticmethod
    def _usable(execution: Execution) -> str:
        if execution.engine != "cwl":
            raise UnusableOutput(
                f"The execution {execution.id} ran in the engine {execution.engine}, whose outputs can't be taken "
                "over. Download the file and upload it"
            )
        if not execution.state.status.over:
            raise UnusableOutput(
                f"The execution {execution.id} is {execution.state.status}; its outputs can be used when it has ended"
            )
        if Part.OUTPUTS in execution.removed:
            raise UnusableOutput(
                f"The outputs of the execution {execution.id} were removed: the time for which they are kept is over"
            )
        if execution.reference is None:
            raise UnusableOutput(f"The execution {execution.id} never began and has no outputs")
        return execution.reference


def is_output(location: str) -> bool:
    """Whether something is meant to be the location of an output."""
    return location.startswith("/executions/")
