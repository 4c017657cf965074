"""The pages of the reference that are made from the contract, the errors and the commands say what these say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from hpcwaas.api import problems

TOP = Path(__file__).parents[2]


def imported() -> ModuleType:
    spec = importlib.util.spec_from_file_location("references", TOP / ".ci" / "references.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCES = imported()
CONTRACT = yaml.safe_load((TOP / "openapi.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", REFERENCES.PAGES)
def test_a_page_is_in_step(name: str) -> None:
    written = (TOP / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8")
    assert written == REFERENCES.PAGES[name](), "run: make references"


def test_every_operation_and_object_is_told_once() -> None:
    told = re.findall(r"^### (.+)$", REFERENCES.PAGES["api"](), re.MULTILINE)
    operations = {
        f"{method.upper()} {path}"
        for path, item in CONTRACT["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert sorted(told) == sorted(operations | set(CONTRACT["components"]["schemas"]))


def test_every_error_is_told_and_no_other() -> None:
    assert set(REFERENCES.WHAT_TO_DO) == set(problems.STATUS)
    classes = {kind.id for kind in REFERENCES.ServiceError.__subclasses__()}
    assert set(REFERENCES.WHEN) == set(problems.STATUS) - classes
