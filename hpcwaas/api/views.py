"""The service's models in the shapes of the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote, urlencode

from flask import Response

from hpcwaas.api import prefix
from hpcwaas.common import written
from hpcwaas.common.moments import rfc3339
from hpcwaas.core.companions import Companions
from hpcwaas.core.endings import Closing, Part, Retention
from hpcwaas.core.logs import LogView
from hpcwaas.core.models import (
    JSON,
    Check,
    Execution,
    LogEntry,
    SSHKey,
    Status,
    Step,
    Upload,
    Workflow,
    WorkflowDetails,
)
from hpcwaas.core.site_models import Account, AccountCheck, Job
from hpcwaas.core.sites import UsersSite
from hpcwaas.core.step_models import Scatter

_PARTS = {"outputs": Part.OUTPUTS, "log": Part.LOG}


def answer(
    document: Any, status: int = 200, headers: Mapping[str, str] | None = None, *, as_written: bool = False
) -> Response:
    """A JSON answer.

    Args:
        as_written: whether there are numbers that somebody has written.
    """
    return answer_of(text(document, as_written=as_written), status, headers)


def answer_of(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer whose text is there."""
    return Response(body + "\n", status, headers, content_type="application/json")


def text(document: Any, *, as_written: bool = False) -> str:
    """A document as the answers have it; see `answer`."""
    dumps = written.dumps if as_written else json.dumps
    return dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def empty(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body."""
    response = Response(status=status, headers=headers)
    del response.headers["Content-Type"]
    return response


def remark(text: str | None) -> dict[str, str]:
    """Headers of an answer that has something to say beside its body; none when it hasn't."""
    if text is None:
        return {}
    plain = "".join(it if it.isprintable() else " " for it in text).encode("ascii", "replace").decode()
    quoted = plain.replace("\\", r"\\").replace('"', r"\"")
    return {"Warning": f'299 - "{quoted}"'}


def staleness(since: datetime | None) -> dict[str, str]:
    """Headers of an answer with what was known at a moment, since when there is no news; none when it is fresh."""
    return {"Warning": f'110 - "Response is Stale" "{format_datetime(since, usegmt=True)}"'} if since else {}


def moment(value: datetime | None) -> str | None:
    """A time as the contract has it."""
    return rfc3339(value) if value else None


def workflow(value: Workflow, sites: Sequence[str] | None) -> dict[str, Any]:
    """A workflow as listed.

    Args:
        sites: ids of those where the user may run it; None where its engine has none.
    """
    return {
        "id": value.id,
        "name": value.name,
        "application_id": value.application_id,
        "environment_id": value.environment_id,
        "environment_name": value.environment_name,
        "engine": value.engine,
        "label": value.label,
        "description": value.description,
        "sites": sites,
        "commit": value.commit,
    }


def workflow_details(value: WorkflowDetails, sites: Sequence[str] | None, kept: Retention) -> dict[str, Any]:
    """A workflow with all its details; see `workflow`.

    Args:
        kept: for how long its executions are.
    """
    return {
        **workflow(value.workflow, sites),
        "version": value.shown_version,
        "retention": {"executions": kept.executions, "outputs": kept.outputs, "logs": kept.logs},
        "inputs": value.inputs,
        "outputs": [
            {
                "name": output.name,
                "type": output.type,
                "label": output.label,
                "description": output.description,
                "schema": output.schema,
            }
            for output in value.outputs
        ],
        "steps": [
            {"name": step.name, "label": step.label, "description": step.description, "after": list(step.after)}
            for step in value.steps
        ],
    }


def companions(value: Companions) -> dict[str, Any]:
    """What belongs beside a file among inputs."""
    return {
        "input": value.input,
        "basename": value.basename,
        "needs": [{"basename": item.basename, "class": item.kind, "required": item.required} for item in value.needs],
    }


def execution_summary(value: Execution) -> dict[str, Any]:
    """An execution as listed."""
    return {
        "id": value.id,
        "status": value.state.status.value,
        "workflow_id": value.workflow_id,
        "workflow_name": value.workflow_name,
        "engine": value.engine,
        "owner": value.owner,
        "created_at": moment(value.created_at),
        "started_at": moment(value.started_at),
        "ended_at": moment(value.state.ended_at),
        "reason": value.state.reason,
        "site": value.placement and value.placement.site,
        "removing_since": moment(value.removing_since),
    }


def execution_event(value: Execution) -> str:
    """An execution as event streams tell of it: what may change while it goes on."""
    return text(
        {
            **execution_summary(value),
            "directory": value.state.directory,
            "steps": [_step(step) for step in value.state.steps],
            "stale_since": moment(value.state.stale_since),
        }
    )


def listed_event(value: Execution) -> str:
    """An execution as the event stream of all of a user's tells of it."""
    return text({**execution_summary(value), "stale_since": moment(value.state.stale_since)})


def log_entry(value: LogEntry) -> str:
    """A line of a log."""
    return text(_log_entry(value))


def execution(value: Execution) -> dict[str, Any]:
    """An execution with all its details. `outputs` is there once the execution has ended."""
    document = {
        **execution_summary(value),
        "workflow_version": value.workflow_version,
        "account": value.placement and value.placement.user,
        "directory": value.state.directory,
        "inputs": value.inputs,
        "inputs_from": list(value.inputs_from),
        "steps": [_step(step) for step in value.state.steps],
        "attempts": _attempts(value),
        "closed": value.closed and _closing(value.closed),
        "removed": [name for name, part in _PARTS.items() if part in value.removed],
        "removal_problem": value.removal_problem,
        "stale_since": moment(value.state.stale_since),
    }
    if value.state.outputs is not None:
        document["outputs"] = {name: _located(output, value.id) for name, output in value.state.outputs.items()}
    return document


def _attempts(value: Execution) -> list[dict[str, Any]]:
    """All of them: those that failed before the execution was resumed, and the present one."""
    ended = [(Status.FAILED, each.started_at, each.ended_at, each.reason) for each in value.attempts]
    state = value.state
    return [
        {
            "number": number,
            "status": status.value,
            "started_at": moment(started_at),
            "ended_at": moment(ended_at),
            "reason": reason,
        }
        for number, (status, started_at, ended_at, reason) in enumerate(
            [*ended, (state.status, state.started_at, state.ended_at, state.reason)], 1
        )
    ]


def _closing(value: Closing) -> dict[str, Any]:
    return {"by": value.by, "at": moment(value.at), "reason": value.reason}


def _step(value: Step) -> dict[str, Any]:
    return {
        "name": value.name,
        "label": value.label,
        "status": value.status.value,
        "started_at": moment(value.started_at),
        "ended_at": moment(value.ended_at),
        "job": value.job and _job(value.job),
        "scatter": value.scatter and _scatter(value.scatter),
    }


def _scatter(value: Scatter) -> dict[str, Any]:
    return {
        "total": value.total,
        "done": value.done,
        "failed": value.failed,
        "skipped": value.skipped,
        "running": value.running,
    }


def _job(value: Job) -> dict[str, Any]:
    return {
        "id": value.id,
        "name": value.name,
        "state": value.state,
        "reason": value.reason,
        "node": value.node,
        "submitted_at": moment(value.submitted_at),
        "started_at": moment(value.started_at),
        "ended_at": moment(value.ended_at),
    }


def _located(value: JSON, execution_id: str) -> JSON:
    """An output in which the engine's ways to files have become links."""
    if isinstance(value, list):
        return [_located(item, execution_id) for item in value]
    if not isinstance(value, Mapping):
        return value
    located = {name: _located(member, execution_id) for name, member in value.items()}
    if value.get("class") in ("File", "Directory") and "path" in located:
        located["location"] = output_location(execution_id, located.pop("path"))
    return located


def output_location(execution_id: str, path: str) -> str:
    """Where an output, or the part of it that `path` leads to, is fetched from."""
    name, _, rest = path.partition("/")
    query = f"?{urlencode({'path': rest})}" if rest else ""
    return prefix.outside(f"/executions/{quote(execution_id, safe='')}/outputs/{quote(name, safe='')}{query}")


def logs(value: LogView, start: int) -> dict[str, Any]:
    """A page of a log."""
    return {
        "logs": [_log_entry(entry) for entry in value.page.entries],
        "total_results": value.page.total,
        "from": start,
        "status": value.status.value,
        "over": value.page.over,
    }


def _log_entry(value: LogEntry) -> dict[str, Any]:
    return {
        "index": value.index,
        "level": value.level.name,
        "timestamp": moment(value.timestamp),
        "content": value.content,
    }


def upload(value: Upload) -> dict[str, Any]:
    """An upload."""
    return {
        "id": value.id,
        "name": value.name,
        "media_type": value.media_type,
        "size": value.size,
        "sha256": value.sha256,
        "owner": value.owner,
        "created_at": moment(value.created_at),
        "companion_of": value.companion_of,
    }


def ssh_key(value: SSHKey) -> dict[str, Any]:
    """The public part of a key pair."""
    return {
        "id": value.id,
        "name": value.name,
        "type": value.type,
        "bits": value.bits,
        "public_key": value.public_key,
        "fingerprint": value.fingerprint,
        "owner": value.owner,
        "metadata": dict(value.metadata),
        "created_at": moment(value.created_at),
        "rotated_at": moment(value.rotated_at),
        "last_used_at": moment(value.last_used_at),
        "replaced": [
            {"public_key": half.public_key, "fingerprint": half.fingerprint, "replaced_at": moment(half.replaced_at)}
            for half in value.replaced
        ],
    }


def site(seen: UsersSite) -> dict[str, Any]:
    """A site, with the user's account there."""
    value = seen.site
    return {
        "id": value.id,
        "title": value.title,
        "description": value.description,
        "host": value.host,
        "scheduler": value.scheduler,
        "state": value.state,
        "maintenance": value.maintenance,
        "silent_since": moment(value.silent_since),
        "accounts": value.accounts,
        "keyless": value.keyless,
        "login": seen.login,
        "account": seen.account and account(seen.account),
    }


def account(value: Account) -> dict[str, Any]:
    """An account on a site."""
    return {
        "site": value.site,
        "user": value.user,
        "ssh_key": value.ssh_key,
        "created_at": moment(value.created_at),
        "checked_at": moment(value.checked_at),
        "usable": value.usable,
    }


def account_check(value: AccountCheck) -> dict[str, Any]:
    """What a check has found of an account."""
    return {
        "site": value.account.site,
        "account": value.account.user,
        "usable": value.usable,
        "points": [
            {
                "id": point.id,
                "title": point.title,
                "status": point.status.value,
                "detail": point.detail,
                "advice": point.advice,
            }
            for point in value.points
        ],
    }


def check(value: Check) -> dict[str, Any]:
    """State of one dependency."""
    return {
        "name": value.name,
        "status": value.status,
        "latency_ms": round(value.latency * 1000, 1),
        "problems": list(value.problems),
    }
