"""The Swagger UI: a page, a script and styles of our own around the files of a current release.

Everything is a file of this service, so that a browser runs and loads nothing else (`POLICY`).
"""

from __future__ import annotations

from importlib import metadata
from importlib.resources import files

from starlette.types import ASGIApp, Receive, Scope, Send

from hpcwaas.api.answers import answer

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page."""

_RELEASED = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_OWN = {
    "": "text/html; charset=utf-8",
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}

PATHS = ("/ui", *(f"/ui/{name}" for name in (*_OWN, *_RELEASED)))
"""All paths, of which each can be read."""


class SwaggerUI:
    """Answers `PATHS`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        own, released = files("hpcwaas.api") / "swagger", files("flask_swagger_ui") / "dist"
        release = metadata.version("flask-swagger-ui").encode()
        self._files = {
            **{
                f"/ui/{name}": (
                    kind,
                    own.joinpath(name or "index.html").read_bytes().replace(b"VERSION", release),
                    "no-cache",
                )
                for name, kind in _OWN.items()
            },
            **{
                f"/ui/{name}": (kind, (released / name).read_bytes(), "public, max-age=31536000, immutable")
                for name, kind in _RELEASED.items()
            },
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] == "http" and scope["path"] == "/ui":
            await answer(send, 307, {"Location": "/ui/", "Content-Security-Policy": POLICY})
        elif scope["type"] == "http" and scope["path"] in self._files:
            kind, content, caching = self._files[scope["path"]]
            headers = {"Content-Type": kind, "Cache-Control": caching, "Content-Security-Policy": POLICY}
            await answer(send, 200, headers, content)
        else:
            await self._app(scope, receive, send)
