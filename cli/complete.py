"""Completion of ids: asks the service, and stays silent when that fails."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from .errors import MALFORMED, WaasError
from .state import State


def _ids(ctx: click.Context, where: str, member: str, incomplete: str, describe: str) -> list[CompletionItem]:
    state = ctx.ensure_object(State)
    try:
        user = state.config.user
        if user is not None and ":" not in user:
            return []  # a password can't be asked for in the middle of a line
        found: list[dict[str, Any]] = state.client.get_json(where).get(member) or []
        return [
            CompletionItem(item["id"], help=str(item.get(describe) or ""))
            for item in found
            if item["id"].startswith(incomplete)
        ]
    except (WaasError, *MALFORMED):
        return []


def complete_workflow(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of workflows."""
    return _ids(ctx, "/workflows", "workflows", incomplete, "label")


def complete_execution(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of the newest executions."""
    return _ids(ctx, "/executions", "executions", incomplete, "status")


def complete_file(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of uploads."""
    return _ids(ctx, "/files", "files", incomplete, "name")


def complete_ssh_key(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of SSH keys."""
    return _ids(ctx, "/ssh_keys", "ssh_keys", incomplete, "name")


def complete_token(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of personal access tokens."""
    return _ids(ctx, "/tokens", "tokens", incomplete, "name")
