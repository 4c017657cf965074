"""The web server."""

from __future__ import annotations

from pydantic import Field

from hpcwaas.configuration.settings.values import Network, Section, Size


class ServerSettings(Section):
    """The web server."""

    workers: int = Field(1, gt=0, description="Worker processes.")
    threads: int = Field(64, gt=1, description="Requests that one worker process serves at the same time.")
    max_body: Size = Field(8 * 2**20, description="Largest JSON body. Uploads have `files.max_size`.")
    trusted_proxies: tuple[Network, ...] = Field(
        ("127.0.0.1", "::1"),
        description="Addresses or networks of reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count.",
    )
