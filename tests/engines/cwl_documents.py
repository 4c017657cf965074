"""CWL documents for catalogues of tests."""

from __future__ import annotations

from pathlib import Path

from hpcwaas.engines.cwl.workflows.catalogue import Catalogue

DATA = Path(__file__).parent.parent / "data" / "cwl"

TOOL = "cwlVersion: v1.2\nclass: CommandLineTool\nlabel: {label}\nbaseCommand: echo\ninputs: {inputs}\noutputs: {{}}\n"


def tool(label: str = "Echo", inputs: str = "{}") -> str:
    return TOOL.format(label=label, inputs=inputs)


def ids(catalogue: Catalogue) -> list[str]:
    return [workflow.id for workflow in catalogue.workflows()]
