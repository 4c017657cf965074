"""Ready-made contents of the simulated Yorc."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.simulators.yorc_state import Deployment, Inputs, Script, Step, Workflow, given

SUBMIT = "tosca.interfaces.node.lifecycle.Runnable.submit"
RUN = "tosca.interfaces.node.lifecycle.Runnable.run"
CANCEL = "tosca.interfaces.node.lifecycle.Runnable.cancel"


def _greetings(inputs: Inputs) -> str:
    return "\n".join(f"hello {inputs['who']} #{number}" for number in range(1, int(inputs["times"]) + 1))


def _greeting(inputs: Inputs) -> dict[str, str]:
    # A line feed gets lost in the file that a script's outputs come in.
    return {"greeting": f"hello {inputs['who']} x{inputs['times']}".replace("\n", " ")}


def _chain(*steps: tuple[str, Step]) -> dict[str, Step]:
    """Steps, each of which begins when the one before has succeeded."""
    found = {}
    for number, (name, step) in enumerate(steps):
        after = (steps[number + 1][0],) if number + 1 < len(steps) else ()
        found[name] = Step(step.target, step.operation, step.state, after)
    return found


def _states(node: str, *states: str) -> dict[str, Step]:
    return _chain(*((f"{node}_{state}", Step(node, state=state)) for state in states))


def install(*nodes: str) -> Workflow:
    """The workflow that every deployment has been made by."""
    steps = {f"{node}_started": Step(node, state="started") for node in nodes}
    if "Greeter" in nodes:
        begin = Step("Greeter", state="creating", on_success=("Greeter_create",))
        create = Step("Greeter", "standard.create", on_success=("Greeter_started",))
        steps |= {"Greeter_creating": begin, "Greeter_create": create}
    return Workflow("install", steps)


def uninstall(*nodes: str) -> Workflow:
    """The workflow by which it is taken down."""
    return Workflow("uninstall", {f"{node}_deleted": Step(node, state="deleted") for node in nodes})


def _with(deployment: Deployment, workflows: Iterable[Workflow]) -> Deployment:
    deployment.workflows |= {one.name: one for one in workflows}
    return deployment


def demo(identifier: str = "demo-Environment", *, seconds: float = 0.3, greeting: str = "") -> Deployment:
    """The deployment of the recordings: workflows `hello`, `wait_long`, `fail` and `exec_job`.

    Args:
        seconds: that a script takes.
        greeting: value of an attribute that an earlier run has left.
    """
    hello = Workflow(
        "hello",
        _chain(
            ("Greeter_say_hello", Step("Greeter", "custom.say_hello")),
            ("Greeter_greeted", Step("Greeter", state="greeted")),
        ),
        {"who": given(), "times": given("integer", default="2", required=False)},
        {"greeting": ("Greeter", "greeting")},
        {"greeting": "the greeting made"},
    )
    wait_long = Workflow(
        "wait_long",
        _chain(
            ("Greeter_wait_long", Step("Greeter", "custom.wait_long")),
            ("Greeter_waited", Step("Greeter", state="waited")),
        ),
        {"seconds": given("integer")},
    )
    fail = Workflow(
        "fail",
        _chain(("Greeter_fail", Step("Greeter", "custom.fail")), ("Greeter_never", Step("Greeter", state="never"))),
    )
    exec_job = Workflow(
        "exec_job",
        _chain(
            ("Job_submit", Step("Job", SUBMIT)),
            ("Job_run", Step("Job", RUN)),
            ("Job_executed", Step("Job", state="executed")),
        ),
    )
    operations = {
        "standard.create": Script("create.sh", says="created on vm", seconds=seconds),
        "custom.say_hello": Script("hello.sh", ("who", "times"), seconds, _greetings, sets=_greeting),
        "custom.wait_long": Script("wait.sh", ("seconds",), "seconds", "waiting\ndone"),
        "custom.fail": Script("fail.sh", (), seconds, "about to fail", "some stderr", fails=True),
        SUBMIT: Script("submit", (), seconds, job=True),
        RUN: Script("run", (), seconds, "hello from slurm", rate=2 / seconds, job=True),
    }
    outputs = {"greeting": ("Greeter", "greeting"), "job_id": ("Job", "job_id")}
    deployment = Deployment(identifier, operations=operations, nodes=("Greeter", "Job"), outputs=outputs)
    if greeting:
        deployment.attributes["Greeter", "greeting"] = greeting
    nodes = deployment.nodes
    return _with(deployment, (install(*nodes), uninstall(*nodes), hello, wait_long, fail, exec_job))


def jobs(identifier: str = "jobs", *, seconds: float = 60.0, refused: bool = False, rate: float = 0.0) -> Deployment:
    """A deployment of a Slurm job: workflows `plain`, and `cancellable`, whose job ends when it is cancelled.

    Args:
        refused: whether Slurm can't be reached.
        rate: lines a second that the job prints.
    """
    submit = Step("VaultJob", SUBMIT, on_success=("Job_run",))
    plain = Workflow("plain", {"Job_submit": submit, "Job_run": Step("VaultJob", RUN)})
    steps = {
        "Job_submit": submit,
        "Job_run": Step("VaultJob", RUN, on_cancel=("Job_cancel",)),
        "Job_cancel": Step("VaultJob", CANCEL),
    }
    operations = {
        SUBMIT: Script("submit", fails=refused, job=True),
        RUN: Script("run", seconds=seconds, says="over", rate=rate, job=True),
        CANCEL: Script("cancel", job=True),
    }
    deployment = Deployment(identifier, operations=operations, nodes=("VaultJob",))
    installed = Workflow("install", {"s": Step("VaultJob", state="started")})
    removed = Workflow("uninstall", {"d": Step("VaultJob", state="deleted")})
    return _with(deployment, (installed, removed, plain, Workflow("cancellable", steps)))


def failed(identifier: str, status: str = "DEPLOYMENT_FAILED") -> Deployment:
    """What a broken upload leaves: no workflows, for ever in the list."""
    return Deployment(identifier, status=status)


def one(identifier: str, script: Script, *, name: str = "exec_job", inputs: dict[str, Any] | None = None) -> Deployment:
    """A deployment with a single workflow besides those that are built in, of an operation and a state."""
    steps = _chain(("Job_run", Step("Job", RUN)), ("Job_executed", Step("Job", state="executed")))
    deployment = Deployment(identifier, operations={RUN: script}, nodes=("Job",))
    return _with(deployment, (install("Job"), uninstall("Job"), Workflow(name, steps, inputs or {})))


def many(count: int, script: Script) -> list[Deployment]:
    """Deployments `App0000`, `App0001`, … with a workflow `exec_job` each."""
    return [one(f"App{number:04}", script) for number in range(count)]
