"""The inputs of an execution, from values in Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import companions
from ..client import Client
from ..mistakes import Mistakes
from ..planned import planned
from ..preparing import companions_of
from ..uploads import Uploader
from . import calls
from .settings import log


def has_files(value: Any) -> bool:
    """Whether a value holds paths, which stand for local files and directories."""
    if isinstance(value, Path):
        return True
    if isinstance(value, Mapping):
        return any(map(has_files, value.values()))
    return isinstance(value, list | tuple) and any(map(has_files, value))


class Sending:
    """Uploads the local files of one start.

    Args:
        client: for this start alone.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._uploader = Uploader(client, note=log.warning)

    def sent(self, workflow_id: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs with uploads in place of local files, with which those are sent that belong beside them.

        Raises:
            UsageError: a file can't be read, or one that belongs beside it is missing.
            WaasError: the service refused it.
        """
        values: dict[str, Any] = {name: _planned(value) for name, value in inputs.items()}
        schema = self._client.call(calls.get_workflow(workflow_id))["inputs"]
        mistakes = Mistakes()
        values = companions.added(values, schema, lambda some: companions_of(self._client, workflow_id, some), mistakes)
        mistakes.throw()
        found: dict[str, Any] = self._uploader.sent(values)
        return found

    def take_back(self) -> None:
        """Deletes what was uploaded for a start that was refused."""
        self._uploader.take_back()


def _planned(value: Any) -> Any:
    if isinstance(value, Path):
        return planned(value, "Directory" if value.is_dir() else "File")
    if isinstance(value, Mapping):
        return {name: _planned(member) for name, member in value.items()}
    return [_planned(item) for item in value] if isinstance(value, list | tuple) else value
