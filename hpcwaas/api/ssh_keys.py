"""`/ssh_keys`."""

from __future__ import annotations

from typing import Any

import flask
from flask import Response

from hpcwaas.api import views
from hpcwaas.core.key_types import DEFAULT_TYPE
from hpcwaas.core.keys import RESERVED, SSHKeys
from hpcwaas.core.models import SSHKey
from hpcwaas.core.people import Principal


class SSHKeyHandlers:
    """Handlers of the operations on SSH keys."""

    def __init__(self, keys: SSHKeys) -> None:
        self._keys = keys

    def list_ssh_keys(self, principal: Principal, owner: str | None = None) -> Response:
        """Lists keys."""
        found = self._keys.list(principal, owner)
        return views.answer({"ssh_keys": [views.ssh_key(key) for key in found]})

    def create_ssh_key(self, principal: Principal, body: Any = None) -> Response:
        """Makes a key pair."""
        wanted = body or {}
        metadata = wanted.get("metadata") or {}
        key = self._keys.create(
            principal,
            wanted.get("type", DEFAULT_TYPE),
            wanted.get("bits"),
            wanted.get("name"),
            metadata,
            wanted.get("comment"),
        )
        document = views.ssh_key(key)
        if ignored := [word for word in RESERVED if word in metadata]:
            document["warnings"] = [
                f"`metadata.{word}` was ignored: the vault uses this name itself." for word in ignored
            ]
        return views.answer(document, 201, {"Location": f"/ssh_keys/{key.id}"})

    def get_ssh_key(
        self, principal: Principal, key_id: str, from_: str | None = None, restrict: bool = False
    ) -> Response:
        """Shows a key: all about it, or the line for `authorized_keys`."""
        key = self._keys.get(principal, key_id)
        wanted = flask.request.accept_mimetypes.best_match(["application/json", "text/plain"])
        if wanted == "text/plain":
            response = Response(_line(key, from_, restrict), mimetype=wanted)
        else:
            response = views.answer(views.ssh_key(key))
        response.vary.add("Accept")
        return response

    def rotate_ssh_key(self, principal: Principal, key_id: str) -> Response:
        """Exchanges a key pair for a new one."""
        return views.answer(views.ssh_key(self._keys.rotate(principal, key_id)))

    def confirm_ssh_key(self, principal: Principal, key_id: str) -> Response:
        """Notes that the present public half is installed."""
        return views.answer(views.ssh_key(self._keys.confirm(principal, key_id)))

    def delete_ssh_key(self, principal: Principal, key_id: str, force: bool = False) -> Response:
        """Destroys a key."""
        self._keys.delete(principal, key_id, force=force)
        return views.empty(204)


def _line(key: SSHKey, sources: str | None, restrict: bool) -> str:
    """The line for `authorized_keys`. The contract lets nothing into `sources` that could end the quotes."""
    options = [*(["restrict"] if restrict else []), *([f'from="{sources}"'] if sources else [])]
    return f"{','.join(options)} {key.public_key}".lstrip()
