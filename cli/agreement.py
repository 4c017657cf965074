"""The service's terms of use, and the user's agreement to them."""

from __future__ import annotations

import sys

import click

from .api import answers, calls
from .client import Client
from .errors import NotFound, Unauthorized
from .text import clean


def terms_of_use(client: Client) -> answers.TermsState:
    """The terms of use and when the user accepted them: `{"terms", "accepted_at"}`."""
    try:
        return client.call(calls.get_terms())
    except NotFound:  # a service of before there were any
        return {"terms": None, "accepted_at": None}


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
    client.call(calls.accept_terms(version))
    client.note(f"You have accepted version {version} of the terms of use.")


def show(terms: answers.Terms) -> None:
    """Shows terms of use on stderr: their text, their address, or both."""
    for text in (terms["text"], terms["url"]):
        if text:
            click.echo(clean(text), err=True)
