"""What users are asked in their browsers while they sign in: whether a command is theirs, and about terms of use."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

import flask
from flask import Response

from hpcwaas.api import pages
from hpcwaas.api.public_address import PublicAddress
from hpcwaas.core.ports.identity import Loopback, SignIn, TermsAsked
from hpcwaas.errors import BadRequest, Forbidden

READING_SECONDS = 1800


class Question:
    """One that is answered on this service's own page: a cookie that other sites' pages can't have sent, and a proof in
    the page that they can't read."""

    def __init__(self, public: PublicAddress, name: str) -> None:
        self._public = public
        self._name = f"{public.cookie_prefix}hpcwaas-{name}"

    def proof(self) -> str:
        """What the page holds: the one of another tab goes on to work."""
        return flask.request.cookies.get(self._name) or secrets.token_urlsafe(32)

    def remember(self, response: Response, proof: str) -> None:
        """Gives the browser the cookie."""
        self._public.set_cookie(response, self._name, proof, "Strict")

    def check(self, proof: str) -> None:
        """Refuses an answer from elsewhere.

        Raises:
            Forbidden: it is one.
        """
        known = flask.request.cookies.get(self._name, "")
        if not known or not hmac.compare_digest(known.encode(), proof.encode()):
            raise Forbidden(
                "The button wasn't pressed on a page of this service, or the page is too old. Open the page again."
            )


def ask_for_command(sign_in: SignIn, public: PublicAddress, parameters: Mapping[str, str]) -> Response:
    """Asks whether a command on the user's machine is their own, before any code goes there.

    Args:
        parameters: of the command, which come back with the answer.
    """
    loopback = loopback_of(parameters)
    sign_in.check_loopback(loopback)
    question = Question(public, _name(loopback))
    proof = question.proof()
    response = pages.confirm_command(parameters, loopback.redirect_uri, proof, sign_in.provider_origin())
    question.remember(response, proof)
    return response


def check_answer_for_command(public: PublicAddress, parameters: Mapping[str, str]) -> Loopback:
    """The command that the answer is about.

    Raises:
        Forbidden: it wasn't given on this service's page.
    """
    loopback = loopback_of(parameters)
    Question(public, _name(loopback)).check(parameters.get("proof", ""))
    return loopback


def loopback_of(parameters: Mapping[str, str]) -> Loopback:
    """The command that parameters are about.

    Raises:
        BadRequest: some are missing.
    """
    names = ("redirect_uri", "state", "code_challenge", "code_challenge_method")
    missing = [name for name in names if not parameters.get(name)]
    if missing:
        raise BadRequest(f"`{'`, `'.join(missing)}` is missing: a command gives all of these parameters.")
    return Loopback(parameters["redirect_uri"], parameters["state"], parameters["code_challenge"])


def ask_for_terms(asked: TermsAsked, public: PublicAddress, provider: str) -> Response:
    """Shows terms of use, to be accepted."""
    response = pages.terms(asked.terms, asked.user, asked.ticket, provider, asked.url)
    public.set_cookie(response, asked.cookie_name, asked.cookie, "Strict", READING_SECONDS)
    return response


def _name(loopback: Loopback) -> str:
    # By port: several commands may ask at the same time.
    return f"command-{loopback.redirect_uri.split(':')[-1].split('/')[0]}"
