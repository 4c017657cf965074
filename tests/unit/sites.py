"""What the tests of accounts on sites, and of the choice of a site, share."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from hpcwaas.core.models import SSHKey
from hpcwaas.core.people import Principal
from hpcwaas.core.site_models import Placement
from hpcwaas.core.sites import Sites
from hpcwaas.core.slots import Slots
from tests.simulators.site_engine import SiteEngine, There

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CHECKS = partial(Slots, 16, 2, "checks of accounts")
ALICE, BOB = Principal("alice", "Alice"), Principal("bob", "Bob")
CAROL = Principal("carol", "Carol", groups=frozenset({"climate"}))
KEY = SSHKey("key-1", "alice", None, "ed25519", None, "ssh-ed25519 A\n", "SHA256:x", {}, NOW)


def chosen(
    sites: Sites, there: There, workflow: str, site: str | None = None, principal: Principal = ALICE
) -> Placement | None:
    found = next(it for it in there.workflows if it.id == workflow)
    return sites.choose(principal, SiteEngine(there), found, site)
