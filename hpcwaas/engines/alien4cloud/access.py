"""Who may run what Alien4Cloud's applications publish."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hpcwaas.common.cached import in_a_thread
from hpcwaas.core.publication_models import Access
from hpcwaas.engines.alien4cloud.client import Alien4CloudClient
from hpcwaas.engines.alien4cloud.published import PublishedWorkflows
from hpcwaas.engines.alien4cloud.settings import Alien4CloudSettings
from hpcwaas.engines.alien4cloud.transport import Transport
from hpcwaas.engines.orchestrated.published import access_of


def read_access(settings: Alien4CloudSettings, _data_dir: Path) -> Sequence[Access]:
    """Asks Alien4Cloud.

    Raises:
        Unavailable, UpstreamFailed, UpstreamTimeout: it doesn't answer.
    """
    with ThreadPoolExecutor(1) as pool:
        catalogue = PublishedWorkflows(
            Alien4CloudClient(Transport(settings)), settings.cache_seconds, in_a_thread, pool
        )
        return access_of(catalogue)
