"""The simulated Alien4Cloud's REST calls about executions and logs, and the table of all calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote

from tests.simulators.alien4cloud_catalogue import Catalogue, Request, faceted, forbidden
from tests.simulators.alien4cloud_executions import OVER, Execution, Executions
from tests.simulators.alien4cloud_launch import Refusal, check_inputs, null_pointer
from tests.simulators.alien4cloud_logs import WINDOW, WindowTooLarge
from tests.simulators.alien4cloud_state import World

JSON: TypeAlias = Any

STEP_STATUSES = {"STARTED": "STARTED", "SUCCEEDED": "COMPLETED_SUCCESSFULL"}


class Routes(Catalogue):
    """All calls under `/rest/latest` that need a session.

    Attributes:
        orchestrator_down: whether launches and cancellations fail because Yorc doesn't answer.
    """

    def __init__(self, world: World, executions: Executions) -> None:
        super().__init__(world)
        self.executions = executions
        self.orchestrator_down = False
        one = r"([^/]+)"
        app, env = rf"/applications/{one}", rf"/applications/{one}/environments/{one}"
        table: list[tuple[str, str, Callable[..., JSON]]] = [
            ("POST", "/deployment/logs/search", self.search_logs),
            ("GET", "/executions/search", self.search_executions),
            ("GET", rf"/executions/{one}", self.execution),
            ("POST", "/executions/cancel", self.cancel),
            ("POST", rf"/executions/{one}/resume", self.resume),
            ("GET", "/tasks/search", self.search_tasks),
            ("GET", rf"/workflow_execution/{one}", self.workflow_execution),
            ("POST", "/applications/search", self.search_applications),
            ("POST", "/applications/environments", self.bulk_environments),
            ("POST", "/applications/statuses", self.bulk_statuses),
            ("GET", app, self.application),
            ("PUT", app, self.application),
            ("POST", f"{app}/environments/search", self.search_environments),
            ("GET", env, self.environment),
            ("GET", f"{env}/status", self.environment_status),
            ("PUT", rf"{env}/roles/users/{one}/{one}", self.grant),
            ("POST", rf"{env}/workflows/{one}", self.launch),
            ("GET", rf"{env}/workflows/{one}/last_inputs", self.last_inputs),
            ("POST", f"{env}/logs/search", self.search_environment_logs),
            ("GET", f"{env}/active-deployment", self.active_deployment),
            ("GET", f"{env}/active-deployment-monitored", self.monitored_deployment),
            ("GET", f"{env}/deployment/informations", self.instances),
            ("GET", f"{env}/runtime-topology", self.topology),
            ("GET", "/deployments", self.deployments),
            ("GET", "/deployments/search", self.search_deployments),
            ("GET", rf"/deployments/{one}", self.deployment),
            ("GET", rf"/deployments/{one}/status", self.deployment_status),
        ]
        self._table = [(method, re.compile(pattern), call) for method, pattern, call in table]

    def find(self, method: str, path: str) -> tuple[Callable[..., JSON], list[str]] | None:
        """The call for a path (percent-encoded, without the prefix), with what stands in it."""
        for allowed, pattern, call in self._table:
            if allowed == method and (match := pattern.fullmatch(path)):
                return call, [unquote(part) for part in match.groups()]
        return None

    # Executions

    def launch(self, request: Request, application_id: str, environment_id: str, name: str) -> JSON:
        application = self.known(application_id)
        environment = self.world.environments.get(environment_id)
        if environment is None:
            raise Refusal(404, 504, f"Application environment [{environment_id}] cannot be found")
        if not request.user.launches(application, environment):
            raise forbidden()
        if request.body is None:
            raise null_pointer(
                "alien4cloud.rest.application.model.LaunchWorkflowRequest.getInputs()", '"request" is null'
            )
        if name in ("install", "uninstall"):
            raise Refusal(200, 850, f"workflow {name} cannot be launched")
        # The environment needn't belong to the application in the path: it runs where the environment is.
        deployment = self.active(environment_id)
        workflow = deployment.application.workflow(name)
        inputs = request.body.get("inputs") or {}
        check_inputs(workflow, inputs)
        if self.orchestrator_down:
            raise Refusal(200, 619, "Connection refused")
        if workflow is None:
            raise Refusal(200, 619, "404 Not Found")
        return self.executions.launch(deployment, workflow, inputs).id

    def last_inputs(self, request: Request, application_id: str, environment_id: str, name: str) -> JSON:
        deployment = self.active(self.entered(request.user, application_id, environment_id).id)
        inputs = deployment.last_inputs.get(name, {})
        return {key: {"value": value, "definition": False} for key, value in inputs.items()}

    def execution(self, request: Request, execution_id: str) -> JSON:
        execution = self.executions.find(execution_id)
        if execution is None:
            raise Refusal(200, 504, f"Execution with id <{execution_id}> was not found.")
        return execution.json()

    def search_executions(self, request: Request) -> JSON:
        start, size = request.number("from", 0), min(request.number("size", 50), WINDOW)
        if start < 0 or size < 0:
            negative = "[from] parameter cannot be negative"
            raise Refusal(500, 500, negative, "java.lang.IllegalArgumentException")
        if start + size > WINDOW:
            dao = "Error when calling <alien4cloud.dao.ESGenericSearchDAO> <facetedSearch>"
            raise Refusal(500, 300, f"Indexing service has encoutered unexpected error {dao}")
        query, deployment = request.query.get("query", "").lower(), request.query.get("deploymentId")
        found = [
            one
            for one in self.executions.known()
            if (deployment is None or one.deployment.id == deployment) and query in f"{one.workflow.name}\n{one.id}"
        ]
        page = [one.json() for one in found[start : start + size]]
        return faceted(page, len(found), start, "execution")

    def cancel(self, request: Request) -> JSON:
        environment_id, execution_id = request.body["environmentId"], request.body["executionId"]
        deployment = self.active(environment_id)
        if self.orchestrator_down:
            raise Refusal(200, 504, "Connection refused")
        execution = self.executions.all.get(execution_id)
        if execution is None or execution.deployment is not deployment:
            raise Refusal(200, 504, "404 Not Found")
        if execution.status in OVER or execution.lost:
            raise Refusal(200, 504, "400 Bad Request")
        execution.cancel()

    def resume(self, request: Request, execution_id: str) -> JSON:
        execution = self.executions.find(execution_id)
        if execution is None:
            raise Refusal(200, 504, "Execution not found")
        problem = None
        if execution.status != "FAILED" or execution.resuming:
            problem = f"Execution {execution_id} must be in FAILED state to be resumed"
        elif execution.deployment.ended is not None:
            problem = f"Can't resume execution {execution_id} because its deployment is no longer alive"
        if problem is not None:
            raise Refusal(500, 500, problem, "java.lang.IllegalStateException")
        execution.resume()

    def search_tasks(self, request: Request) -> JSON:
        execution = self.executions.find(request.query.get("executionId", ""))
        tasks = [] if execution is None else [execution.task_json(task) for task in execution.tasks.values()]
        start, size = request.number("from", 0), request.number("size", 50)
        return faceted(tasks[start : start + size], len(tasks), start, "task")

    def workflow_execution(self, request: Request, deployment_id: str) -> JSON:
        last = next((one for one in self.executions.known() if one.deployment.id == deployment_id), None)
        if last is None:
            nothing = dict.fromkeys(("lastKnownExecutingTask", "stepStatus", "stepInstances", "stepTasks"))
            return {"execution": None, "actualKnownStepInstanceCount": 0, **nothing}
        running = [last.task_json(task) for task in last.tasks.values() if task.status == "STARTED"]
        return {
            "execution": last.json(),
            "actualKnownStepInstanceCount": len(last.tasks),
            "lastKnownExecutingTask": running[-1] if running else None,
            "stepStatus": {
                name: STEP_STATUSES.get(task.status, "COMPLETED_WITH_ERROR") for name, task in last.tasks.items()
            },
            "stepInstances": {name: [_step_instance(last, name)] for name in last.tasks},
            "stepTasks": {name: [last.task_json(task)] for name, task in last.tasks.items()},
        }

    # Logs

    def search_logs(self, request: Request) -> JSON:
        return self._logs(request.body or {})

    def search_environment_logs(self, request: Request, application_id: str, environment_id: str) -> JSON:
        deployment = self.active(self.entered(request.user, application_id, environment_id).id)
        body = request.body or {}
        return self._logs({**body, "filters": {**(body.get("filters") or {}), "deploymentId": [deployment.id]}})

    def _logs(self, body: Mapping[str, JSON]) -> JSON:
        try:
            return self.executions.logs.search(body)
        except WindowTooLarge as error:
            phase = f"Failed to execute phase [query], all shards failed; shardFailures {{{error}}}"
            raise Refusal(500, 500, "all shards failed", phase) from None
        except ValueError as error:
            raise Refusal(500, 500, str(error), "java.lang.IllegalArgumentException") from None


def _step_instance(execution: Execution, name: str) -> JSON:
    task = execution.tasks[name]
    return {
        "id": task.instance,
        "stepId": name,
        "deploymentId": execution.deployment.id,
        "executionId": execution.id,
        "nodeId": task.step.node,
        "instanceId": "0",
        "operationName": task.step.operation_name,
        "hasFailedTasks": task.status == "FAILED",
        "status": "STARTED" if task.status == "STARTED" else "COMPLETED",
    }
