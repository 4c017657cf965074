"""What the simulated Alien4Cloud keeps: users, sessions, applications, environments, deployments.

The shapes are those of the recordings beside this file; dates are epoch milliseconds.
"""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, TypeAlias

JSON: TypeAlias = Any
Roles: TypeAlias = dict[str, list[str]]

DEPLOYED = ("DEPLOYED", "UPDATED")
VERSION = "0.1.0-SNAPSHOT"
ORCHESTRATOR = "8e7dde5a-f208-497c-b85a-ecfb75bb32ab"
LOCATION = "326180f1-174f-49aa-a476-b6b0595297fa"


@dataclass(frozen=True, kw_only=True)
class Input:
    """A declared input of a workflow.

    Attributes:
        default: a value as Alien4Cloud keeps it, so numbers and booleans as strings.
        constraints: in Alien4Cloud's words (`{"greaterOrEqual": "1"}`, `{"validValues": ["a"]}`, `{"minLength": 2}`).
        entry: type of the entries of a list or map.
    """

    type: str = "string"
    required: bool = False
    default: JSON = None
    description: str | None = None
    constraints: tuple[dict[str, JSON], ...] = ()
    password: bool = False
    entry: str | None = None

    def json(self) -> JSON:
        """The property definition."""
        return {
            "type": self.type,
            "entrySchema": None if self.entry is None else {"type": self.entry, "definition": True},
            "required": self.required,
            "description": self.description,
            "suggestionId": None,
            "suggestionPolicy": None,
            "constraints": [dict(constraint) for constraint in self.constraints] or None,
            "default": None if self.default is None else {"value": self.default, "definition": False},
            "password": self.password,
            "definition": True,
        }


@dataclass(frozen=True)
class Step:
    """A node of a workflow's graph: an operation on a node of the topology.

    Attributes:
        after, after_failure: names of steps that it follows when they succeeded, or failed.
        state: what it sets the node's state to, in place of calling an operation: nobody hears of it.
    """

    name: str
    after: tuple[str, ...] = ()
    node: str = "Job"
    interface: str = "custom"
    operation: str = "run"
    after_failure: tuple[str, ...] = ()
    state: str | None = None

    @property
    def operation_name(self) -> str:
        """The operation with its interface, as events and tasks name it."""
        return f"{self.interface}.{self.operation}"


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """A workflow and how its runs go.

    Attributes:
        inputs: None when it declares none.
        duration: seconds from start to end.
        outcome: `SUCCEEDED` or `FAILED` (the last step that calls something fails; resumed, it succeeds).
        failures: how often it fails, then.
        cancelled_as: what is told of a task that was cancelled: `CANCELLED`, or `FAILED` as by Ansible.
        log_rate: lines per second besides the orchestrator's own.
        line: template of such a line, with `{index}` and `{workflow}`.
        levels: taken in turn by such lines.
        frame: whether the orchestrator writes its own lines around them.
    """

    name: str
    inputs: dict[str, Input] | None = None
    steps: tuple[Step, ...] = (Step("run"),)
    description: str | None = None
    duration: float = 4.0
    outcome: str = "SUCCEEDED"
    failures: int = 1
    cancelled_as: str = "CANCELLED"
    log_rate: float = 0.0
    line: str = "operation custom.run stdout: line {index}"
    levels: tuple[str, ...] = ("INFO",)
    frame: bool = True


@dataclass(kw_only=True)
class Environment:
    """A place where an application is, or isn't, deployed."""

    id: str
    name: str = "Environment"
    status: str = "DEPLOYED"
    roles: Roles = field(default_factory=lambda: {"admin": ["DEPLOYMENT_MANAGER"]})

    def json(self, application: str) -> JSON:
        """The environment as searches show it."""
        version = {"deployedVersion": VERSION} if self.status in DEPLOYED else {}
        return {
            "id": self.id,
            "status": self.status,
            "name": self.name,
            "applicationId": application,
            "environmentType": "DEVELOPMENT",
            "currentVersionName": VERSION,
            **version,
            "userRoles": self.roles,
        }


@dataclass(kw_only=True)
class Application:
    """An application with the workflows of its topology.

    Attributes:
        tags: in order; `hpcwaas-workflows` and `hpcwaas-authorized-…` are what the service looks at.
        attributes: output attributes by node, with their values before any run; a run that succeeds sets them to
            `result-of-<workflow>`.
    """

    id: str
    name: str = ""
    description: str = "demo"
    tags: tuple[tuple[str, str], ...] = ()
    workflows: tuple[Workflow, ...] = ()
    environments: list[Environment] = field(default_factory=list)
    attributes: dict[str, dict[str, str]] = field(default_factory=lambda: {"Job": {"result": "result-of-install"}})
    roles: Roles = field(default_factory=lambda: {"admin": ["APPLICATION_MANAGER"]})
    created: int = field(default_factory=lambda: int(time.time() * 1000))
    updated: int = 0

    def __post_init__(self) -> None:
        self.name = self.name or self.id
        self.updated = self.updated or self.created

    def workflow(self, name: str) -> Workflow | None:
        """A workflow of the topology by name."""
        return next((workflow for workflow in self.workflows if workflow.name == name), None)

    def require(self, name: str) -> Workflow:
        """A workflow of the topology that must be there."""
        return next(workflow for workflow in self.workflows if workflow.name == name)

    def json(self) -> JSON:
        """The application as searches show it."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "creationDate": self.created,
            "lastUpdateDate": self.updated,
            "tags": [{"name": name, "value": value} for name, value in self.tags],
            "metaProperties": {},
            "userRoles": self.roles,
        }


@dataclass(frozen=True)
class User:
    """Who may log in."""

    name: str
    password: str
    roles: tuple[str, ...] = ("COMPONENTS_BROWSER",)

    @property
    def admin(self) -> bool:
        """Whether every door is open."""
        return "ADMIN" in self.roles

    def manages(self, application: Application) -> bool:
        """Whether the application itself is theirs."""
        return self.admin or "APPLICATION_MANAGER" in application.roles.get(self.name, ())

    def sees(self, application: Application) -> bool:
        """Whether searches show them the application."""
        return self.admin or self.name in application.roles

    def launches(self, application: Application, environment: Environment) -> bool:
        """Whether they may run workflows in the environment."""
        return self.manages(application) or "DEPLOYMENT_MANAGER" in environment.roles.get(self.name, ())


@dataclass(kw_only=True)
class Deployment:
    """One deployment of an application in an environment."""

    id: str
    application: Application
    environment: Environment
    started: int
    ended: int | None = None
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    last_inputs: dict[str, JSON] = field(default_factory=dict)

    @property
    def paas_id(self) -> str:
        """The orchestrator's name of it."""
        return f"{self.application.name}-{self.environment.name}".replace(" ", "_")

    def json(self) -> JSON:
        """The bare deployment."""
        return {
            "id": self.id,
            "orchestratorDeploymentId": self.paas_id,
            "deployerUsername": "admin",
            "sourceType": "APPLICATION",
            "orchestratorId": ORCHESTRATOR,
            "locationIds": [LOCATION],
            "sourceId": self.application.id,
            "sourceName": self.application.name,
            "environmentId": self.environment.id,
            "versionId": VERSION,
            "startDate": self.started,
            **({} if self.ended is None else {"endDate": self.ended}),
            "workflowExecutions": {},
        }

    def summary(self, *, source: bool = False) -> JSON:
        """The deployment with its source and location, as lists show it."""
        roles = {"userRoles": self.application.roles} if source else {}
        location = {"id": LOCATION, "name": "HP", "orchestratorId": ORCHESTRATOR, "dependencies": []}
        return {
            "deployment": self.json(),
            "source": {"id": self.application.id, "name": self.application.name, **roles},
            "locations": [{**location, "lastUpdateDate": self.started}],
        }


class Sessions:
    """Sessions in memory: lost at a restart, over after some idle time.

    Args:
        life: idle seconds after which a session is over.
    """

    def __init__(self, life: float) -> None:
        self.life = life
        self._sessions: dict[str, tuple[User | None, float]] = {}

    def open(self, user: User | None) -> str:
        """Makes a session (Alien4Cloud gives one for a failed login too) and returns its id."""
        key = f"node0{secrets.token_hex(12)}"
        self._sessions[key] = (user, time.monotonic())
        return key

    def age(self, seconds: float) -> None:
        """Lets so many seconds pass in which nobody uses them."""
        self._sessions = {key: (user, used - seconds) for key, (user, used) in self._sessions.items()}

    def user(self, key: str | None) -> User | None:
        """Whose session it is, used now; None when it doesn't exist any more."""
        user, used = self._sessions.get(key or "", (None, 0.0))
        if key is None or user is None:
            return None
        if time.monotonic() - used > self.life:
            del self._sessions[key]
            return None
        self._sessions[key] = (user, time.monotonic())
        return user

    def close(self, key: str | None) -> None:
        """Ends one session."""
        self._sessions.pop(key or "", None)

    def clear(self) -> None:
        """Ends all sessions."""
        self._sessions.clear()


class World:
    """Applications and their deployments, with the indexes that searches need.

    Args:
        skew: seconds by which Alien4Cloud's dates run ahead of the true time.
    """

    def __init__(self, applications: list[Application], users: list[User], skew: float = 0.0) -> None:
        self.users = {user.name: user for user in users}
        self.skew = skew
        self.applications: dict[str, Application] = {}
        self.environments: dict[str, Environment] = {}
        self.deployments: dict[str, Deployment] = {}
        self.active: dict[str, Deployment] = {}
        """Deployments that haven't ended, by environment id."""
        for application in applications:
            self.add(application)

    def millis(self, moment: float) -> int:
        """A moment (seconds of the true time) as Alien4Cloud dates it."""
        return int((moment + self.skew) * 1000)

    def add(self, application: Application) -> None:
        """Adds an application and deploys it where its environments say so."""
        self.applications[application.id] = application
        for environment in application.environments:
            self.environments[environment.id] = environment
            if environment.status in DEPLOYED:
                self._deploy(application, environment)

    def remove(self, application_id: str) -> None:
        """Deletes an application with its environments; what ran in it stays on record."""
        application = self.applications.pop(application_id)
        for environment in application.environments:
            self.undeploy(environment.id)
            del self.environments[environment.id]

    def undeploy(self, environment_id: str) -> None:
        """Ends the deployment of an environment, if it has one."""
        self.environments[environment_id].status = "UNDEPLOYED"
        deployment = self.active.pop(environment_id, None)
        if deployment is not None:
            deployment.ended = self.millis(time.time())

    def visible(self, user: User) -> list[Application]:
        """What searches show: deployed applications first, then by name."""
        seen = [application for application in self.applications.values() if user.sees(application)]
        return sorted(seen, key=lambda one: (not any(env.id in self.active for env in one.environments), one.name))

    def _deploy(self, application: Application, environment: Environment) -> None:
        deployment = Deployment(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, environment.id)),
            application=application,
            environment=environment,
            started=self.millis(time.time()),
            attributes={node: dict(values) for node, values in application.attributes.items()},
        )
        self.deployments[deployment.id] = deployment
        self.active[environment.id] = deployment
