"""The Protocols of engines that run workflows on several sites, and of what opens accounts there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from hpcwaas.core.models import WorkflowDetails
from hpcwaas.core.ports.engine import Engine, Prepared
from hpcwaas.core.site_models import Placement, Point, Site


@runtime_checkable
class SiteEngine(Engine, Protocol):
    """An engine whose executions run where the user wants them to, among the sites of the settings."""

    def sites(self) -> Sequence[Site]:
        """All sites, in the order of the settings, the service's own machine first if it executes. Asks no site."""

    def place(self, prepared: Prepared, details: WorkflowDetails, placement: Placement) -> Prepared:
        """Checks what was prepared against a site, and says where it is to be started. Asks no site.

        Returns:
            what `start` takes in place of `prepared`.

        Raises:
            BadRequest: it can't run there, whatever the site's present state is.
            Unavailable, UpstreamFailed, UpstreamTimeout: the site is in maintenance, or nothing can open
                the account now.
        """

    def check_account(self, placement: Placement) -> Sequence[Point]:
        """Tries everything on a site that an execution by this account will need: in seconds, whatever doesn't answer,
        and without a core-hour. Every failure is a point; nothing that can be foreseen is raised.
        """


@dataclass(frozen=True, slots=True)
class Credential:
    """What opens an account for one connection. It is forgotten as soon as the connection is signed in.

    Attributes:
        private_key: in OpenSSH's or PEM form.
        certificate: the line of the certificate that belongs to it, when one was signed.
    """

    private_key: str = field(repr=False)
    certificate: str | None = field(default=None, repr=False)


class Credentials(Protocol):
    """Opens accounts. Whoever uses it may read private keys: engines alone."""

    def credential(self, placement: Placement, purpose: str) -> Credential:
        """What opens the account of a placement now.

        Args:
            purpose: what for, such as `execution ID`; stands in the certificate, if one is signed.

        Raises:
            NotFound: the key has been deleted.
            Unavailable, UpstreamFailed, UpstreamTimeout: the vault can't be used.
        """

    def ready(self, placement: Placement) -> None:
        """Makes sure that the account could be opened now, as far as that can be told without a look at its key.

        Raises:
            Unavailable, UpstreamFailed, UpstreamTimeout: the vault can't be used.
        """
