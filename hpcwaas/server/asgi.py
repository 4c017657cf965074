"""The entry for an ASGI server of the operator's choice, in place of the command `hpcwaas-api`.

Such as `gunicorn -k uvicorn_worker.UvicornWorker 'hpcwaas.server.asgi:application()'`, or
`uvicorn --factory hpcwaas.server.asgi:application`.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from hpcwaas.app import create_app
from hpcwaas.common import kernel
from hpcwaas.configuration.checks import make_data_dir
from hpcwaas.configuration.load import read
from hpcwaas.errors import ConfigurationError
from hpcwaas.identity.basic import advice
from hpcwaas.server import logs


def application(config_file: str | None = None) -> Any:
    """The ASGI application, with settings from the file and the environment.

    Args:
        config_file: as `hpcwaas-api --config` takes it.

    Raises:
        ConfigurationError: it can't run with them. Also in local mode: nobody here knows on which address the server
            listens, and it must not be reachable by others.
    """
    kernel.be_private()
    found = read(Path(config_file) if config_file else None, os.environ, {})
    settings = found.settings
    if settings.local:
        raise ConfigurationError("auth", "is required here: only the command `hpcwaas-api` offers the local mode")
    if settings.metrics.token is not None:
        raise ConfigurationError(
            "metrics.token", "has no effect here: only the command `hpcwaas-api` can add up what its workers count"
        )
    logs.configure(settings)
    make_data_dir(settings)
    for warning in (*found.warnings, *advice(settings.auth)):
        logging.getLogger(__name__).warning(warning)
    return create_app(settings)
