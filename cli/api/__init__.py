"""The service for programs in Python: `Waas`, and `AsyncWaas` for asyncio, which needs `pip install 'waas[async]'`.

    from pathlib import Path
    from waas_cli.api import Waas

    waas = Waas()  # where and as whom `waas` of the command line works
    execution_id = waas.trigger("word-statistics", {"texts": [Path("notes.txt")], "top": 5})
    for entry in waas.logs(execution_id, follow=True):
        print(entry["content"])
    waas.wait(execution_id)
    waas.download(execution_id, Path("results"))

What the service answers is of the types in `answers`. What has no method of its own is sent by `Waas.call`, with what
`calls` makes. Errors are those in `waas_cli.errors`: `WaasError` and below it `UsageError`, `NotFound`, `Unauthorized`
and `Unreachable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asynchronous import AsyncWaas
    from .synchronous import Waas

__all__ = ["AsyncWaas", "Waas"]

_HOMES = {"AsyncWaas": "asynchronous", "Waas": "synchronous"}


def __getattr__(name: str) -> Any:
    """Imports what is used: the command itself needs neither."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise ImportError("AsyncWaas needs one more package: pip install 'waas[async]'") from None
