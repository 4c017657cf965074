"""The list of workflows as it was read last, kept in the store for processes that begin while a server is down."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from hpcwaas.core.models import Workflow
from hpcwaas.core.ports.records import ListingRecords
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)

_EVERY = timedelta(seconds=60)
"""After which a list that hasn't changed is kept anew, so that it says when it was still right."""

_LISTING = TypeAdapter(tuple[Workflow, ...])


class KeptListing:
    """Keeps the list of one server.

    Args:
        name: of what it lists.
    """

    def __init__(self, records: ListingRecords, name: str) -> None:
        self._records = records
        self._name = name
        self._last: tuple[Mapping[str, Workflow], datetime] | None = None

    def load(self) -> tuple[dict[str, Workflow], float] | None:
        """The list, and how many seconds ago it was read; None when there is none that can be had."""
        try:
            found = self._records.last_listing(self._name)
            if found is None:
                return None
            workflows = {workflow.id: workflow for workflow in _LISTING.validate_python(found[0])}
        except ServiceError as error:
            _LOGGER.warning("the store doesn't give the list of workflows that was kept in it: %s", error.detail)
            return None
        except ValidationError:  # as another version kept it
            return None
        return workflows, max(0.0, (datetime.now(UTC) - found[1]).total_seconds())

    def save(self, workflows: Mapping[str, Workflow]) -> None:
        """Keeps a list that was read just now."""
        now = datetime.now(UTC)
        if self._last is not None and self._last[0] == workflows and now - self._last[1] < _EVERY:
            return
        try:
            self._records.put(self._name, _LISTING.dump_python(tuple(workflows.values()), mode="json"), now)
        except ServiceError as error:  # what is shown comes first
            _LOGGER.warning("the store doesn't take the list of workflows: %s", error.detail)
        else:
            self._last = workflows, now
