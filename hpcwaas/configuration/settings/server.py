"""The web server."""

from __future__ import annotations

from pydantic import Field

from hpcwaas.configuration.settings.values import Mode, Network, Section, Size


class ServerSettings(Section):
    """The web server."""

    workers: int = Field(1, gt=0, description="Worker processes.")
    threads: int = Field(64, gt=1, description="Requests that one worker process serves at the same time.")
    max_body: Size = Field(8 * 2**20, description="Largest JSON body. Uploads have `files.max_size`.")
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        description="Addresses or networks of reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count. "
        "Whoever connects by a Unix socket is trusted anyway.",
    )
    socket_mode: Mode = Field(
        "0660",
        description="Mode of the Unix socket, when `listen_address` is one: `'0660'` for the service's group, "
        "`'0600'` for its account alone.",
    )
