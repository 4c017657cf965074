"""What the simulated Yorc holds: deployments with their workflows, and what the workflows' operations do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

JSON: TypeAlias = Any
Inputs: TypeAlias = Mapping[str, str]

NO_ENTRY_SCHEMA = {"type": ""}


@dataclass(frozen=True)
class Script:
    """What an operation does.

    Attributes:
        file: its name, for the log.
        reads: inputs of the workflow that it reads.
        seconds: that it takes; of the workflow's inputs when it is the name of one.
        says: what it prints, which Yorc logs when it has ended.
        complains: the same, to its standard error.
        rate: lines of its output a second that are logged while it runs, as a Slurm job's are.
        fails: whether it ends with an error.
        sets: attributes of its node at its end.
        job: whether it is a Slurm job, which goes on when its task is cancelled.
    """

    file: str = "script.sh"
    reads: tuple[str, ...] = ()
    seconds: float | str = 0.02
    says: Callable[[Inputs], str] | str = ""
    complains: str = ""
    rate: float = 0.0
    fails: bool = False
    sets: Callable[[Inputs], Mapping[str, str]] = lambda _inputs: {}
    job: bool = False

    def duration(self, inputs: Inputs) -> float:
        """Seconds that it takes with these inputs."""
        return float(inputs[self.seconds]) if isinstance(self.seconds, str) else self.seconds

    def output(self, inputs: Inputs) -> str:
        """What it prints with these inputs."""
        return self.says if isinstance(self.says, str) else self.says(inputs)


@dataclass(frozen=True)
class Step:
    """A step of a workflow.

    Attributes:
        operation: that it calls; or else
        state: that it sets.
    """

    target: str
    operation: str | None = None
    state: str | None = None
    on_success: tuple[str, ...] = ()
    on_failure: tuple[str, ...] = ()
    on_cancel: tuple[str, ...] = ()

    def json(self) -> JSON:
        """As Yorc writes it."""
        activity: JSON = {"set_state": self.state}
        if self.operation:
            activity = {"call_operation": {"operation": self.operation}}
        links = {name: list(getattr(self, name)) for name in ("on_success", "on_failure", "on_cancel")}
        return {"target": self.target, "activities": [activity]} | {name: to for name, to in links.items() if to}


@dataclass(frozen=True)
class Workflow:
    """A workflow.

    Attributes:
        inputs: their definitions as Yorc writes them.
        outputs: names of attributes, by the outputs' names, each of the node after it: `{"greeting": ("Greeter", …)}`.
    """

    name: str
    steps: Mapping[str, Step]
    inputs: Mapping[str, JSON] = field(default_factory=dict)
    outputs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> JSON:
        """As Yorc writes it; Go leaves out what is empty."""
        outputs = {}
        for name, (node, attribute) in sorted(self.outputs.items()):
            outputs[name] = {
                **({"description": self.descriptions[name]} if name in self.descriptions else {}),
                "entry_schema": NO_ENTRY_SCHEMA,
                "value": {"type": 1, "value": f"get_attribute: [{node}, {attribute}]"},
            }
        parts = {
            "inputs": dict(sorted(self.inputs.items())),
            "steps": {name: step.json() for name, step in sorted(self.steps.items())},
            "outputs": outputs,
        }
        return {"name": self.name} | {key: value for key, value in parts.items() if value}

    @property
    def required(self) -> list[str]:
        """The inputs without which it can't be run."""
        return [name for name, one in sorted(self.inputs.items()) if one["required"] and "default" not in one]


def given(kind: str = "string", *, default: JSON = None, required: bool = True, **more: JSON) -> JSON:
    """The definition of an input as Yorc writes it.

    Args:
        default: a text, or a list or map, which Yorc writes as such.
    """
    definition: JSON = {"type": kind, "required": required}
    if default is not None:
        code = 2 if isinstance(default, list) else 3 if isinstance(default, dict) else 0
        definition["default"] = {"type": code, "value": default}
    return definition | {"entry_schema": NO_ENTRY_SCHEMA} | more


@dataclass
class Deployment:
    """A deployment.

    Attributes:
        operations: what they do, by `NODE.operation` names as steps call them.
        attributes: of nodes, by node and name; runs change them.
        outputs: of the topology: names of attributes and their nodes.
    """

    id: str
    workflows: dict[str, Workflow] = field(default_factory=dict)
    operations: Mapping[str, Script] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    outputs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    status: str = "DEPLOYED"
    attributes: dict[tuple[str, str], str] = field(default_factory=dict)

    def json(self) -> JSON:
        """As Yorc writes it in its list."""
        return {"id": self.id, "status": self.status, "links": [link("deployment", f"/deployments/{self.id}")]}


TaskStatus: TypeAlias = Literal["INITIAL", "RUNNING", "DONE", "FAILED", "CANCELED"]


def link(rel: str, href: str) -> JSON:
    """A link as Yorc writes it."""
    return {"rel": rel, "href": href, "type": "application/json"}
