"""Letting others see an execution."""

from __future__ import annotations

from hpcwaas.core.executions import Executions
from hpcwaas.core.people import Principal, Shares
from hpcwaas.core.policy import Act
from hpcwaas.core.ports.records import ShareRecords


class Sharing:
    """With whom executions are shared. All methods are for their owners and for operators.

    Every method raises `NotFound` for an execution that is unknown or none that the user may see, and `Forbidden` for
    one that is only shared with them.
    """

    def __init__(self, executions: Executions, records: ShareRecords) -> None:
        self._executions = executions
        self._records = records

    def get(self, principal: Principal, execution_id: str) -> Shares:
        """With whom an execution is shared."""
        self._executions.changing(principal, execution_id, Act.SHARE)
        return self._records.shares_of(execution_id)

    def put(self, principal: Principal, execution_id: str, shares: Shares) -> Shares:
        """Shares an execution with these and nobody else.

        Args:
            shares: nobody is asked whether there are such users and groups: that would tell who there is.

        Returns:
            with whom it is shared now: as given, without its owner.
        """
        execution = self._executions.changing(principal, execution_id, Act.SHARE)
        others = Shares(shares.users - {execution.owner}, shares.groups)
        self._records.put(execution_id, others)
        return others
