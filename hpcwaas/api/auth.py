"""`/auth`: signing in and out."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import flask
from connexion import ConnexionMiddleware
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from flask import Response

from hpcwaas.api import consent, pages, views
from hpcwaas.api.problems import problem
from hpcwaas.api.public_address import PublicAddress
from hpcwaas.core import acts, policy
from hpcwaas.core.people import Demand, Principal
from hpcwaas.core.ports.identity import (
    Arrival,
    Departure,
    LedOn,
    MachineKeptOut,
    MachineLetIn,
    Refused,
    SignIn,
    TermsAsked,
    TokenShown,
)
from hpcwaas.errors import NotFound, ServiceError

_LOGGER = logging.getLogger(__name__)
_NO_STORE = {"Cache-Control": "no-store"}
_NONE = "This service has no single sign-on. `GET /auth/methods` says how to sign in."

_LOGIN = ("login", "Sign in again")
_ACTIVATE = ("activate", "Enter a code")
"""Links that lead on, relative to these pages: a proxy may have put them below another path."""

Handler = Callable[..., Response]


def _for_browsers(again: tuple[str, str]) -> Callable[[Handler], Handler]:
    """Lets a handler's failures be pages for browsers, with a link that leads on."""

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def wrapped(self: AuthHandlers, *arguments: Any, **parameters: Any) -> Response:
            try:
                return handler(self, *arguments, **parameters)
            except ServiceError as error:
                if not _is_browser():
                    raise
                return _failure(error, again if self.has_sign_in else None)

        return wrapped

    return decorate


class AuthHandlers:
    """Handlers of the operations on signing in and out.

    Args:
        methods: how users sign in here.
        sign_in: the single sign-on and where browsers reach it; None when there is none.
        count: counts a request by its address; raises `TooManyRequests`.
        revoke: revokes the personal access token of who calls.
        forget: see `Identity.forget`.
    """

    def __init__(
        self,
        methods: Sequence[str],
        sign_in: tuple[SignIn, PublicAddress] | None,
        count: Callable[[str], None],
        revoke: Callable[[Principal], None],
        forget: Callable[[], None],
    ) -> None:
        self._methods = methods
        self._sign_in = sign_in
        self._count = count
        self._revoke = revoke
        self._forget = forget

    @property
    def has_sign_in(self) -> bool:
        """Whether there is a single sign-on."""
        return self._sign_in is not None

    def get_auth_methods(self) -> Response:
        """Shows how to sign in."""
        return views.answer({"methods": list(self._methods)})

    @_for_browsers(_LOGIN)
    def login(
        self,
        redirect_uri: str | None = None,
        state: str | None = None,
        code_challenge: str | None = None,
        code_challenge_method: str | None = None,
        acr_values: str | None = None,
        max_age: int | None = None,
        moved: bool = False,
    ) -> Response:
        """Leads a browser to the identity provider; first asks whether it is the user's command that wants that."""
        sign_in, public = self._begin()
        if not (moved or public.has(flask.request.headers.get("Host"))):
            return _move(public, "login")
        demand = _demand(acr_values, max_age)
        command = {
            "redirect_uri": redirect_uri,
            "state": state,
            "code_challenge": code_challenge,
            "code_challenge_method": code_challenge_method,
        }
        given = {name: value for name, value in command.items() if value}
        if not given:
            return _leave(sign_in.depart(None, demand), public)
        demanded = {"acr_values": acr_values or "", "max_age": "" if max_age is None else str(max_age)}
        return consent.ask_for_command(sign_in, public, given | {name: it for name, it in demanded.items() if it})

    @_for_browsers(_LOGIN)
    def confirm_login(self, body: Mapping[str, str]) -> Response:
        """Leads on a browser whose user has said whether a command is theirs."""
        sign_in, public = self._begin()
        loopback = consent.check_answer_for_command(public, body)
        if body["decision"] != "accept":
            acts.note(credential="sign-in", refused=True)
            return _redirect(sign_in.refuse(loopback))
        age = body.get("max_age")
        return _leave(sign_in.depart(loopback, _demand(body.get("acr_values"), int(age) if age else None)), public)

    @_for_browsers(_LOGIN)
    def authorize(
        self,
        code: str | None = None,
        state: str | None = None,
        error: str | None = None,
        error_description: str | None = None,
        iss: str | None = None,
    ) -> Response:
        """Takes a browser back from the identity provider."""
        sign_in, public = self._begin()
        parameters = {"code": code, "state": state, "error": error, "error_description": error_description, "iss": iss}
        acts.note(credential="sign-in")  # whatever comes of it
        arrival = sign_in.arrive(parameters, flask.request.cookies)
        response = self._shown(arrival, sign_in, public)
        if not isinstance(arrival, MachineKeptOut):
            public.drop_cookie(response, sign_in.cookie_name(state or ""))
        return response

    @_for_browsers(_LOGIN)
    def answer_terms(self, body: Mapping[str, str]) -> Response:
        """Takes the answer to terms of use, and leads on."""
        sign_in, public = self._begin()
        accepted = body["decision"] == "accept"
        acts.note(credential="sign-in", terms="accepted" if accepted else "refused")
        outcome = sign_in.answer_terms(body["ticket"], flask.request.cookies, accepted=accepted)
        if isinstance(outcome, Departure):
            self._forget()
            response = _leave(outcome, public)
        else:
            response = self._shown(outcome, sign_in, public)
        public.drop_cookie(response, sign_in.cookie_name(body["ticket"]))
        return response

    def _shown(self, arrival: Arrival, sign_in: SignIn, public: PublicAddress) -> Response:
        """What a browser is shown at the end of an attempt."""
        if isinstance(arrival, MachineKeptOut):
            return _machine_kept_out(arrival)
        if arrival.user is None:
            acts.note(refused=True)
        else:
            self._forget()  # the provider may have told of other groups than before
            acts.note(who=arrival.user.subject)
        match arrival:
            case LedOn():
                return _redirect(arrival.url)
            case MachineLetIn():
                return _machine_let_in(arrival)
            case TermsAsked():
                return consent.ask_for_terms(arrival, public, sign_in.provider_origin())
            case TokenShown():
                return _token_shown(arrival, public)

    def start_device(self, body: Mapping[str, str] | None = None) -> Response:
        """Lets a machine without a browser wait for its user."""
        sign_in, public = self._begin()
        age = (body or {}).get("max_age")
        demand = _demand((body or {}).get("acr_values"), int(age) if age else None)
        device = sign_in.begin_device(_address(), demand)
        page = f"{public.url}/auth/activate"
        document = {
            "device_code": device.device_code,
            "user_code": device.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={device.user_code}",
            "expires_in": device.lifetime,
            "interval": device.interval,
        }
        return views.answer(document, headers=_NO_STORE)

    @_for_browsers(_ACTIVATE)
    def show_activation(self, user_code: str | None = None, moved: bool = False) -> Response:
        """Asks for a machine's code, or whether it is the user's."""
        sign_in, public = self._begin()
        if not (moved or public.has(flask.request.headers.get("Host"))):
            return _move(public, "activate")
        if not user_code:
            return pages.enter()
        machine = sign_in.waiting(user_code, _address())
        question = consent.Question(public, f"activate-{machine.user_code}")
        proof = question.proof()
        response = pages.confirm(machine, proof, sign_in.provider_origin())
        question.remember(response, proof)
        return response

    @_for_browsers(_ACTIVATE)
    def activate(self, body: Mapping[str, str]) -> Response:
        """Leads to the identity provider the browser of a user who lets a machine in."""
        sign_in, public = self._begin()
        user_code = body["user_code"]
        consent.Question(public, f"activate-{user_code}").check(body["proof"])
        return _leave(sign_in.depart_for(user_code, _address()), public)

    def issue_token(self, body: Mapping[str, str]) -> Response:
        """Gives or renews the tokens of a sign-in."""
        sign_in, _ = self._begin()
        issued = sign_in.issue(body)
        self._forget()  # the tokens that these replace
        acts.note(who=issued.subject, credential=f"session {issued.session}")
        document = {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": issued.lifetime,
            "refresh_token": issued.refresh_token,
        }
        return views.answer(document, headers=_NO_STORE)

    def logout(self, principal: Principal, everywhere: bool = False) -> Response:
        """Ends the sign-in that the request's credentials belong to, or all of the user's; or revokes the personal
        access token."""
        if everywhere:
            policy.require(principal, "own")
            acts.note(everywhere=True)
            if self._sign_in is not None:
                self._sign_in[0].end_all(principal.subject)
        scheme, _, credentials = flask.request.headers["Authorization"].strip().partition(" ")
        if principal.scopes is not None:
            self._revoke(principal)
        elif self._sign_in is not None and scheme.lower() == "bearer":
            self._sign_in[0].end(principal.session, credentials.strip())
        self._forget()
        return views.empty(204)

    def _begin(self) -> tuple[SignIn, PublicAddress]:
        if self._sign_in is None:
            raise NotFound(_NONE)
        self._count(_address())
        return self._sign_in


def register(app: ConnexionMiddleware) -> None:
    """Makes the app answer refusals of tokens and forms in the words of OAuth."""
    app.add_error_handler(Refused, _refused)


async def _refused(request: ConnexionRequest, error: Refused) -> ConnexionResponse:
    acts.note(error=error.error)
    members = {"error": error.error, "error_description": error.detail}
    path = request.scope["path"]
    if path == "/auth/token":
        body = views.answer(members).get_data()
        return ConnexionResponse(400, content_type="application/json", headers=dict(_NO_STORE), body=body)
    request_id = request.scope["extensions"]["hpcwaas.request_id"]
    if path == "/auth/activate" and "text/html" in request.headers.get("accept", ""):
        page = pages.failed(400, _TITLES[HTTPStatus.BAD_REQUEST], error.detail, _ACTIVATE, request_id)
        return ConnexionResponse(400, headers=dict(page.headers), body=page.get_data())
    body, headers = problem(400, error.detail, request_id, path, **members)
    return ConnexionResponse(400, content_type=headers["Content-Type"], headers=headers, body=body)


def _token_shown(arrival: TokenShown, public: PublicAddress) -> Response:
    name, subject = _line(arrival.user.name), arrival.user.subject
    if _is_browser():
        return pages.signed_in(name, subject, arrival.token, arrival.ends_at, public.url)
    # As the old service wrote it.
    return _text(
        f"\tLog in successful\n\nWelcome {name}\nUser ID: {subject}\nYou can now use HPCWaaS\n\n"
        f"For using the CLI, please use the following token:\n\t{arrival.token}\n"
    )


def _machine_let_in(arrival: MachineLetIn) -> Response:
    name, subject = _line(arrival.user.name), arrival.user.subject
    if _is_browser():
        return pages.let_in(name, subject, arrival.user_code)
    return _text(f"The machine with the code {arrival.user_code} is signed in as {name} ({subject}).\n")


def _machine_kept_out(arrival: MachineKeptOut) -> Response:
    if not _is_browser():
        raise arrival.error
    page, words = _ACTIVATE
    if arrival.user_code is not None:
        page, words = f"{page}?{urlencode({'user_code': arrival.user_code})}", "Try again"
    return _failure(arrival.error, (page, words))


def _failure(error: ServiceError, again: tuple[str, str] | None) -> Response:
    status = HTTPStatus[error.id.upper()]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOGGER.error("%s %s: %s", status.value, error.id, error.detail, exc_info=error.__cause__)
    request_id = flask.request.environ["asgi.scope"].get("extensions", {}).get("hpcwaas.request_id")
    page = pages.failed(status, _TITLES.get(status, "That didn't work"), error.detail, again, request_id)
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        page.headers["Retry-After"] = str(retry_after)
    return page


_TITLES = {
    HTTPStatus.BAD_REQUEST: "You aren't signed in",
    HTTPStatus.UNAUTHORIZED: "You aren't signed in",
    HTTPStatus.FORBIDDEN: "You aren't signed in",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many tries",
    HTTPStatus.BAD_GATEWAY: "The identity provider fails",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not possible at the moment",
    HTTPStatus.GATEWAY_TIMEOUT: "The identity provider fails",
}


def _text(body: str) -> Response:
    return Response(body, content_type="text/plain; charset=utf-8", headers=_NO_STORE)


def _redirect(url: str) -> Response:
    return views.empty(303, {"Location": url, **_NO_STORE})


def _move(public: PublicAddress, page: str) -> Response:
    """Leads a browser to the same page where its cookies are of use. Once: a proxy may hide where it is."""
    query = urlencode([*flask.request.args.items(multi=True), ("moved", "true")])
    return _redirect(f"{public.url}/auth/{page}?{query}")


def _leave(departure: Departure, public: PublicAddress) -> Response:
    response = _redirect(departure.url)
    public.set_cookie(response, departure.cookie_name, departure.cookie, "Lax")
    return response


def _demand(acr_values: str | None, max_age: int | None) -> Demand:
    return Demand(tuple((acr_values or "").split()), max_age)


def _line(name: str) -> str:
    return " ".join(name.split())


def _address() -> str:
    return flask.request.remote_addr or ""


def _is_browser() -> bool:
    return "text/html" in flask.request.headers.get("Accept", "")
