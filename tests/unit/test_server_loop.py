"""A worker's event loop."""

from __future__ import annotations

import asyncio
import signal
from unittest.mock import patch

from uvicorn.config import Config

from hpcwaas.server.gunicorn import _Server


def test_a_signal_ends_a_loop_that_stands_still() -> None:
    async def serve() -> None:
        server = _Server(Config(app="none:app"))
        serving = asyncio.create_task(server.main_loop())
        await asyncio.sleep(0)
        assert not serving.done()
        server.handle_exit(signal.SIGTERM, None)
        await serving

    with patch("hpcwaas.server.gunicorn._TICK", 3600.0):
        asyncio.run(asyncio.wait_for(serve(), 60))
