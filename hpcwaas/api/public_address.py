"""Where browsers reach the service, and the cookies that they get there."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from flask import Response

from hpcwaas.core.ports.identity import CALLBACK

_COOKIE_SECONDS = 600


class PublicAddress:
    """Where browsers reach the service.

    Args:
        redirect_url: where the provider sends them back to, ending with `CALLBACK`.

    Attributes:
        url: of the service, without a slash at its end.
        cookie_prefix: of the names of cookies: makes browsers take none that another host of the domain forges.
    """

    def __init__(self, redirect_url: str) -> None:
        self.url = redirect_url.removesuffix(CALLBACK)
        self._host = without_port(urlsplit(redirect_url).netloc)
        self._secure = redirect_url.startswith("https:")
        self.cookie_prefix = "__Host-" if self._secure else ""
        # The prefix demands the path `/`.
        self._path = "/" if self._secure else f"{urlsplit(self.url).path}/auth"

    def has(self, host: str | None) -> bool:
        """Whether cookies that are set at a host come back with the browser.

        Args:
            host: header of a request.
        """
        return not host or without_port(host) == self._host

    def set_cookie(
        self, response: Response, name: str, value: str, same_site: str, seconds: int = _COOKIE_SECONDS
    ) -> None:
        """Gives the browser a cookie for minutes."""
        response.set_cookie(
            name, value, max_age=seconds, path=self._path, secure=self._secure, httponly=True, samesite=same_site
        )

    def drop_cookie(self, response: Response, name: str) -> None:
        """Takes it back."""
        response.delete_cookie(name, path=self._path, secure=self._secure, httponly=True, samesite="Lax")


def without_port(host: str) -> str:
    """A host as cookies know it."""
    return re.sub(r":\d*$", "", host).lower()
