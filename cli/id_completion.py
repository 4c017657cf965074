"""Completion of ids, for which the service is asked. It stays silent when that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import click
from click.shell_completion import CompletionItem

from .errors import MALFORMED, WaasError
from .state import State

Completer: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _ids(group: str, describe: str) -> Completer:
    """Completes the ids that the service lists.

    Args:
        group: the name of the list, and of its path.
        describe: the member of each item that is shown beside its id.
    """

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        state = ctx.ensure_object(State)
        try:
            user = state.config.user
            if user is not None and ":" not in user:
                return []  # a password can't be asked for in the middle of a line
            found: list[dict[str, Any]] = state.client.get_json(f"/{group}").get(group) or []
            return [
                CompletionItem(item["id"], help=str(item.get(describe) or ""))
                for item in found
                if item["id"].startswith(incomplete)
            ]
        except (WaasError, *MALFORMED):
            return []

    return complete


complete_workflow = _ids("workflows", "label")
complete_execution = _ids("executions", "status")
complete_file = _ids("files", "name")
complete_site = _ids("sites", "title")
complete_ssh_key = _ids("ssh_keys", "name")
complete_token = _ids("tokens", "name")
