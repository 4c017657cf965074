"""`/executions/{execution_id}/shares`."""

from __future__ import annotations

from typing import Any

from flask import Response

from hpcwaas.api import views
from hpcwaas.core.people import Principal, Shares
from hpcwaas.core.shares import Sharing


class ShareHandlers:
    """Handlers of the operations on shares."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing

    def get_shares(self, principal: Principal, execution_id: str) -> Response:
        """Shows with whom an execution is shared."""
        return _answer(self._sharing.get(principal, execution_id))

    def put_shares(self, principal: Principal, execution_id: str, body: Any) -> Response:
        """Shares an execution."""
        shares = Shares(frozenset(body.get("users", ())), frozenset(body.get("groups", ())))
        return _answer(self._sharing.put(principal, execution_id, shares))

    def delete_shares(self, principal: Principal, execution_id: str) -> Response:
        """Shares an execution with nobody."""
        self._sharing.put(principal, execution_id, Shares())
        return views.empty(204)


def _answer(shares: Shares) -> Response:
    return views.answer({"users": sorted(shares.users), "groups": sorted(shares.groups)})
