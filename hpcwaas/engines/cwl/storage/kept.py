"""What lies on this machine of an execution, for whoever wants all of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hpcwaas.engines.cwl.storage import spool


def kept(data_dir: Path, reference: str) -> Mapping[str, Path]:
    """The files and directories of an execution that are its user's, by their names: its inputs as they were sent to
    the runner, its log and its outputs. Outputs of an execution on a site lie there.

    Args:
        data_dir: of the service.
    """
    site, _, execution_id = reference.rpartition(":")
    directory = data_dir / "cwl"
    if site:
        directory = directory / "sites" / site
    directory = directory / "executions" / execution_id
    names = (spool.ORDER, spool.LOG, spool.OUTPUT_OBJECT, spool.OUTPUTS)
    return {name: directory / name for name in names if (directory / name).exists()}
