"""The requests that programs send, one for each operation of the contract, with the types of their answers.

What is None is left out. Names and defaults are those of `openapi.yaml`, where each operation is described; what the
browser alone needs isn't here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import unquote

from ..errors import WaasError
from ..urls import path
from . import answers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, whose answer is a `T`.

    Attributes:
        where: path, quoted.
        repeatable: whether sending it twice does no harm.
        gives: what of the answer is wanted: the value in its body, the id at the end of its `Location`, or nothing.
        seconds: how long to wait for the answer.
    """

    method: str
    where: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    gives: Literal["value", "id", "nothing"] = "value"
    seconds: float = 60.0


def created_id(location: str | None) -> str:
    """The id of what was created, from the header `Location`.

    Raises:
        WaasError: it holds none.
    """
    found = unquote((location or "").rstrip("/").rpartition("/")[2])
    if not found:
        raise WaasError("The service started an execution, but didn't give its id. Look for it: waas executions list")
    return found


def _flag(value: bool) -> str | None:
    return "true" if value else None


def _get(where: str, **params: Any) -> Call[Any]:
    given = {name: value for name, value in params.items() if value is not None}
    return Call("GET", where, given, repeatable=True)


def _words(values: Sequence[str] | None) -> str | None:
    return ",".join(values) if values else None


def list_workflows(
    q: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Call[answers.Workflows]:
    """The workflows that you may run; without `limit` all of them."""
    return _get("/workflows", q=q, limit=limit, cursor=cursor)


def list_workflow_problems() -> Call[answers.WorkflowProblems]:
    """For operators: what isn't published and why."""
    return _get("/workflows/problems")


def get_workflow(workflow_id: str) -> Call[answers.WorkflowDetails]:
    """A workflow, with the JSON Schema of its inputs."""
    return _get(path("workflows", workflow_id))


def trigger_workflow(
    workflow_id: str, inputs: Mapping[str, Any], site: str | None = None, idempotency_key: str | None = None
) -> Call[str]:
    """Starts an execution; gives its id. With a key of your own it may be sent again: one is started at most."""
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    where, body = path("workflows", workflow_id), _trigger(inputs, site)
    return Call("POST", where, json=body, headers=headers, repeatable=bool(headers), gives="id")


def try_workflow(workflow_id: str, inputs: Mapping[str, Any], site: str | None = None) -> Call[answers.DryRun]:
    """Checks what would start an execution, and starts nothing."""
    where, body = path("workflows", workflow_id), _trigger(inputs, site)
    return Call("POST", where, {"dry_run": "true"}, json=body, repeatable=True)


def find_companions(workflow_id: str, inputs: Mapping[str, Any]) -> Call[answers.Companions]:
    """Which files belong beside those among the inputs."""
    return Call("POST", path("workflows", workflow_id, "companions"), json={"inputs": inputs}, repeatable=True)


def _trigger(inputs: Mapping[str, Any], site: str | None) -> dict[str, Any]:
    return {"inputs": inputs, **({} if site is None else {"site": site})}


def list_executions(
    *,
    owner: str | None = None,
    shared: bool = False,
    workflow: str | None = None,
    ids: Sequence[str] | None = None,
    inputs_from: str | None = None,
    statuses: Sequence[str] | None = None,
    created_after: str | None = None,
    created_before: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[answers.Executions]:
    """A page of executions, the newest first."""
    return _get(
        "/executions",
        owner=owner,
        shared=_flag(shared),
        workflow=workflow,
        id=_words(ids),
        inputs_from=inputs_from,
        status=_words(statuses),
        created_after=created_after,
        created_before=created_before,
        limit=limit,
        cursor=cursor,
    )


def get_execution(execution_id: str) -> Call[answers.Execution]:
    """An execution, with its steps and outputs."""
    return _get(path("executions", execution_id))


def cancel_execution(execution_id: str) -> Call[None]:
    """Asks for the end of an execution."""
    return Call("DELETE", path("executions", execution_id), repeatable=True, gives="nothing")


def delete_execution(execution_id: str) -> Call[None]:
    """Removes an execution that has ended, with all its files."""
    return Call("DELETE", path("executions", execution_id), {"purge": "true"}, gives="nothing")


def resume_execution(execution_id: str) -> Call[None]:
    """Goes on with a failed execution from where it failed."""
    return Call("POST", path("executions", execution_id, "resume"), gives="nothing")


def close_execution(execution_id: str, reason: str) -> Call[answers.Execution]:
    """Ends an execution that its engine will never end."""
    return Call("POST", path("executions", execution_id, "close"), json={"reason": reason})


def get_shares(execution_id: str) -> Call[answers.Shares]:
    """Who may see an execution."""
    return _get(path("executions", execution_id, "shares"))


def put_shares(execution_id: str, shares: answers.Shares) -> Call[answers.Shares]:
    """Says who may see an execution."""
    return Call("PUT", path("executions", execution_id, "shares"), json=shares, repeatable=True)


def delete_shares(execution_id: str) -> Call[None]:
    """Lets nobody else see an execution any more."""
    return Call("DELETE", path("executions", execution_id, "shares"), repeatable=True, gives="nothing")


def get_execution_logs(
    execution_id: str, start: int = 0, *, size: int | None = None, wait: float = 0, levels: int | None = None
) -> Call[answers.Logs]:
    """A page of the log.

    Args:
        start: index of the first entry.
        size: how many entries at most; -1 for all of them.
        wait: seconds that the service waits for an entry, when there is none.
        levels: sum of the wanted levels: DEBUG 1, INFO 2, WARN 4, ERROR 8; 0 for all but DEBUG.
    """
    wanted = {"from": start, "size": size, "timeout": f"{wait:g}s" if wait else "0", "levels": levels}
    found = _get(path("executions", execution_id, "logs"), **wanted)
    return Call(found.method, found.where, found.params, repeatable=True, seconds=found.seconds + wait)


def list_files(owner: str | None = None, limit: int | None = None, cursor: str | None = None) -> Call[answers.Files]:
    """A page of uploads, the newest first."""
    return _get("/files", owner=owner, limit=limit, cursor=cursor)


def get_file(file_id: str) -> Call[answers.File]:
    """What is known of an upload."""
    return _get(path("files", file_id))


def delete_file(file_id: str) -> Call[None]:
    """Deletes an upload."""
    return Call("DELETE", path("files", file_id), gives="nothing")


def list_sites() -> Call[answers.Sites]:
    """The sites that you may use, with your account on each."""
    return _get("/sites")


def get_site(site_id: str) -> Call[answers.Site]:
    """A site, with your account there."""
    return _get(path("sites", site_id))


def get_site_account(site_id: str) -> Call[answers.Account]:
    """Your account on a site."""
    return _get(path("sites", site_id, "account"))


def put_site_account(site_id: str, account: answers.NewAccount) -> Call[answers.Account]:
    """Connects your account on a site."""
    return Call("PUT", path("sites", site_id, "account"), json=account, repeatable=True)


def delete_site_account(site_id: str) -> Call[None]:
    """Disconnects your account on a site."""
    return Call("DELETE", path("sites", site_id, "account"), gives="nothing")


def check_site_account(site_id: str) -> Call[answers.AccountCheck]:
    """Tries your account on a site. What doesn't answer there takes the service longest."""
    return Call("POST", path("sites", site_id, "account", "check"), repeatable=True, seconds=180.0)


def list_ssh_keys(owner: str | None = None) -> Call[answers.SshKeys]:
    """Your SSH keys, the newest first."""
    return _get("/ssh_keys", owner=owner)


def create_ssh_key(key: answers.NewSshKey) -> Call[answers.SshKey]:
    """Creates an SSH key, whose private half stays with the service."""
    return Call("POST", "/ssh_keys", json=key)


def get_ssh_key(key_id: str) -> Call[answers.SshKey]:
    """An SSH key's public half, and what is known of it."""
    return _get(path("ssh_keys", key_id))


def rotate_ssh_key(key_id: str) -> Call[answers.SshKey]:
    """Replaces an SSH key by a new one with the same id."""
    return Call("POST", path("ssh_keys", key_id, "rotate"))


def confirm_ssh_key(key_id: str) -> Call[answers.SshKey]:
    """Says that the new public half is installed; the replaced ones are forgotten."""
    return Call("POST", path("ssh_keys", key_id, "confirm"))


def delete_ssh_key(key_id: str, *, force: bool = False) -> Call[None]:
    """Deletes an SSH key; with `force` even if something needs it."""
    return Call("DELETE", path("ssh_keys", key_id), {"force": "true"} if force else {}, gives="nothing")


def whoami() -> Call[answers.Whoami]:
    """Who you are to the service, and your limits."""
    return _get("/whoami")


def list_tokens(owner: str | None = None) -> Call[answers.AccessTokens]:
    """Your personal access tokens, without their secrets."""
    return _get("/tokens", owner=owner)


def create_token(token: answers.NewAccessToken) -> Call[answers.AccessToken]:
    """Creates a personal access token; its secret is in this answer alone."""
    return Call("POST", "/tokens", json=token)


def delete_token(token_id: str) -> Call[None]:
    """Revokes a personal access token."""
    return Call("DELETE", path("tokens", token_id), gives="nothing")


def get_terms() -> Call[answers.TermsState]:
    """The terms of use, and whether you have accepted them."""
    return _get("/terms")


def accept_terms(version: str) -> Call[answers.TermsState]:
    """Accepts the terms of use."""
    return Call("POST", "/terms", json={"version": version}, repeatable=True)


def get_auth_methods() -> Call[answers.AuthMethods]:
    """How one signs in here."""
    return _get("/auth/methods")
