"""Spares cwltool what it does again and again for the documents of a catalogue. A part of `describe.py`.

Workflows share tools, and parsing takes half of the time that a document needs. What was parsed for one workflow is
kept for others; each gets a copy of its own, since cwltool changes it. Without it all goes on, only slower.
"""

from __future__ import annotations

import gc
import pickle
from contextlib import suppress
from typing import Any

import cwltool.load_tool
from schema_salad.ref_resolver import Loader

_MOST = 32 * 2**20
"""Bytes of all documents that are kept."""

_kept: dict[str, tuple[str, bytes]] = {}
_size = 0


class _Loader(Loader):  # type: ignore[misc]
    def fetch(self, url: str, inject_ids: bool = True, content_types: list[str] | None = None) -> Any:
        """Reads a document as cwltool does, but parses no text twice."""
        if url in self.idx:
            return self.idx[url]
        text = self.fetch_text(url, content_types)
        kept = _kept.get(url)
        if kept and inject_ids and kept[0] == text:
            names, document = pickle.loads(kept[1])  # noqa: S301 - it was made here
            for name in names:
                self.idx[name] = document
            return document
        document = super().fetch(url, inject_ids, content_types)
        if inject_ids and self.fetch_text(url, content_types) == text:  # it didn't change meanwhile
            names = [name for name, each in self.idx.items() if each is document]
            with suppress(Exception):  # odd YAML may hold what can't be copied
                _keep(url, text, pickle.dumps((names, document), pickle.HIGHEST_PROTOCOL))
        return document


def _keep(url: str, text: str, content: bytes) -> None:
    global _size
    if _size + len(text) + len(content) > _MOST:
        _kept.clear()
        _size = 0
    _size += len(text) + len(content)
    _kept[url] = text, content


def quicken() -> None:
    """Does so from now on, in this process."""
    cwltool.load_tool.Loader = _Loader
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
