"""Copies of what was published, which never change: an execution that waits or runs doesn't see an edited workflow."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpcwaas.common import durable
from hpcwaas.core.models import JSON, StepDeclaration
from hpcwaas.engines.cwl.workflows.parameters import Parameter, load_parameter
from hpcwaas.engines.cwl.workflows.slurm import StepNeeds, load_needs

_DESCRIPTION = "description.json"
_JAVASCRIPT = "javascript.json"
SNAPSHOTS = "snapshots"
"""Name of the directory that a store of snapshots is."""

_FILES = "files"
_DRAFT = ".new"
_VERSION = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a workflow.

    Attributes:
        version: digest of the content.
        path: main document of the copy.
        fragment: process to run inside it, without `#`; None for the only one or `main`.
        needs: what its steps declare to need.
        namespaces: prefixes of its document, for formats.
        javascript: its InlineJavascriptRequirement; None where it has none.
    """

    version: str
    path: Path
    fragment: str | None
    label: str | None
    doc: str | None
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]
    steps: tuple[StepDeclaration, ...]
    needs: tuple[StepNeeds, ...] = ()
    namespaces: Mapping[str, str] = field(default_factory=dict)
    javascript: Mapping[str, JSON] | None = None


def root_of(document: Path) -> Path:
    """The directory of all files of the snapshot that a document is in; of one elsewhere, the directory it is in.

    It goes by names alone: an execution that is confined doesn't see what lies around its files.
    """
    roots = [
        each
        for each in document.parents
        if each.name == _FILES and _VERSION.fullmatch(each.parent.name) and each.parent.parent.name == SNAPSHOTS
    ]
    return roots[-1] if roots else document.parent  # what is further in is a workflow's own


class SnapshotStore:
    """All versions that were ever published, in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._renaming = threading.Lock()

    def clean(self) -> None:
        """Removes what a process that was killed had begun to write. Only while nobody writes."""
        for draft in self._directory.glob(f"{_DRAFT}*"):
            shutil.rmtree(draft, ignore_errors=True)

    def __contains__(self, version: str) -> bool:
        return (self._directory / version / _DESCRIPTION).is_file()

    def save(self, root: Path, description: Mapping[str, JSON], made_by: str) -> str:
        """Copies a described entry. Only one process at a time may do so, with any number of threads.

        Args:
            root: directory of the originals.
            description: as `describe.py` writes it.
            made_by: versions of the programs that described it; another one may describe it differently.

        Returns:
            the version.
        """
        temporary = self._directory / f"{_DRAFT}-{threading.get_ident()}"
        try:
            content = [made_by, description["main"], description["fragment"]]
            files = temporary / _FILES
            files.mkdir(parents=True)
            for name in description["directories"]:
                (files / name).mkdir(parents=True, exist_ok=True)
                content.append(name)
            for name in description["files"]:
                content += [name, _copy(root / name, files / name)]
            version = hashlib.sha256(json.dumps(content).encode()).hexdigest()
            durable.write(temporary / _DESCRIPTION, json.dumps(description).encode())
            with self._renaming:
                if version not in self:
                    shutil.rmtree(self._directory / version, ignore_errors=True)
                    temporary.rename(self._directory / version)
            return version
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def description(self, version: str) -> Mapping[str, JSON]:
        """What `describe.py` wrote of a version.

        Raises:
            FileNotFoundError: there is none.
        """
        description: Mapping[str, JSON] = json.loads((self._directory / version / _DESCRIPTION).read_bytes())
        return description

    def javascript(self, version: str) -> Sequence[str] | None:
        """What is wrong with the scripts of a version; None when nobody has looked yet."""
        try:
            found: Sequence[str] = json.loads((self._directory / version / _JAVASCRIPT).read_bytes())
        except FileNotFoundError:
            return None
        return found

    def keep_javascript(self, version: str, sentences: Sequence[str]) -> None:
        """Keeps what `javascript` answers."""
        durable.replace_among_others(self._directory / version / _JAVASCRIPT, json.dumps(sentences).encode())

    def load(self, version: str) -> Snapshot:
        """Reads a version back.

        Raises:
            FileNotFoundError: there is none.
        """
        folder = self._directory / version
        description = self.description(version)
        return Snapshot(
            version=version,
            path=(folder / _FILES / description["main"]).absolute(),
            fragment=description["fragment"],
            label=description["label"],
            doc=description["doc"],
            inputs=tuple(load_parameter(item) for item in description["inputs"]),
            outputs=tuple(load_parameter(item) for item in description["outputs"]),
            steps=tuple(
                StepDeclaration(item["name"], item["label"], item["doc"], tuple(item["after"]))
                for item in description["steps"]
            ),
            needs=tuple(load_needs(item) for item in description["needs"]),
            namespaces=description.get("namespaces", {}),
            javascript=description.get("javascript"),
        )


def _copy(source: Path, target: Path) -> str:
    """Copies a file and returns the digest of what was copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with target.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        os.fsync(stream.fileno())
    target.chmod(0o444 | source.stat().st_mode & 0o111)
    return digest.hexdigest()
