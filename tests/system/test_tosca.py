"""The TOSCA type that deploys the service: a parser reads it, and its scripts deploy on a machine with systemd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.e2e.processes import eventually
from tests.ports import free_port
from tests.system.deploying import DEPLOY, said_by
from tests.system.systemd import UNIT, Machine

pytestmark = pytest.mark.system

TOSCA = DEPLOY / "tosca"
TYPE = "hpcwaas.nodes.Service"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


def loaded(name: str) -> Any:
    return yaml.safe_load((TOSCA / name).read_text(encoding="utf-8"))


def test_a_parser_reads_the_example() -> None:
    assert said_by("tosca", TOSCA / "topology.yaml") == ["Machine", "Service"]


def test_what_the_type_names_is_there() -> None:
    kind = loaded("types.yaml")["node_types"][TYPE]
    for operation in kind["interfaces"]["Standard"].values():
        script = operation if isinstance(operation, str) else operation["implementation"]
        assert (TOSCA / script).stat().st_mode & 0o111
    assert (TOSCA / kind["artifacts"]["unit"]["file"]).resolve() == UNIT


def operate(machine: Machine, operation: str, port: int) -> None:
    """Runs the script of an operation with its inputs in the environment, as orchestrators do."""
    kind = loaded("types.yaml")["node_types"][TYPE]
    template = loaded("topology.yaml")["topology_template"]["node_templates"]["Service"]["properties"]
    stated = kind["interfaces"]["Standard"][operation]
    defaults = {name: one["default"] for name, one in kind["properties"].items() if "default" in one}
    # The package is there already, so nothing is fetched.
    given = {**defaults, "settings": template["settings"], "port": port, "package": "hpcwaas"}
    inputs = {} if isinstance(stated, str) else stated["inputs"]
    values = {name: given[source["get_property"][1]] for name, source in inputs.items()}
    script = stated if isinstance(stated, str) else stated["implementation"]
    variables = [f"{name}={value}" for name, value in values.items()]
    machine.run("env", "PIP_NO_INDEX=1", *variables, TOSCA / script)


def test_the_scripts_deploy_the_service_and_remove_it(machine: Machine) -> None:
    port = free_port()
    for operation in ("create", "configure", "start"):
        operate(machine, operation, port)

    def ready() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=60).ok
        except requests.ConnectionError:
            return False

    eventually(ready)
    assert requests.get(f"http://127.0.0.1:{port}/workflows", timeout=60).status_code == 401
    assert machine.run("systemctl", "is-enabled", "hpcwaas") == "enabled"
    assert machine.run("stat", "--format=%U %a", "/etc/hpcwaas-api/environment") == "root 600"
    operate(machine, "stop", port)
    assert machine.done("systemctl", "is-active", "hpcwaas").stdout.strip() == "inactive"
    machine.run("sh", "-c", "umount /opt/hpcwaas/lib/python*/site-packages")  # the packages of these tests stay
    operate(machine, "delete", port)
    assert not Path("/etc/hpcwaas-api").exists()
    left = machine.done("ls", "/etc/systemd/system/hpcwaas.service", "/opt/hpcwaas", "/etc/hpcwaas-api")
    assert left.stdout == ""
    assert machine.run("ls", "/var/lib/hpcwaas")
