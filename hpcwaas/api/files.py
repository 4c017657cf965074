"""`/files`."""

from __future__ import annotations

from typing import Any

import flask
from flask import Response

from hpcwaas.api import views
from hpcwaas.api.bodies import Bodies
from hpcwaas.core.uploads import Uploads


class FileHandlers:
    """Handlers of the operations on uploads."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    def list_(
        self, token_info: dict[str, Any], limit: int, cursor: str | None = None, owner: str | None = None
    ) -> Response:
        """Lists uploads."""
        found, following = self._uploads.page(token_info["principal"], limit, cursor, owner)
        return views.answer({"files": [views.upload(item) for item in found], "next_cursor": following})

    def upload(self, token_info: dict[str, Any], name: str) -> Response:
        """Stores an upload while it arrives."""
        request = flask.request
        upload = self._uploads.save(
            token_info["principal"].subject,
            name,
            request.headers[Bodies.UPLOAD_TYPE],
            request.environ["wsgi.input"],
            request.content_length,
        )
        return views.answer(views.upload(upload), 201, {"Location": f"/files/{upload.id}"})

    def get(self, token_info: dict[str, Any], file_id: str) -> Response:
        """Shows an upload."""
        return views.answer(views.upload(self._uploads.get(token_info["principal"], file_id)))

    def delete(self, token_info: dict[str, Any], file_id: str) -> Response:
        """Deletes an upload."""
        self._uploads.delete(token_info["principal"], file_id)
        return views.empty(204)
