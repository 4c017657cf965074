"""What all that moves executions on a site on shares."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from hpcwaas.core.models import JSON
from hpcwaas.engines.cwl.inputs.networks import Networks
from hpcwaas.engines.cwl.sites.connection import Connection, Connections
from hpcwaas.engines.cwl.sites.looking import Scheduler
from hpcwaas.engines.cwl.sites.mirror import Mirror
from hpcwaas.engines.cwl.sites.taking import FetchOutputs
from hpcwaas.engines.cwl.sites.transfer import Packages
from hpcwaas.engines.site_settings import SiteSettings


@dataclass(frozen=True)
class Surroundings:
    """What the accounts of a site share.

    Attributes:
        site: its id.
        scheduler: makes what knows of the jobs of a login name.
        log: most bytes of an execution's log.
        networks: from where inputs may be downloaded; None: from nowhere.
        download: most bytes of a downloaded input, and of all outputs that an execution takes from elsewhere.
        fetch: brings these.
        now: the time in seconds since the epoch.
    """

    site: str
    settings: SiteSettings
    mirror: Mirror
    connections: Connections
    packages: Packages
    scheduler: Callable[[str], Scheduler]
    log: int
    networks: Networks | None
    download: int
    fetch: FetchOutputs
    now: Callable[[], float] = time.time


class Way(Protocol):
    """The way to an account's agent. Its methods raise `SiteFailed` and the like."""

    def connection(self, purpose: str) -> AbstractContextManager[Connection]:
        """A connection to the account."""

    def call(
        self, connection: Connection, command: str, body: Mapping[str, JSON], timeout: float = 60.0
    ) -> dict[str, Any]:
        """Asks the agent something, when it is the account's turn."""

    def turn(self) -> None:
        """Waits until a session may be opened, of which an account gets so many in a time."""

    def look_again(self) -> None:
        """Has a look taken at once: the one under way doesn't know of an execution, or of somebody who follows it."""

    def directory(self, execution_id: str) -> str:
        """The directory of an execution on the site."""
