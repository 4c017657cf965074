"""`/files`."""

from __future__ import annotations

import flask
from flask import Response

from hpcwaas.api import views
from hpcwaas.api.bodies import Bodies
from hpcwaas.core.people import Principal
from hpcwaas.core.uploads import Uploads


class FileHandlers:
    """Handlers of the operations on uploads."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    def list_files(
        self, principal: Principal, limit: int, cursor: str | None = None, owner: str | None = None
    ) -> Response:
        """Lists uploads."""
        found, following = self._uploads.page(principal, limit, cursor, owner)
        return views.answer({"files": [views.upload(item) for item in found], "next_cursor": following})

    def upload_file(self, principal: Principal, name: str, companion_of: str | None = None) -> Response:
        """Stores an upload while it arrives."""
        request = flask.request
        upload = self._uploads.save(
            principal.subject,
            name,
            request.headers[Bodies.UPLOAD_TYPE],
            request.environ["wsgi.input"],
            request.content_length,
            companion_of,
        )
        return views.answer(views.upload(upload), 201, {"Location": f"/files/{upload.id}"})

    def get_file(self, principal: Principal, file_id: str) -> Response:
        """Shows an upload."""
        return views.answer(views.upload(self._uploads.get(principal, file_id)))

    def delete_file(self, principal: Principal, file_id: str) -> Response:
        """Deletes an upload."""
        self._uploads.delete(principal, file_id)
        return views.empty(204)
