"""`/ssh_keys`."""

from __future__ import annotations

from typing import Any

from flask import Response

from hpcwaas.api import views
from hpcwaas.core.keys import Keys


class SSHKeyHandlers:
    """Handlers of the operations on SSH keys."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def list_(self, token_info: dict[str, Any]) -> Response:
        """Lists keys."""
        return views.answer({"ssh_keys": [views.ssh_key(key) for key in self._keys.list(token_info["principal"])]})

    def create(self, token_info: dict[str, Any], body: Any = None) -> Response:
        """Makes a key pair."""
        wanted = body or {}
        key = self._keys.create(
            token_info["principal"],
            wanted.get("type", "ed25519"),
            wanted.get("bits"),
            wanted.get("name"),
            wanted.get("metadata") or {},
        )
        return views.answer(views.ssh_key(key), 201, {"Location": f"/ssh_keys/{key.id}"})

    def get(self, token_info: dict[str, Any], key_id: str) -> Response:
        """Shows a key."""
        return views.answer(views.ssh_key(self._keys.get(token_info["principal"], key_id)))

    def delete(self, token_info: dict[str, Any], key_id: str) -> Response:
        """Destroys a key."""
        self._keys.delete(token_info["principal"], key_id)
        return views.empty(204)
