"""Vault's engine for keys and values, in its two versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import quote

import hvac
from hvac.exceptions import InvalidPath, InvalidRequest

from hpcwaas.errors import Conflict, NotFound, UpstreamFailed

_UNCONFIRMED = "The vault didn't confirm that it stored the key."
_GONE = "The vault has no such key any more."
_LONGEST = 512
_ANY = "00000000-0000-4000-8000-000000000000"
"""Stands for the id of any key."""


class Right(NamedTuple):
    """Something that the vault's policy has to let the service do.

    Attributes:
        below: path of the keys, as policies write it, without `/*`.
        act: what can't be done with keys without it.
    """

    below: str
    capability: str
    act: str


class KeyValue(Protocol):
    """Key pairs at `path/ID` below a mount. Methods raise what hvac raises, besides what is named."""

    def create(self, client: hvac.Client, key_id: str, record: Mapping[str, str]) -> None:
        """Stores a record under a fresh id.

        Raises:
            Conflict: there is one.
        """

    def replace(self, client: hvac.Client, key_id: str, record: Mapping[str, str]) -> None:
        """Stores another record under an id.

        Raises:
            NotFound: there is none.
        """

    def read(self, client: hvac.Client, key_id: str) -> Mapping[str, str]:
        """A record. The policy of the service itself doesn't let it.

        Raises:
            NotFound: there is none.
        """

    def describe(self, client: hvac.Client, key_id: str, notes: Mapping[str, str]) -> None:
        """Stores what may be read without the secret, where that is possible."""

    def delete(self, client: hvac.Client, key_id: str) -> None:
        """Destroys a record with all its versions."""

    def rights(self) -> Sequence[Right]:
        """What all of this needs."""


class Versioned:
    """Version 2."""

    def __init__(self, mount: str, path: str) -> None:
        self._mount = mount
        self._path = path

    def create(self, client: hvac.Client, key_id: str, record: Mapping[str, str]) -> None:
        self._write(client, key_id, record, 0)

    def replace(self, client: hvac.Client, key_id: str, record: Mapping[str, str]) -> None:
        """See `KeyValue`. What was there stays in the history."""
        try:
            found = client.secrets.kv.v2.read_secret_metadata(self._at(key_id), mount_point=self._mount)
        except InvalidPath:
            raise NotFound(_GONE) from None
        self._write(client, key_id, record, found["data"]["current_version"])

    def read(self, client: hvac.Client, key_id: str) -> Mapping[str, str]:
        try:
            answer = client.secrets.kv.v2.read_secret_version(
                self._at(key_id), mount_point=self._mount, raise_on_deleted_version=True
            )
        except InvalidPath:
            raise NotFound(_GONE) from None
        found: Mapping[str, str] = answer["data"]["data"]
        return found

    def describe(self, client: hvac.Client, key_id: str, notes: Mapping[str, str]) -> None:
        fitting = {name: text for name, text in notes.items() if 0 < len(text.encode()) <= _LONGEST}
        client.secrets.kv.v2.update_metadata(self._at(key_id), mount_point=self._mount, custom_metadata=fitting)

    def delete(self, client: hvac.Client, key_id: str) -> None:
        client.secrets.kv.v2.delete_metadata_and_all_versions(self._at(key_id), mount_point=self._mount)

    def rights(self) -> Sequence[Right]:
        data, metadata = (f"{self._mount}/{kind}/{self._path}" for kind in ("data", "metadata"))
        return (
            Right(data, "create", "made"),
            Right(data, "update", "rotated"),
            Right(metadata, "read", "rotated"),
            Right(metadata, "update", "labelled with their owners"),
            Right(metadata, "delete", "deleted"),
        )

    def _write(self, client: hvac.Client, key_id: str, record: Mapping[str, str], cas: int) -> None:
        try:
            answer = client.secrets.kv.v2.create_or_update_secret(
                self._at(key_id), dict(record), cas=cas, mount_point=self._mount
            )
        except InvalidRequest as error:
            if any("check-and-set" in text for text in error.errors or ()):
                raise Conflict("The vault has another version of this key.") from None
            raise
        if not (isinstance(answer, dict) and answer["data"]["version"] == cas + 1):
            raise UpstreamFailed(_UNCONFIRMED)

    def _at(self, key_id: str) -> str:
        return f"{self._path}/{key_id}"


class Plain:
    """Version 1: no history, no check for what is there, no metadata."""

    def __init__(self, mount: str, path: str) -> None:
        self._mount = mount
        self._path = path

    def create(self, client: hvac.Client, key_id: str, record: Mapping[str, str]) -> None:
        answer = client.secrets.kv.v1.create_or_update_secret(
            f"{self._path}/{key_id}", dict(record), method="POST", mount_point=self._mount
        )
        if isinstance(answer, dict) or answer.status_code != 204:
            raise UpstreamFailed(_UNCONFIRMED)

    def replace(self, client: hvac.Client, key_id: str, record: Mapping[str, str]) -> None:
        self.create(client, key_id, record)

    def read(self, client: hvac.Client, key_id: str) -> Mapping[str, str]:
        try:
            answer = client.secrets.kv.v1.read_secret(f"{self._path}/{key_id}", mount_point=self._mount)
        except InvalidPath:
            raise NotFound(_GONE) from None
        found: Mapping[str, str] = answer["data"]
        return found

    def describe(self, client: hvac.Client, key_id: str, notes: Mapping[str, str]) -> None:
        """Nothing to do."""

    def delete(self, client: hvac.Client, key_id: str) -> None:
        client.secrets.kv.v1.delete_secret(f"{self._path}/{key_id}", mount_point=self._mount)

    def rights(self) -> Sequence[Right]:
        below = f"{self._mount}/{self._path}"
        return (Right(below, "create", "made"), Right(below, "update", "rotated"), Right(below, "delete", "deleted"))


def lacking(client: hvac.Client, rights: Sequence[Right]) -> Sequence[Right] | None:
    """Those of the rights that the policy of the client's token doesn't give.

    Returns:
        None when the server can't tell, as RustyVault can't.
    """
    paths = sorted({f"{right.below}/{_ANY}" for right in rights})
    try:
        found = client.sys.get_capabilities(paths=paths)["data"]
    except (InvalidPath, InvalidRequest):
        return None
    return [right for right in rights if not {right.capability, "root"} & {*found[f"{right.below}/{_ANY}"]}]


def find(client: hvac.Client, mount: str, path: str) -> KeyValue:
    """The engine that is mounted there.

    Raises:
        UpstreamFailed: there is none, or the vault tells nothing of it.
    """
    at = quote(f"{mount}/{path}")
    try:
        data = client.adapter.get(f"/v1/sys/internal/ui/mounts/{at}")["data"]
    except InvalidPath:  # a server without this question, such as RustyVault, has no version 2 either
        return Plain(mount, path)
    except InvalidRequest:
        raise UpstreamFailed(f"The vault has no mount `{mount}` for the service.") from None
    if data["type"] not in ("kv", "generic"):
        raise UpstreamFailed(f"The vault's mount `{mount}` isn't of the type kv.")
    return Versioned(mount, path) if (data.get("options") or {}).get("version") == "2" else Plain(mount, path)
