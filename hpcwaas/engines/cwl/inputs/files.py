"""Checks File and Directory values, and plans how their content gets into the execution's directory."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from hpcwaas.common.names import unusable_name
from hpcwaas.core.models import JSON, StoredUpload
from hpcwaas.engines.cwl.inputs.archives import ArchiveError
from hpcwaas.engines.cwl.inputs.job import FetchedFile, StagedFile
from hpcwaas.engines.cwl.inputs.members import MEMBERS, Content, check_content, check_derived, set_format
from hpcwaas.engines.cwl.inputs.networks import Networks
from hpcwaas.engines.cwl.inputs.sources import EarlierOutput, Sources, UnusableOutput, is_output
from hpcwaas.engines.cwl.storage.outputs import TakenOutput
from hpcwaas.engines.cwl.workflows.parameters import Parameter, Primitive
from hpcwaas.engines.cwl.workflows.schema import CONTENTS_LIMIT
from hpcwaas.engines.input_problems import Problems, shown

DEPTH_LIMIT = 50
"""How deep values may be nested."""

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):")
_ARCHIVE_SUFFIX = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
_FILE = "a File: the id of an upload or a File object"
_DIRECTORY = "a Directory: the id of an uploaded archive or a Directory object"
_SECONDARY = "secondaryFiles"
_HINT = "Upload the file first and give the upload's id."

CheckAny = Callable[[JSON, str, int], JSON]
"""Checks a value of no particular type: value, way, depth."""


@dataclass(slots=True)
class _Folder:
    """A directory of the execution, relative to it, and the names that are used in it."""

    path: str
    names: set[str] = field(default_factory=set)


NO_RULE = Parameter("", Primitive("File"))
"""Declares nothing of its files."""


class FileChecker:
    """Turns files as users give them into files of the order.

    Args:
        namespaces: the workflow's, for prefixes of formats.
        check_any: for members whose form is free.

    Attributes:
        staged, fetched, taken: what has to be brought for the files so far.
    """

    def __init__(
        self, sources: Sources, namespaces: Mapping[str, str], problems: Problems, check_any: CheckAny
    ) -> None:
        self._sources = sources
        self._namespaces = namespaces
        self._problems = problems
        self._check_any = check_any
        self._uploads: dict[str, StoredUpload | None] = {}
        self._folders = 0
        self.staged: list[StagedFile] = []
        self.fetched: list[FetchedFile] = []
        self.taken: list[TakenOutput] = []

    def mark(self) -> tuple[int, int, int]:
        """The present state, for `rewind`."""
        return len(self.staged), len(self.fetched), len(self.taken)

    def rewind(self, mark: tuple[int, int, int]) -> None:
        """Forgets what was planned since `mark`."""
        del self.staged[mark[0] :]
        del self.fetched[mark[1] :]
        del self.taken[mark[2] :]

    def file(
        self, value: JSON, way: str, rule: Parameter = NO_RULE, depth: int = 0, folder: _Folder | None = None
    ) -> JSON:
        """Checks a File.

        Args:
            value: the id of an upload, the location of an output, an allowed URL, or a File object.
            folder: which it has to share with another; None for one of its own.

        Returns:
            the file for the order; None if there was a problem, which has been noted.
        """
        given = self._object(value, way, "File", _FILE, depth)
        if given is None:
            return None
        places = [name for name in ("location", "contents") if name in given]
        if len(places) != 1 and not (self._sources.announced and not places and "basename" in given):
            return self._problems.add_wrong(way, value, "either location or contents in a File object")
        shared = folder is not None
        folder = folder or self._new_folder()
        found: tuple[dict[str, Any] | None, list[JSON] | None]
        if "contents" in given:
            found = self._literal(given, way), None
        elif "location" in given:
            found = self._located(given, way, folder)
        else:
            found = self._announced(given, way), None
        checked, secondary = found
        if checked is None:
            return None
        if not shared:
            folder.names.add(checked["basename"])
        check_derived(given, way, checked["basename"], self._problems)
        set_format(checked, given, way, rule, self._namespaces, self._problems)
        if "metadata" in given:
            if not isinstance(given["metadata"], Mapping):
                self._problems.add_wrong(f"{way}.metadata", given["metadata"], "an object")
            checked["metadata"] = self._check_any(given["metadata"], f"{way}.metadata", depth + 1)
        if given.get(_SECONDARY) is not None:
            secondary = given[_SECONDARY]
        if secondary:
            checked[_SECONDARY] = self._many(secondary, f"{way}.{_SECONDARY}", depth + 1, folder)
        elif secondary is not None:
            checked[_SECONDARY] = []
        self._require_secondary_files(checked, way, rule)
        return checked

    def directory(self, value: JSON, way: str, depth: int = 0, folder: _Folder | None = None) -> JSON:
        """Checks a Directory. The arguments and what is returned are as with `file`."""
        given = self._object(value, way, "Directory", _DIRECTORY, depth)
        if given is None:
            return None
        place = given.get("location")
        output = isinstance(place, str) and is_output(place)
        places = [name for name in ("location", "listing") if name in given and not (output and name == "listing")]
        if len(places) != 1 and not (self._sources.announced and not places and "basename" in given):
            return self._problems.add_wrong(way, value, "either location or listing in a Directory object")
        if "dirname" in given and not isinstance(given["dirname"], str):
            self._problems.add_wrong(f"{way}.dirname", given["dirname"], "a string")
        if not places:
            usable = self._usable(given["basename"], f"{way}.basename")
            return {"class": "Directory", "basename": given["basename"]} if usable else None
        if output:
            return self._output(given, way, "Directory", folder or self._new_folder())[0]
        if "listing" in given:
            name = given.get("basename", re.split(r"[.\[]", way)[0])
            if not self._usable(name, f"{way}.basename"):
                return None
            listing = self._many(given["listing"], f"{way}.listing", depth + 1, None)
            return {"class": "Directory", "basename": name, "listing": listing}
        upload = self._upload(given["location"], way, _DIRECTORY)
        if upload is None:
            return None
        name = given.get("basename", _ARCHIVE_SUFFIX.sub("", upload.upload.name) or upload.upload.name)
        kind = self._archive(upload, way)
        if not self._usable(name, f"{way}.basename") or kind is None:
            return None
        target = f"{(folder or self._new_folder()).path}/{name}"
        self.staged.append(StagedFile(upload.path, target, kind, upload.upload.sha256))
        return {"class": "Directory", "location": quote(target), "basename": name}

    def _announced(self, given: Mapping[str, JSON], way: str) -> dict[str, Any] | None:
        check_content(given, way, Content(), self._problems)
        usable = self._usable(given["basename"], f"{way}.basename")
        return {"class": "File", "basename": given["basename"]} if usable else None

    def _object(self, value: JSON, way: str, kind: str, expected: str, depth: int) -> Mapping[str, JSON] | None:
        """Brings the short form into the long one and checks the members' names."""
        if isinstance(value, str):
            return {"class": kind, "location": value}
        if not isinstance(value, Mapping) or value.get("class") != kind:
            self._problems.add_wrong(way, value, expected)
            return None
        if depth > DEPTH_LIMIT:
            self._problems.add(way, "this is nested too deeply.")
            return None
        before = len(self._problems)
        for name in value:
            if name == "path":
                self._problems.add(f"{way}.path", f"paths can't be used. {_HINT}")
            elif name not in MEMBERS[kind]:
                self._problems.add_unknown(f"{way}.{name}", name, MEMBERS[kind], f"member of a {kind}")
            if self._problems.enough(before):
                break
        return value if len(self._problems) == before else None

    def _literal(self, given: Mapping[str, JSON], way: str) -> dict[str, Any] | None:
        contents = given["contents"]
        if not isinstance(contents, str):
            self._problems.add_wrong(f"{way}.contents", contents, "a string")
            return None
        try:
            size = len(contents.encode())
        except UnicodeEncodeError:
            self._problems.add(f"{way}.contents", "this is not valid Unicode text.")
            return None
        if size > CONTENTS_LIMIT:
            self._problems.add(
                f"{way}.contents", f"{size} bytes were given, at most {CONTENTS_LIMIT} are allowed. {_HINT}"
            )
            return None
        name = given.get("basename", "contents.txt")
        if not self._usable(name, f"{way}.basename"):
            return None
        check_content(given, way, Content.of_text(contents.encode()), self._problems)
        return {"class": "File", "basename": name, "contents": contents}

    def _located(
        self, given: Mapping[str, JSON], way: str, folder: _Folder
    ) -> tuple[dict[str, Any] | None, list[JSON] | None]:
        """A file by its location, and the secondary files that it brings unless others are given."""
        location = given["location"]
        if isinstance(location, str) and is_output(location):
            return self._output(given, way, "File", folder)
        networks = self._sources.networks
        companions: list[JSON] | None = None
        if networks and isinstance(location, str) and location.lower().startswith(("http://", "https://")):
            name = given.get("basename", _name_in(location))
            if not self._valid_url(location, way, networks) or not self._usable(name, f"{way}.basename"):
                return None, None
            check_content(given, way, None, self._problems)
            self.fetched.append(FetchedFile(location, f"{folder.path}/{name}"))
        else:
            upload = self._upload(location, way, _FILE)
            name = given.get("basename", upload.upload.name if upload else "")
            if upload is None or not self._usable(name, f"{way}.basename"):
                return None, None
            check_content(given, way, Content.of_upload(upload), self._problems)
            self.staged.append(StagedFile(upload.path, f"{folder.path}/{name}", sha256=upload.upload.sha256))
            for companion in upload.companions:
                self._uploads[companion.upload.id] = companion
            companions = [companion.upload.id for companion in upload.companions] or None
        return {"class": "File", "location": quote(f"{folder.path}/{name}"), "basename": name}, companions

    def _output(
        self, given: Mapping[str, JSON], way: str, kind: str, folder: _Folder
    ) -> tuple[dict[str, Any] | None, list[JSON] | None]:
        """An output of an execution that has ended, and its secondary files."""
        try:
            found = self._sources.output(given["location"])
        except UnusableOutput as error:
            self._problems.add(way, f"{shown(given['location'])} can't be an input: {error}.")
            return None, None
        name = given.get("basename", found.name)
        if found.kind not in (kind, None):
            self._problems.add(way, f"{shown(given['location'])} is a {found.kind}; expected a {kind}.")
            return None, None
        if not self._usable(name, f"{way}.basename"):
            return None, None
        if kind == "File":
            check_content(given, way, Content.of_output(found.declared), self._problems)
        target = f"{folder.path}/{name}"
        size = found.declared.get("size")
        size = size if isinstance(size, int) else 0
        self.taken.append(TakenOutput(found.execution_id, found.reference, found.path, kind, target, size))
        checked = {"class": kind, "location": quote(target), "basename": name}
        return checked, _secondary_of(found)

    def _upload(self, location: JSON, way: str, expected: str) -> StoredUpload | None:
        if not isinstance(location, str):
            self._problems.add_wrong(f"{way}.location", location, "the id of an upload")
            return None
        if location not in self._uploads:
            self._uploads[location] = self._sources.uploads(location)
        upload = self._uploads[location]
        if upload is None:
            self._problems.add_wrong(way, location, expected, why=self._why_not(location))
        return upload

    def _why_not(self, location: str) -> str:
        scheme = _SCHEME.match(location)
        name = scheme["scheme"].lower() if scheme else None
        if name in ("http", "https"):
            return f"Files aren't fetched from addresses here. {_HINT}"
        if name == "file" or "/" in location or "\\" in location or location.startswith((".", "~")):
            return f"Paths can't be used. {_HINT}"
        if name:
            return f"Addresses with {name}: aren't supported. {_HINT}"
        return f"You have no upload with this id. {_HINT}"

    def _valid_url(self, url: str, way: str, networks: Networks) -> bool:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.username is not None or any(ord(character) <= 32 for character in url):
            self._problems.add_wrong(way, url, "a plain http(s) URL with a host and without a password")
            return False
        try:
            if networks.permit(host):
                return True
        except ValueError:
            # A name; where it leads is looked at when the connection is made.
            return True
        self._problems.add(way, f"{shown(url)} is not an address that files may come from. {_HINT}")
        return False

    def _archive(self, upload: StoredUpload, way: str) -> str | None:
        """Kind of an archive that can be unpacked, as far as its listing tells."""
        try:
            return self._sources.look(upload)
        except ArchiveError as error:
            self._problems.add_wrong(
                way, upload.upload.id, "an archive that can be unpacked", why=f"It can't be: {error}."
            )
            return None

    def _many(self, values: JSON, way: str, depth: int, folder: _Folder | None) -> list[JSON]:
        """Checks files and directories that the workflow will see beside each other.

        Args:
            folder: where they have to be put; None to leave that to the runner.
        """
        if not isinstance(values, list):
            self._problems.add_wrong(way, values, "a list of Files and Directories")
            return []
        taken = folder.names if folder else set()
        start = len(self._problems)
        checked = []
        for index, value in enumerate(values):
            here = f"{way}[{index}]"
            is_directory = isinstance(value, Mapping) and value.get("class") == "Directory"
            check = self.directory if is_directory else self.file
            item = check(value, here, depth=depth, folder=folder)
            if item is not None and item["basename"] in taken:
                self._problems.add(here, f"{shown(item['basename'])} is the name of another file beside it.")
            elif item is not None:
                taken.add(item["basename"])
                checked.append(item)
            if self._problems.enough(start):
                break
        return checked

    def _require_secondary_files(self, checked: dict[str, Any], way: str, rule: Parameter) -> None:
        present = {item["basename"] for item in checked.get(_SECONDARY, ())}
        for secondary in rule.secondary_files:
            if secondary.expression:  # the runner evaluates it
                continue
            name = secondary.name(checked["basename"])
            if secondary.required and name not in present:
                self._problems.add_missing(
                    f"{way}.{_SECONDARY}", f"a file called {shown(name)} beside {shown(checked['basename'])}"
                )

    def _usable(self, name: JSON, way: str) -> bool:
        reason = unusable_name(name) if isinstance(name, str) else "it is no string"
        if reason:
            self._problems.add_wrong(way, name, "the name of a file", why=f"It can't be used: {reason}.")
        return reason is None

    def _new_folder(self) -> _Folder:
        self._folders += 1
        return _Folder(f"inputs/{self._folders - 1}")


def _name_in(url: str) -> str:
    try:
        return PurePosixPath(unquote(urlsplit(url).path)).name or "download"
    except ValueError:
        return "download"


def _secondary_of(output: EarlierOutput) -> list[JSON] | None:
    """The secondary files of an output, as somebody would give them."""
    known = output.declared.get(_SECONDARY)
    if not isinstance(known, list):
        return None
    place, _, query = output.location.partition("?path=")
    way = f"{query}/" if query else ""
    return [
        {"class": item.get("class"), "location": f"{place}?path={way}{_SECONDARY}/{index}"}
        for index, item in enumerate(known)
        if isinstance(item, Mapping)
    ]
