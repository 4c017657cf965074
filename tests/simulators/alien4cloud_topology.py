"""Runtime topologies of the simulated Alien4Cloud: a recorded one with the application's own workflows in it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from tests.simulators.alien4cloud_state import Application, Deployment, Step, Workflow

JSON: TypeAlias = Any

RECORDING = Path(__file__).parent / "recordings" / "alien4cloud" / "depl-31-runtime-topology.json"
STANDARD = ("install", "uninstall", "start", "stop", "run", "cancel")
TOSCA = "org.alien4cloud.tosca.model.workflow"


@cache
def _recorded() -> JSON:
    return json.loads(RECORDING.read_text(encoding="utf-8"))["response"]["body"]["data"]


def runtime_topology(deployment: Deployment) -> JSON:
    """The topology of a deployment with all types that it uses."""
    recorded = _recorded()
    application = deployment.application
    own = {workflow.name: _workflow(workflow) for workflow in application.workflows}
    standard = {name: recorded["topology"]["workflows"][name] for name in STANDARD}
    topology = {
        **recorded["topology"],
        "archiveName": application.id,
        "workspace": f"app:{application.id}",
        "outputAttributes": {node: list(values) for node, values in application.attributes.items()},
        "workflows": standard | own,
        "unprocessedWorkflows": {name: recorded["topology"]["unprocessedWorkflows"][name] for name in STANDARD},
        "id": deployment.id,
        "environmentId": deployment.environment.id,
        "initialTopologyId": f"{application.id}:{deployment.json()['versionId']}",
    }
    return {**recorded, "topology": topology}


def step_counts(application: Application) -> dict[str, int]:
    """How many steps with an operation each workflow has."""
    standard = {name: 1 if name in ("install", "uninstall") else 0 for name in STANDARD}
    return standard | {
        workflow.name: sum(step.state is None for step in workflow.steps) for workflow in application.workflows
    }


def _workflow(workflow: Workflow) -> JSON:
    inputs = workflow.inputs
    return {
        "name": workflow.name,
        "description": workflow.description,
        "metadata": None,
        "inputs": None if inputs is None else {name: definition.json() for name, definition in inputs.items()},
        "preconditions": None,
        "steps": {step.name: _step(step, workflow) for step in workflow.steps},
        "hasCustomModifications": True,
        "hosts": sorted({step.node for step in workflow.steps}),
        "errors": [],
        "standard": False,
    }


def _step(step: Step, workflow: Workflow) -> JSON:
    call = {"type": f"{TOSCA}.activities.CallOperationWorkflowActivity", "interfaceName": step.interface}
    set_state = {"type": f"{TOSCA}.activities.SetStateWorkflowActivity", "stateName": step.state}
    return {
        "type": f"{TOSCA}.NodeWorkflowStep",
        "target": step.node,
        "operationHost": "ORCHESTRATOR",
        "filter": None,
        "activities": [set_state if step.state is not None else {**call, "operationName": step.operation}],
        "onSuccess": [other.name for other in workflow.steps if step.name in other.after],
        "onFailure": [other.name for other in workflow.steps if step.name in other.after_failure],
        "name": step.name,
        "precedingSteps": list(step.after),
        "precedingFailSteps": list(step.after_failure),
        "hostId": step.node,
    }
