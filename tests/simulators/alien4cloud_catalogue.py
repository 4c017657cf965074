"""The simulated Alien4Cloud's REST calls about applications, environments and deployments, in the recorded words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.simulators.alien4cloud_launch import Refusal
from tests.simulators.alien4cloud_logs import CAP
from tests.simulators.alien4cloud_state import Application, Deployment, Environment, User, World
from tests.simulators.alien4cloud_topology import runtime_topology, step_counts

JSON: TypeAlias = Any


@dataclass(frozen=True)
class Request:
    """A call by a user with a session.

    Attributes:
        query: first value of each query parameter.
        body: parsed JSON; None when there was no body.
    """

    user: User
    query: Mapping[str, str]
    body: JSON

    def number(self, name: str, default: int) -> int:
        """A number from the query."""
        return int(self.query.get(name, default))


def faceted(items: Sequence[JSON], total: int, start: int, type_name: str) -> JSON:
    """A page in the form that most searches have; an empty one forgets the total."""
    return {
        "types": [type_name] * len(items),
        "data": list(items),
        "queryDuration": 1,
        "totalResults": total if items else 0,
        "from": start,
        "to": start + len(items) - 1 if items else 0,
        "facets": None if items else {},
    }


def forbidden() -> Refusal:
    """The caller is known and lacks a role."""
    return Refusal(403, 102, "Current user has no sufficient rights.")


class Catalogue:
    """What is there to run. Every method is a call: it takes the request and what stands in the path."""

    def __init__(self, world: World) -> None:
        self.world = world

    # Applications and environments

    def search_applications(self, request: Request) -> JSON:
        body = request.body or {}
        start, size = body.get("from") or 0, body.get("size")
        size = 50 if size is None else min(size, CAP)
        found = [one for one in self.world.visible(request.user) if _matches(one, body)]
        return {
            "types": ["Application"],
            "data": [one.json() for one in found[start : start + size]],
            "queryDuration": 1,
            "totalResults": len(found),
            "from": start,
            "to": start + size,
            "facets": None if found else {},
        }

    def application(self, request: Request, application_id: str) -> JSON:
        return self._seen(request.user, application_id).json()

    def bulk_environments(self, request: Request) -> JSON:
        found = [self._seen(request.user, one) for one in request.body]
        return {one.id: [env.json(one.id) for env in one.environments] for one in found}

    def bulk_statuses(self, request: Request) -> JSON:
        found = [self._seen(request.user, one) for one in request.body]
        return {
            one.id: {e.id: {"environmentName": e.name, "environmentStatus": e.status} for e in one.environments}
            for one in found
        }

    def search_environments(self, request: Request, application_id: str) -> JSON:
        application, body = self._seen(request.user, application_id), request.body or {}
        start, size = body.get("from") or 0, body.get("size")
        page = application.environments[start : start + (50 if size is None else min(size, CAP))]
        return {
            "types": ["applicationenvironment"] * len(page),
            "data": [environment.json(application_id) for environment in page],
            "queryDuration": 1,
            "totalResults": len(application.environments),
            "from": 0,
            "to": 0,
        }

    def environment(self, request: Request, application_id: str, environment_id: str) -> JSON:
        environment = self.entered(request.user, application_id, environment_id)
        return environment.json(self._owner(environment).id)

    def environment_status(self, request: Request, application_id: str, environment_id: str) -> JSON:
        return self.entered(request.user, application_id, environment_id).status

    def grant(self, request: Request, application_id: str, environment_id: str, user: str, role: str) -> JSON:
        application = self._seen(request.user, application_id)
        environment = self.entered(request.user, application_id, environment_id)
        if role not in (granted := environment.roles.setdefault(user, [])):
            granted.append(role)
        application.roles.setdefault(user, ["APPLICATION_USER"])

    # Deployments

    def active_deployment(self, request: Request, application_id: str, environment_id: str) -> JSON:
        environment = self.entered(request.user, application_id, environment_id)
        deployment = self.world.active.get(environment.id)
        return None if deployment is None else deployment.json()

    def monitored_deployment(self, request: Request, application_id: str, environment_id: str) -> JSON:
        deployment = self.active(self.entered(request.user, application_id, environment_id).id)
        counts = step_counts(deployment.application)
        return {"deployment": deployment.json(), "workflowExpectedStepInstanceCount": counts}

    def instances(self, request: Request, application_id: str, environment_id: str) -> JSON:
        deployment = self.active(self.entered(request.user, application_id, environment_id).id)
        state = {"state": "started", "instanceStatus": "SUCCESS"}
        return {
            node: {"0": {**state, "attributes": values, "runtimeProperties": {}}}
            for node, values in deployment.attributes.items()
        }

    def topology(self, request: Request, application_id: str, environment_id: str) -> JSON:
        return runtime_topology(self.active(self.entered(request.user, application_id, environment_id).id))

    def deployments(self, request: Request) -> JSON:
        if not request.user.admin:
            raise forbidden()
        source = request.query.get("includeSourceSummary") == "true"
        return [one.summary(source=source) for one in self._deployments(request)][:100]

    def search_deployments(self, request: Request) -> JSON:
        start, size = request.number("from", 0), request.number("size", 50)
        source = request.query.get("includeSourceSummary") == "true"
        found = self._deployments(request)
        page = [one.summary(source=source) for one in found[start : start + size]]
        return faceted(page, len(found), start, "deployment")

    def deployment(self, request: Request, deployment_id: str) -> JSON:
        return self._deployment(deployment_id).summary()

    def deployment_status(self, request: Request, deployment_id: str) -> JSON:
        return self._deployment(deployment_id).environment.status

    # What may be seen

    def known(self, application_id: str) -> Application:
        application = self.world.applications.get(application_id)
        if application is None:
            raise Refusal(404, 504, f"Application [{application_id}] cannot be found")
        return application

    def _seen(self, user: User, application_id: str) -> Application:
        application = self.known(application_id)
        if not user.sees(application):
            raise forbidden()
        return application

    def entered(self, user: User, application_id: str, environment_id: str) -> Environment:
        self._seen(user, application_id)
        environment = self.world.environments.get(environment_id)
        if environment is None:
            raise Refusal(404, 504, f"Application environment [{environment_id}] cannot be found")
        return environment

    def _owner(self, environment: Environment) -> Application:
        return next(one for one in self.world.applications.values() if environment in one.environments)

    def active(self, environment_id: str) -> Deployment:
        deployment = self.world.active.get(environment_id)
        if deployment is None:
            raise Refusal(404, 504, f"Deployment for environment <{environment_id}> doesn't exist.")
        return deployment

    def _deployment(self, deployment_id: str) -> Deployment:
        deployment = self.world.deployments.get(deployment_id)
        if deployment is None:
            raise Refusal(404, 504, f"Deployment <{deployment_id}> doesn't exist.")
        return deployment

    def _deployments(self, request: Request) -> list[Deployment]:
        """Active and ended ones mixed, newest first."""
        source, environment = request.query.get("sourceId"), request.query.get("environmentId")
        return [
            one
            for one in reversed(self.world.deployments.values())
            if source in (None, one.application.id) and environment in (None, one.environment.id)
        ]


def _matches(application: Application, body: Mapping[str, JSON]) -> bool:
    """Whether a search finds an application; filters with unknown names let everything through."""
    filters = body.get("filters") or {}
    names, values = ({tag[part] for tag in application.tags} for part in (0, 1))
    known = {"tags.name": names, "tags.value": values, "id": {application.id}, "name": {application.name}}
    query = (body.get("query") or "").lower()
    return query in f"{application.name}\n{application.description}".lower() and all(
        not known[name].isdisjoint(wanted) for name, wanted in filters.items() if name in known
    )
