"""The contract itself, and the service against it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest
from jsonschema import Draft4Validator
from openapi_schema_validator import OAS30Validator

from hpcwaas.api import contract
from tests.service import make_settings, serving

CONTRACT = contract.read()
HERE = Path(__file__).parent


def resolved(node: Any) -> Any:
    """The contract with all references filled in."""
    if isinstance(node, dict):
        if "$ref" in node:
            found: Any = CONTRACT
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            return resolved(found)
        return {name: resolved(member) for name, member in node.items()}
    return [resolved(item) for item in node] if isinstance(node, list) else node


OPERATIONS = {
    operation["operationId"]: operation
    for item in resolved(CONTRACT["paths"]).values()
    for method, operation in item.items()
    if method != "parameters"
}


def test_it_is_valid_openapi() -> None:
    openapi_spec_validator.validate(CONTRACT)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_documented_with_examples_that_fit(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    for status, response in operation["responses"].items():
        assert response["description"], (name, status)
        for media_type, content in response.get("content", {}).items():
            if content.get("schema", {}).get("format") != "binary":
                OAS30Validator(content["schema"]).validate(content["example"])
            assert "example" in content, (name, status, media_type)
    for parameter in operation.get("parameters", []):
        assert parameter["description"], (name, parameter)
        if "example" in parameter:
            OAS30Validator(parameter["schema"]).validate(parameter["example"])


@pytest.mark.parametrize("name", [name for name in OPERATIONS if OPERATIONS[name].get("security") != []])
def test_every_protected_operation_documents_refusal(name: str) -> None:
    assert {"401", "default"} <= OPERATIONS[name]["responses"].keys()


def test_every_schema_is_valid() -> None:
    for schema in resolved(CONTRACT["components"]["schemas"]).values():
        Draft4Validator.check_schema({name: member for name, member in schema.items() if name != "example"})


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """Examples, coverage of the schemas' edges, fuzzing and sequences of calls, all checked against the contract.

    In local mode: with accounts, so many wrong passwords would soon be answered 429, and rightly.
    """
    with serving(make_settings(tmp_path / "service", auth=None)) as url:
        token = (tmp_path / "service" / "local-token").read_text().strip()
        done = schemathesis(tmp_path, url, f"Bearer {token}")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Stateful" in done.stdout
    assert f"{len(OPERATIONS)} selected" in done.stdout


def schemathesis(directory: Path, url: str, authorization: str) -> subprocess.CompletedProcess[str]:
    """Runs schemathesis against a service."""
    command = [
        str(Path(sys.executable).with_name("st")),
        "--config-file",
        str(HERE / "schemathesis.toml"),
        "run",
        f"{url}/openapi.json",
        "--header",
        f"Authorization: {authorization}",
        "--no-color",
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "contract_hooks", "PYTHONPATH": str(HERE)}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
