"""Who may run what the settings publish of what Yorc has deployed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from hpcwaas.common.cached import in_a_thread
from hpcwaas.core.publication_models import Access
from hpcwaas.engines.orchestrated.published import access_of
from hpcwaas.engines.yorc.client import YorcClient
from hpcwaas.engines.yorc.publications import Publications
from hpcwaas.engines.yorc.published import PublishedWorkflows
from hpcwaas.engines.yorc.settings import YorcSettings
from hpcwaas.engines.yorc.transport import Transport

_CALLS = 16
"""At the same time."""


def read_access(settings: YorcSettings, _data_dir: Path) -> Sequence[Access]:
    """Asks Yorc.

    Raises:
        Unavailable, UpstreamFailed, UpstreamTimeout: it doesn't answer.
    """
    with ThreadPoolExecutor(_CALLS) as pool, closing(Transport(settings)) as transport:
        client, publications = YorcClient(transport), Publications(settings.publish)
        return access_of(PublishedWorkflows(client, publications, settings.cache_seconds, in_a_thread, pool))
