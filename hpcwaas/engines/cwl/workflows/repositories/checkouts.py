"""Copies of commits on this machine's disk. One that is there is complete, and never changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hpcwaas.common import durable
from hpcwaas.engines.cwl.workflows.repositories.addresses import Address
from hpcwaas.engines.cwl.workflows.repositories.program import FETCH_TIMEOUT, GitFailed, git

FILES_LIMIT = 200_000
"""Files of a checkout."""

_WANTED = "refs/wanted"


@dataclass(frozen=True, slots=True)
class Reference:
    """What is published of a repository.

    Attributes:
        kind: `tag`, `branch` or `commit`.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def path(self) -> str:
        """The full name, as a repository knows it."""
        return {"tag": "refs/tags/", "branch": "refs/heads/"}.get(self.kind, "") + self.name


def resolve(address: Address, reference: Reference) -> str:
    """The commit that a reference leads to now.

    Raises:
        GitFailed: there is none, or the repository can't be reached.
    """
    if reference.kind == "commit":
        return reference.name
    # An annotated tag is an object of its own; `^{}` is the commit behind it.
    asked = (reference.path, f"{reference.path}^{{}}")
    answer = git("ls-remote", "--", address.url, *asked, protocols=address.protocols)
    found = {name: commit for commit, _, name in (line.partition("\t") for line in answer.splitlines())}
    commit = found.get(asked[1]) or found.get(asked[0])
    if commit is None:
        raise GitFailed(f"the repository has no {reference}")
    return commit


def fetch(address: Address, reference: Reference, commit: str, directory: Path) -> None:
    """Makes a checkout, its submodules included. Only one process at a time may do so.

    Args:
        commit: that the reference leads to.
        directory: of the checkout, whose parent is there; nothing is done when it is there itself.

    Raises:
        GitFailed: it can't be had, or isn't what can be published.
        OSError: the disk is full, say.
    """
    if directory.exists():
        if whole(directory):
            return
        remove(directory)
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=directory.parent))
    try:
        git("init", "-q", "--template=", directory=draft)
        git("remote", "add", "origin", address.url, directory=draft)
        _fetch(address, reference, commit, draft)
        git("checkout", "-q", "--detach", commit, directory=draft)
        if (draft / ".gitmodules").exists():
            update = ("submodule", "--quiet", "update", "--init", "--recursive")
            git(*update, directory=draft, protocols=address.protocols, timeout=FETCH_TIMEOUT)
        _tidy(draft)
        draft.chmod(0o755)
        _record(directory).write_text(_listing(draft), "ascii")
        os.sync()  # what is found under its own name must be whole after a loss of power
        draft.rename(directory)
        durable.sync_directory(directory.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _fetch(address: Address, reference: Reference, commit: str, draft: Path) -> None:
    """Fetches as little as the repository allows: some give no single commits, and some nothing but all of it."""
    wanted = f"+{commit if reference.kind == 'commit' else reference.path}:{_WANTED}"
    everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    failures = []
    for arguments in (("--depth=1", "--no-tags", "origin", wanted), ("origin", *everything)):
        try:
            git("fetch", "-q", *arguments, directory=draft, protocols=address.protocols, timeout=FETCH_TIMEOUT)
            git("cat-file", "-e", f"{commit}^{{commit}}", directory=draft)
        except GitFailed as error:
            failures.append(error)
        else:
            return
    raise failures[1] if reference.kind == "commit" else failures[0]


def _tidy(checkout: Path) -> None:
    """Leaves the files alone: without Git's own, and without links that lead out."""
    for entry in _walk(checkout):
        path = Path(entry.path)
        if entry.name == ".git":
            shutil.rmtree(path) if entry.is_dir(follow_symlinks=False) else path.unlink()
        elif entry.is_symlink() and not path.resolve().is_relative_to(checkout.resolve()):
            raise GitFailed(f"{path.relative_to(checkout)} is a link that leads out of the repository")


def _walk(directory: Path) -> Iterator[os.DirEntry[str]]:
    folders = [str(directory)]
    count = 0
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in list(entries):
                yield entry
                count += 1
                if count > FILES_LIMIT:
                    raise GitFailed(f"the repository has more than {FILES_LIMIT} files")
                if entry.name != ".git" and entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)


def whole(checkout: Path) -> bool:
    """Whether a checkout is there with all of its files: somebody may have cleaned up in the data directory."""
    try:
        return _record(checkout).read_text("ascii") == _listing(checkout)
    except FileNotFoundError:
        return checkout.is_dir()  # it was made before there were records


def _record(checkout: Path) -> Path:
    """The file that says what was fetched."""
    return checkout.with_name(f"{checkout.name}.files")


def _listing(checkout: Path) -> str:
    """Digest of the names and sizes of all files."""
    digest = hashlib.sha256()
    entries = ((os.fsencode(entry.path), entry) for entry in _walk(checkout) if entry.name != ".git")
    start = len(os.fsencode(checkout))
    for path, entry in sorted(entries, key=lambda each: each[0]):
        status = entry.stat(follow_symlinks=False)
        size = 0 if entry.is_dir(follow_symlinks=False) else status.st_size
        digest.update(b"%b\0%d\0" % (path[start:], size))
    return digest.hexdigest()


def remove(checkout: Path) -> None:
    """Removes a checkout, so that one that is found is always whole."""
    _record(checkout).unlink(missing_ok=True)
    gone = checkout.with_name(f".gone-{checkout.name}")
    with suppress(FileNotFoundError):
        checkout.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
