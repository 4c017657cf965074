"""Where a repository is: the forms of addresses that are taken, and what Git may do for each."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)::?(?P<slashes>//)?")
_SSH = re.compile(r"(?:[^/:@\s]+@)?(?P<host>[^/:@\s-][^/:@\s]*):(?!//)(?P<path>\S+)")
_SCHEMES = {"https": "https", "ssh": "ssh", "file": "file"}


class Refused(Exception):
    """Why an address isn't used, as a sentence without what is secret in it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A repository's address.

    Attributes:
        url: as Git takes it.
        protocols: by which Git may read it, and what it includes.
    """

    url: str
    protocols: tuple[str, ...]


def address_of(text: str, catalogue: Path) -> Address:
    """Reads an address.

    Args:
        text: `https://…`, `ssh://…`, `file://…`, `USER@HOST:PATH`, or a path, which counts from the catalogue.

    Raises:
        Refused: it has another form, or a password in it.
    """
    match = _SCHEME.match(text)
    if match and (match["slashes"] or text[match.end("scheme") :].startswith("::")):
        return _of_url(text, match["scheme"].lower())
    if (ssh := _SSH.fullmatch(text)) and not text.startswith((".", "/")):
        if ssh["path"].startswith("-"):
            raise Refused(f"{text}: the path of a repository can't begin with a hyphen")
        return Address(text, ("ssh", "https"))
    return _local(Path(os.path.normpath(catalogue / text)))


def _of_url(text: str, scheme: str) -> Address:
    if scheme not in _SCHEMES:
        raise Refused(
            f"{scheme}: repositories are not fetched by {scheme}; expected https://…, ssh://…, file://…, "
            "USER@HOST:PATH or a path"
        )
    try:
        parts = urlsplit(text)
        password, host, _ = parts.password, parts.hostname, parts.port
    except ValueError:
        raise Refused("the address of a repository can't be read") from None
    if password is not None:
        # Others could read it in the list of processes.
        raise Refused(
            f"{scheme}://…@{host}: the address holds a password; remove it, and give it to Git by a credential helper "
            "of the service's account"
        )
    if scheme == "file":
        if host not in (None, "", "localhost"):
            raise Refused(f"{text}: a file: address has three slashes, as in file:///srv/git/workflows.git")
        return _local(Path(parts.path))
    if not host or host.startswith("-"):
        raise Refused(f"{text}: the address names no host")
    # What a remote repository includes must not be read from this machine.
    return Address(text, ("https",) if scheme == "https" else ("ssh", "https"))


def _local(path: Path) -> Address:
    return Address(path.as_uri(), ("file", "ssh", "https"))


def shown(text: str) -> str:
    """An address without what may be secret in it, and in one line."""
    scheme, separator, rest = text.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else text
