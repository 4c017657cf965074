"""Spares cwltool what it does again and again for the documents of a catalogue. A part of `describe.py`.

Workflows share tools, and parsing takes half of the time that a document needs. What was parsed for one workflow is
kept for others; each gets a copy of its own, since cwltool changes it. Comments are passed over while documents are
parsed, where they lie is copied less deeply, and addresses are taken apart once. Without it all goes on, only slower.
"""

from __future__ import annotations

import functools
import gc
import pickle
import urllib.parse
from contextlib import suppress
from typing import Any

import cwltool.load_tool
import cwltool.process
import ruamel.yaml.scanner
from ruamel.yaml.comments import Format, LineCol
from schema_salad.avro.schema import Names
from schema_salad.ref_resolver import Loader
from schema_salad.schema import make_avro_schema

_MOST = 32 * 2**20
"""Bytes of all documents that are kept."""

_kept: dict[str, tuple[str, bytes]] = {}
_size = 0
_begun: list[tuple[list[Any], Names]] = []
"""The types of all processes, and their schemas, when these have been made."""


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


def _copied(place: LineCol, _memo: object) -> LineCol:
    """A copy of where the members of a map or list lie: its numbers don't change any more."""
    copied = LineCol.__new__(LineCol)
    copied.__dict__.update(place.__dict__)
    if place.data is not None:
        copied.data = dict(place.data)
    return copied


def _same_style(style: Format, _memo: object) -> Format:
    """A copy of how a map or list was written."""
    copied = Format()
    if (flow := style.flow_style()) is not None:
        (copied.set_flow_style if flow else copied.set_block_style)()
    return copied


def _names(types: list[Any], loader: Loader) -> Names:
    """The schemas of the types that every process begins with, to which it adds its own."""
    if not _begun or any(now is not then for now, then in zip(types, _begun[0][0], strict=True)):
        _begun[:] = [(types, make_avro_schema(types, loader))]
    names = Names()
    names.names.update(_begun[0][1].names)
    return names


def quicken() -> None:
    """Does so from now on, in this process."""
    cwltool.load_tool.Loader = _Loader
    # Where it is used is a compiled module, which asks for the names in others when it needs them.
    ruamel.yaml.scanner.RoundTripScanner = ruamel.yaml.scanner.Scanner
    LineCol.__deepcopy__, Format.__deepcopy__ = _copied, _same_style
    cwltool.process.make_avro_schema = _names
    urllib.parse.urlsplit = functools.lru_cache(maxsize=2**16, typed=True)(
        getattr(urllib.parse.urlsplit, "__wrapped__", urllib.parse.urlsplit)
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
