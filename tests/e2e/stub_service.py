"""The command `hpcwaas-api` around an application that shows what the server does with it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import types

from starlette.types import ASGIApp, Receive, Scope, Send

from hpcwaas.errors import ConfigurationError


def create_app(_settings: object, **_: object) -> ASGIApp:
    if os.environ.get("STUB") == "broken":
        raise ConfigurationError("vault.key", "isn't the one")
    alone = threading.active_count() == 1

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] == "/park":
            await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 60)
        seen = {"pid": os.getpid(), "scheme": scope["scheme"], "client": scope["client"][0], "alone": alone}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(seen).encode()})

    return app


if __name__ == "__main__":
    stub = types.ModuleType("hpcwaas.app")
    stub.create_app = create_app  # type: ignore[attr-defined]
    stub.prepare_vault = lambda _settings: None  # type: ignore[attr-defined]
    stub.measure = lambda _settings, _processes: None  # type: ignore[attr-defined]
    sys.modules["hpcwaas.app"] = stub
    from hpcwaas.command.main import main

    main()
