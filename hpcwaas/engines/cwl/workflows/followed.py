"""What a document refers to, and how far it is followed. A part of `describe.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from schema_salad.exceptions import ValidationException
from schema_salad.fetcher import DefaultFetcher

DOCUMENT_LIMIT = 16 * 2**20
"""Largest document that is read, in bytes."""


class Files:
    """Files of the catalogue that one entry is made of, as absolute paths."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = root.resolve()
        self.files: set[Path] = set()
        self.directories: set[Path] = set()
        self.missing: set[Path] = set()
        self.refused: str | None = None

    def refuse(self, reference: str, reason: str) -> ValidationException:
        """The error about a reference that isn't followed, which `problem` will look for in the document."""
        self.refused = reference
        return ValidationException(reason)

    def inside(self, url: str) -> Path:
        """The path of a `file:` URL.

        Raises:
            ValidationException: it leads out of the catalogue.
        """
        path = Path(os.path.normpath(unquote(urlsplit(url).path)))
        if not path.is_relative_to(self.root):
            raise self.refuse(path.name, f"{path.name} lies outside the catalogue directory; put a copy into it")
        if not path.resolve().is_relative_to(self._real_root):
            self.missing.add(path)  # it may yet become a file
            shown = path.relative_to(self.root)
            raise self.refuse(path.name, f"{shown} is a link out of the catalogue directory; put a copy into it")
        return path

    def add(self, path: Path) -> None:
        """Takes in a file, or a directory with all it holds. What isn't there (yet) is remembered as missing."""
        if path.is_dir():
            self.directories.add(path)
            for child in path.iterdir():
                self.add(self.inside(child.as_uri()))
        elif path.is_file():
            self.files.add(path)
        else:
            self.missing.add(path)

    def names(self) -> dict[str, list[str]]:
        """All paths, relative to the root."""
        return {
            kind: sorted(str(path.relative_to(self.root)) for path in paths)
            for kind, paths in (("files", self.files), ("directories", self.directories), ("missing", self.missing))
        }

    def elsewhere(self, url: str) -> bool:
        """Whether a `file:` URL is the absolute path of something outside of the catalogue, such as `/dev/null`. A
        relative one that leads out of it would lead elsewhere from a copy."""
        path = unquote(urlsplit(url).path)
        if Path(os.path.normpath(path)).is_relative_to(self.root):
            return False
        written = [name.read_text("utf-8", "replace") for name in self.files if name.stat().st_size <= DOCUMENT_LIMIT]
        return any(path in text or urlsplit(url).path in text for text in written)

    def _add_given(self, url: str) -> Iterator[str]:
        if self.elsewhere(url):
            yield f"{unquote(urlsplit(url).path)} is no file of the catalogue; the machine that executes may have it"
            return
        path = self.inside(url)
        self.add(path)
        if path in self.missing:
            yield f"{path.relative_to(self.root)} does not exist"

    def add_referenced(self, node: Any) -> Iterator[str]:
        """Takes in what File and Directory objects anywhere in `node` point at; yields what isn't there."""
        if isinstance(node, Mapping):
            place = node.get("location") or node.get("path")
            if node.get("class") in ("File", "Directory") and isinstance(place, str) and place.startswith("file:"):
                yield from self._add_given(place)
            for key, value in node.items():
                if ":" not in str(key):  # fields of other vendors are nothing that a runner looks at
                    yield from self.add_referenced(value)
        elif isinstance(node, list):
            for value in node:
                yield from self.add_referenced(value)


def fetcher(files: Files) -> type[DefaultFetcher]:
    """What reads files for cwltool."""

    class Fetcher(DefaultFetcher):  # type: ignore[misc]
        """Reads files of the catalogue only, notes which, and never opens a connection."""

        def __init__(self, cache: Any, session: Any) -> None:
            super().__init__(cache, None)

        def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
            if url in self.cache and isinstance(self.cache[url], str):
                return str(self.cache[url])
            if urlsplit(url).scheme != "file":
                raise files.refuse(url, f"{url} is not fetched: put a copy into the catalogue and refer to that")
            path = files.inside(url)
            files.add(path)
            if path.is_file() and path.stat().st_size > DOCUMENT_LIMIT:
                raise ValidationException(f"{path.relative_to(files.root)} is over {DOCUMENT_LIMIT >> 20} MiB")
            return str(super().fetch_text(url, content_types))

        def check_exists(self, url: str) -> bool:
            if urlsplit(url).scheme != "file":
                return True
            if files.elsewhere(url):
                return Path(unquote(urlsplit(url).path)).exists()
            path = files.inside(url)
            files.add(path)
            return path.exists()

    return Fetcher
