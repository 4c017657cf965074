"""Ready-made contents for the simulated Alien4Cloud."""

from __future__ import annotations

from dataclasses import replace

from tests.simulators.alien4cloud_state import Application, Environment, Input, Step, User, Workflow, World

ADMIN = User("admin", "admin", ("COMPONENTS_BROWSER", "ADMIN"))
WORKFLOWS = "hpcwaas-workflows"
USERS = "hpcwaas-authorized-users"


def recorded(duration: float = 4.0) -> World:
    """What the recordings were taken from.

    Args:
        duration: seconds that `exec_job` and `fail_job` run; `slow_job` runs a minute.
    """
    numbers = ({"inRange": ["1", "10"], "rangeMinValue": "1", "rangeMaxValue": "10"},)
    exec_job = Workflow(
        name="exec_job",
        duration=duration,
        inputs={
            "user_id": Input(required=True, description="the user who launches"),
            "debug": Input(type="boolean", default="false"),
            "num": Input(type="integer", constraints=numbers),
        },
    )
    fail_job = Workflow(name="fail_job", duration=duration, outcome="FAILED")
    slow_job = Workflow(name="slow_job", duration=60.0)
    environments = (
        Environment(id="5de4279f-d629-47ca-ac92-586a8cc534fd"),
        Environment(id="eaf6541e-fc9a-4de2-8911-9daa95490038"),
        Environment(id="a1ab5603-b61d-4d68-b85d-d197cfd2aa3e", status="UNDEPLOYED"),
    )
    tags = (((WORKFLOWS, "exec_job,fail_job,slow_job"),), ((WORKFLOWS, "exec_job"), (USERS, "alice,bob")), ())
    applications = [
        Application(
            id=f"RecApp{number}",
            name=f"Rec App {number}",
            tags=tags[number - 1],
            workflows=(exec_job, fail_job, slow_job),
            environments=[environments[number - 1]],
        )
        for number in (1, 2, 3)
    ]
    return World(applications, [ADMIN, User("carol", "carol"), User("alice", "alice")])


def original(duration: float = 12.0) -> World:
    """What stood behind the existing service when its own wire was recorded.

    Args:
        duration: seconds that `exec_job` runs; it writes two lines a second.
    """
    inputs = {
        "a": Input(),
        "n": Input(type="integer"),
        "f": Input(type="float"),
        "big": Input(type="integer"),
        "b": Input(type="boolean"),
        "nul": Input(),
        "l": Input(type="list"),
        "c": Input(),
    }
    exec_job = Workflow(
        name="exec_job",
        inputs=inputs,
        duration=duration,
        log_rate=2.0,
        line='line {index} of workflow "{workflow}"',
        levels=("INFO", "DEBUG", "WARN", "ERROR"),
        frame=False,
    )
    workflows = (
        exec_job,
        replace(exec_job, name="other_wf"),
        replace(exec_job, name="second"),
        replace(exec_job, name="short_wf", duration=duration / 12),
        replace(exec_job, name="fail_wf", duration=duration / 6, outcome="FAILED"),
    )

    def application(name: str, *environments: Environment, **tags: str) -> Application:
        named = tuple((USERS if key == "users" else WORKFLOWS, value) for key, value in tags.items())
        return Application(id=name, tags=named, workflows=workflows, environments=list(environments))

    applications = [
        application("Public", Environment(id="env-pub"), workflows="exec_job,other_wf"),
        application("AliceOnly", Environment(id="env-alice"), workflows="exec_job", users="alice"),
        application("AliceBob", Environment(id="env-ab"), workflows="exec_job", users="alice,bob"),
        application("AliceBobSpaces", Environment(id="env-abs"), workflows="exec_job, second", users="alice, bob"),
        application("NotDeployed", Environment(id="env-nd", status="UNDEPLOYED"), workflows="exec_job"),
        application(
            "TwoEnvs",
            Environment(id="env-t1", name="Prod env"),
            Environment(id="env-t2", name="Test <&> é"),
            workflows="exec_job",
        ),
        application("EmptyTag", Environment(id="env-et"), workflows=""),
        application("NoTag", Environment(id="env-nt")),
    ]
    return World(applications, [ADMIN])


def many(count: int, workflow: Workflow | None = None) -> World:
    """Any number of deployed applications, `App0000` on, each with one environment and one workflow open to all.

    Args:
        workflow: what each of them publishes; by default a two-step one of four seconds.
    """
    published = workflow or Workflow(name="exec_job", steps=(Step("prepare"), Step("compute", ("prepare",))))
    return World(
        [
            Application(
                id=f"App{number:04}",
                tags=((WORKFLOWS, published.name),),
                workflows=(published,),
                environments=[Environment(id=f"env-{number:04}")],
            )
            for number in range(count)
        ],
        [ADMIN],
    )
