"""What the service answers, written by `make answers` from openapi.yaml."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Status: TypeAlias = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLING", "CANCELLED", "UNKNOWN"]


class NewAccount(TypedDict):
    user: NotRequired[str | None]
    ssh_key: NotRequired[str | None]


class Account(TypedDict):
    """
    Of the user on a site. Null, inside of a site, where they have none.
    """

    site: str
    user: str
    ssh_key: NotRequired[str | None]
    created_at: str
    checked_at: NotRequired[str | None]
    usable: NotRequired[bool | None]


class CheckPoint(TypedDict):
    id: str
    title: str
    status: Literal["ok", "warning", "failed", "skipped"]
    detail: str
    advice: NotRequired[str | None]


class Workflow(TypedDict):
    id: str
    name: str
    application_id: str
    environment_id: str
    environment_name: str
    engine: str
    label: NotRequired[str | None]
    description: NotRequired[str | None]
    sites: NotRequired[list[str] | None]
    commit: NotRequired[str | None]


class Workflows(TypedDict):
    workflows: list[Workflow]
    next_cursor: NotRequired[str | None]
    warnings: NotRequired[list[str]]


class WorkflowProblem(TypedDict):
    workflow: str | None
    published: bool
    problem: str | None
    warnings: list[str]


class WorkflowProblems(TypedDict):
    problems: list[WorkflowProblem]
    ignored: NotRequired[list[str]]


class Retention(TypedDict):
    """
    For how many days after its end an execution of this workflow is kept, and its outputs and its log; null for as
    long as nobody deletes it.

    """

    executions: int | None
    outputs: int | None
    logs: int | None


class OutputDeclaration(TypedDict):
    name: str
    type: str
    label: NotRequired[str | None]
    description: NotRequired[str | None]
    schema: NotRequired[dict[str, Any]]


class StepDeclaration(TypedDict):
    name: str
    label: NotRequired[str | None]
    description: NotRequired[str | None]
    after: list[str]


class Trigger(TypedDict):
    inputs: NotRequired[dict[str, Any] | None]
    site: NotRequired[str | None]


Need = TypedDict("Need", {"basename": str, "class": Literal["File", "Directory"], "required": bool})


class Companion(TypedDict):
    input: str
    basename: str
    needs: list[Need]


class Companions(TypedDict):
    companions: list[Companion]


class ExecutionSummary(TypedDict):
    id: str
    status: Status
    workflow_id: str
    workflow_name: str
    engine: str
    owner: str
    created_at: str
    started_at: NotRequired[str | None]
    ended_at: NotRequired[str | None]
    reason: NotRequired[str | None]
    site: NotRequired[str | None]
    removing_since: NotRequired[str | None]


class ExecutionListEvent(ExecutionSummary):
    """
    How one of several executions stands, as a stream tells it.
    """

    stale_since: NotRequired[str | None]


class StreamEnd(TypedDict):
    """
    Why nothing more comes of a stream.
    """

    reason: Literal["over", "gone", "withdrawn"]
    status: str | None
    detail: str | None


class StreamProblem(TypedDict):
    """
    Why there is no news of a stream for now.
    """

    status: int
    title: str
    detail: str


class CloseRequest(TypedDict):
    reason: str


class Attempt(TypedDict):
    number: int
    status: Status
    started_at: str | None
    ended_at: str | None
    reason: str | None


class Closing(TypedDict):
    by: str
    at: str
    reason: str


class Executions(TypedDict):
    executions: list[ExecutionSummary]
    next_cursor: NotRequired[str | None]


class Scatter(TypedDict):
    """
    How far the step has come, if it runs once for each of several values (CWL's `scatter`). Null for other steps, and
    before it begins. If what it runs is a workflow, a run is done when that workflow is. It is told every
    one or two seconds.

    """

    total: int | None
    done: int
    failed: int
    skipped: int
    running: int


class Job(TypedDict):
    """
    What the site's scheduler knows of the step: the job that it started last for it. Null where there is no scheduler
    or no job yet.

    """

    id: str
    name: NotRequired[str | None]
    state: str
    reason: NotRequired[str | None]
    node: NotRequired[str | None]
    submitted_at: NotRequired[str | None]
    started_at: NotRequired[str | None]
    ended_at: NotRequired[str | None]


class LogEntry(TypedDict):
    index: int
    level: Literal["DEBUG", "INFO", "WARN", "ERROR"]
    timestamp: str
    content: str


Logs = TypedDict("Logs", {"logs": list[LogEntry], "total_results": int, "from": int, "status": Status, "over": bool})


class File(TypedDict):
    id: str
    name: str
    media_type: str
    size: int
    sha256: str
    owner: str
    created_at: str
    companion_of: NotRequired[str | None]


class Files(TypedDict):
    files: list[File]
    next_cursor: NotRequired[str | None]


class NewSshKey(TypedDict):
    type: NotRequired[Literal["ed25519", "rsa", "ecdsa"]]
    bits: NotRequired[Literal[256, 384, 521, 3072, 4096]]
    name: NotRequired[str | None]
    comment: NotRequired[str | None]
    metadata: NotRequired[dict[str, str] | None]


class ReplacedItem(TypedDict):
    public_key: str
    fingerprint: str
    replaced_at: str


class SshKey(TypedDict):
    id: str
    name: NotRequired[str | None]
    type: Literal["ed25519", "rsa", "ecdsa"]
    bits: NotRequired[int | None]
    public_key: str
    fingerprint: str
    owner: str
    metadata: dict[str, str]
    created_at: str
    rotated_at: NotRequired[str | None]
    last_used_at: NotRequired[str | None]
    replaced: NotRequired[list[ReplacedItem]]
    warnings: NotRequired[list[str]]


class SshKeys(TypedDict):
    ssh_keys: list[SshKey]


class Liveness(TypedDict):
    status: Literal["ok"]


class Check(TypedDict):
    name: str
    status: Literal["ok", "degraded", "failed"]
    latency_ms: float
    problems: list[str]


class Readiness(TypedDict):
    status: Literal["ok", "degraded", "failed"]
    checks: NotRequired[list[Check]]


class Error(TypedDict):
    id: str
    status: int
    title: str
    detail: str


class InputProblem(TypedDict):
    input: str
    detail: str
    given: NotRequired[str | None]
    expected: NotRequired[str | None]
    suggestion: NotRequired[str | None]


User: TypeAlias = str


Group: TypeAlias = str


class Shares(TypedDict):
    """
    With whom an execution is shared, read-only.
    """

    users: NotRequired[list[User]]
    groups: NotRequired[list[Group]]


class Usage(TypedDict):
    """
    How much of a limit is used.
    """

    used: int
    limit: int | None


class Limits(TypedDict):
    """
    What this user may have or do. `stored` is in bytes: uploaded files, and inputs, outputs and logs of
    executions. `requests` are those of the last minute.

    """

    executions: Usage
    stored: Usage
    requests: Usage


Scope: TypeAlias = Literal["workflows:read", "executions:read", "executions:write", "keys:write", "admin"]


class NewAccessToken(TypedDict):
    """
    A personal access token to make.
    """

    name: str
    scopes: list[Scope]
    days: NotRequired[int]


class AccessToken(TypedDict):
    """
    A personal access token.
    """

    id: str
    name: str
    owner: str
    scopes: list[Scope]
    created_at: str
    expires_at: str
    last_used_at: str | None
    token: NotRequired[str]


class AccessTokens(TypedDict):
    """
    Personal access tokens.
    """

    tokens: list[AccessToken]


class AuthMethods(TypedDict):
    """
    Ways to sign in.
    """

    methods: list[Literal["basic", "sso", "local"]]


class DeviceRequest(TypedDict):
    """
    Who asks to be let in.
    """

    client_id: NotRequired[str]
    scope: NotRequired[str]
    acr_values: NotRequired[str]
    max_age: NotRequired[str]


class DeviceAnswer(TypedDict):
    """
    What RFC 8628, 3.2 says.
    """

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: NotRequired[str]
    expires_in: int
    interval: int


class LoginAnswer(TypedDict):
    """
    What the page's form sends.
    """

    redirect_uri: str
    state: str
    code_challenge: str
    code_challenge_method: Literal["S256"]
    acr_values: NotRequired[str]
    max_age: NotRequired[str]
    proof: str
    decision: Literal["accept", "refuse"]


class TermsAnswer(TypedDict):
    """
    What the page's form sends.
    """

    ticket: str
    decision: Literal["accept", "refuse"]


class Terms(TypedDict):
    """
    null when the service has none.
    """

    version: str
    text: str | None
    url: str | None


class TermsState(TypedDict):
    """
    Terms of use, and whether the user has accepted them.
    """

    terms: Terms | None
    accepted_at: str | None


class TermsAcceptance(TypedDict):
    """
    What is accepted.
    """

    version: str


class Activation(TypedDict):
    """
    What the page's form sends.
    """

    user_code: str
    proof: str


class TokenRequest(TypedDict):
    """
    What RFC 6749, RFC 7636 and RFC 8628 say of it.
    """

    grant_type: str
    code: NotRequired[str]
    redirect_uri: NotRequired[str]
    code_verifier: NotRequired[str]
    device_code: NotRequired[str]
    refresh_token: NotRequired[str]
    client_id: NotRequired[str]


class TokenAnswer(TypedDict):
    """
    What RFC 6749, 5.1 says.
    """

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str


class TokenRefusal(TypedDict):
    """
    What RFC 6749, 5.2 and RFC 8628, 3.5 say.
    """

    error: str
    error_description: NotRequired[str]


class Site(TypedDict):
    id: str
    title: str
    description: NotRequired[str | None]
    host: NotRequired[str | None]
    scheduler: str
    state: Literal["available", "maintenance", "silent"]
    maintenance: NotRequired[str | None]
    silent_since: NotRequired[str | None]
    accounts: bool
    keyless: bool
    login: NotRequired[str | None]
    account: NotRequired[Account | None]


class Sites(TypedDict):
    sites: list[Site]


class AccountCheck(TypedDict):
    """
    What was found of an account. Null, in the answer to a dry run, where none is needed.
    """

    site: str
    account: str
    usable: bool
    points: list[CheckPoint]


class WorkflowDetails(Workflow):
    version: str
    retention: NotRequired[Retention]
    inputs: dict[str, Any]
    outputs: list[OutputDeclaration]
    steps: list[StepDeclaration]


class DryRun(TypedDict):
    valid: bool
    site: NotRequired[str | None]
    check: NotRequired[AccountCheck | None]
    workflow_id: str
    inputs: dict[str, Any]


class Step(TypedDict):
    name: str
    label: NotRequired[str | None]
    status: Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"]
    started_at: NotRequired[str | None]
    ended_at: NotRequired[str | None]
    job: NotRequired[Job | None]
    scatter: NotRequired[Scatter | None]


class Problem(TypedDict):
    """
    What is wrong and what to do (RFC 9457). `errors` is for clients of the service's older interface.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: NotRequired[str]
    request_id: NotRequired[str]
    errors: list[Error]
    inputs: NotRequired[list[InputProblem]]
    executions: NotRequired[list[str]]
    sites: NotRequired[list[str]]


class Whoami(TypedDict):
    """
    A user as the service sees them.
    """

    subject: str
    name: str
    roles: list[Literal["user", "operator"]]
    groups: list[str]
    scopes: list[Scope] | None
    limits: Limits


class ExecutionEvent(ExecutionListEvent):
    """
    How an execution stands, as a stream tells it.
    """

    directory: NotRequired[str | None]
    steps: list[Step]


class Execution(ExecutionSummary):
    workflow_version: NotRequired[str | None]
    account: NotRequired[str | None]
    directory: NotRequired[str | None]
    inputs: dict[str, Any]
    inputs_from: NotRequired[list[str]]
    outputs: NotRequired[dict[str, Any]]
    steps: list[Step]
    attempts: NotRequired[list[Attempt]]
    closed: NotRequired[Closing | None]
    removed: NotRequired[list[Literal["outputs", "log"]]]
    removal_problem: NotRequired[str | None]
    stale_since: NotRequired[str | None]
