"""The few HTML pages of signing in. They need nothing from elsewhere, and work without scripts."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from flask import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from hpcwaas.core.people import Principal, Terms
from hpcwaas.core.ports.identity import WaitingMachine


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["moment"] = lambda value: value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return environment


def confirm_command(parameters: Mapping[str, str], redirect_uri: str, proof: str, provider: str) -> Response:
    """Asks whether a command on the user's machine is their own.

    Args:
        parameters: come back with the button, as `proof` does.
        provider: origin that the button leads on to.
    """
    place = urlsplit(redirect_uri).netloc
    return _page("command", f"{provider} http://{place}", parameters=parameters, place=place, proof=proof)


def terms(terms: Terms, user: Principal, ticket: str, provider: str, redirect_uri: str | None) -> Response:
    """Shows terms of use, to be accepted.

    Args:
        ticket: comes back with the button.
        provider: origin that the button leads on to.
        redirect_uri: of the command that is told when they are refused, if any.
    """
    told = f" http://{urlsplit(redirect_uri).netloc}" if redirect_uri else ""
    return _page("terms", provider + told, terms=terms, user=user, ticket=ticket)


def signed_in(name: str, subject: str, token: str, ends_at: datetime, url: str) -> Response:
    """What a browser shows after a sign-in.

    Args:
        url: of the service.
    """
    return _page("signed-in", name=name, subject=subject, token=token, ends_at=ends_at, url=url)


def let_in(name: str, subject: str, user_code: str) -> Response:
    """What a browser shows when a machine has been let in."""
    return _page("let-in", name=name, subject=subject, user_code=user_code)


def enter() -> Response:
    """Asks for the code that a machine shows."""
    return _page("enter")


def confirm(machine: WaitingMachine, proof: str, provider: str) -> Response:
    """Asks whether a machine is the user's own.

    Args:
        proof: comes back with the button.
        provider: origin that the button leads on to.
    """
    return _page("confirm", provider, machine=machine, proof=proof)


def failed(
    status: int, title: str, detail: str, again: tuple[str, str] | None = None, request_id: str | None = None
) -> Response:
    """Says what went wrong.

    Args:
        again: address and words of the link that leads on.
    """
    page = _page("failed", title=title, detail=detail, again=again, request_id=request_id)
    page.status_code = status
    return page


def _page(template: str, provider: str | None = None, **values: object) -> Response:
    nonce = secrets.token_urlsafe(16)
    page: Template = _templates().get_template(f"{template}.html")
    # Chromium holds redirects after a form against `form-action`, too, and providers lead on to institutes.
    forms = "'self'" if provider is None else f"'self' {provider} https:"
    return Response(
        page.render(nonce=nonce, **values),
        content_type="text/html; charset=utf-8",
        headers={
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action {forms}; "
                "frame-ancestors 'none'; base-uri 'none'"
            ),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        },
    )
