"""The service's terms of use, and the user's agreement to them."""

from __future__ import annotations

import sys
from typing import Any

import click

from .client import Client
from .errors import NotFound, Unauthorized
from .text import clean


def terms_of_use(client: Client) -> dict[str, Any]:
    """The terms of use and when the user accepted them: `{"terms", "accepted_at"}`."""
    try:
        found: dict[str, Any] = client.get_json("/terms")
    except NotFound:  # a service of before there were any
        return {"terms": None, "accepted_at": None}
    return found


def agree(client: Client) -> None:
    """Lets the user accept the terms of use, if there are any that they haven't accepted.

    Raises:
        WaasError: they don't, or there is no terminal to ask them at.
    """
    found = terms_of_use(client)
    terms = found["terms"]
    if terms is None or found["accepted_at"]:
        return
    version = str(terms["version"])
    if not sys.stdin.isatty():
        raise Unauthorized(
            f"You haven't accepted the service's terms of use, version {version}, and no terminal is there to ask you.",
            hint="Read them with `waas terms -o json`, then accept them with the same credentials: "
            f"waas terms --accept {version}",
        )
    show(terms)
    if not click.confirm(f"Do you accept version {version} of these terms of use?", err=True):
        raise Unauthorized("You haven't accepted the terms of use.")
    accept(client, version)


def accept(client: Client, version: str) -> None:
    """Accepts a version of the terms of use, and says so."""
    client.request("POST", "/terms", json={"version": version}, retry=True)
    client.note(f"You have accepted version {version} of the terms of use.")


def show(terms: dict[str, Any]) -> None:
    """Shows terms of use on stderr: their text, their address, or both."""
    for text in (terms["text"], terms["url"]):
        if text:
            click.echo(clean(text), err=True)
