"""Completion of ids, for which the service is asked. It stays silent when that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import click
from click.shell_completion import CompletionItem

from .api import calls
from .api.calls import Call
from .errors import MALFORMED, WaasError
from .state import State

Completer: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _ids(call: Call[Any], group: str, describe: str) -> Completer:
    """Completes the ids that the service lists.

    Args:
        call: asks for the list.
        group: the name of the list in the answer.
        describe: the member of each item that is shown beside its id.
    """

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        state = ctx.ensure_object(State)
        try:
            user = state.config.user
            if user is not None and ":" not in user:
                return []  # a password can't be asked for in the middle of a line
            found: list[dict[str, Any]] = state.client.call(call).get(group) or []
            return [
                CompletionItem(item["id"], help=str(item.get(describe) or ""))
                for item in found
                if item["id"].startswith(incomplete)
            ]
        except (WaasError, *MALFORMED):
            return []

    return complete


complete_workflow = _ids(calls.list_workflows(), "workflows", "label")
complete_execution = _ids(calls.list_executions(), "executions", "status")
complete_file = _ids(calls.list_files(), "files", "name")
complete_site = _ids(calls.list_sites(), "sites", "title")
complete_ssh_key = _ids(calls.list_ssh_keys(), "ssh_keys", "name")
complete_token = _ids(calls.list_tokens(), "tokens", "name")
