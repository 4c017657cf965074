"""Single sign-on: a browser's way to the identity provider and back.

Each attempt has a `state`, which goes to the provider and comes back, and a cookie, which stays with the browser: only
who has both ends the attempt, so nobody can be made to end another's. The provider's nonce and the secret of PKCE are
derived from the cookie; what has to be remembered in clear until the browser is back travels in it, too. The store
keeps digests of both.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

from hpcwaas.core.models import JSON
from hpcwaas.core.people import PROOF, Demand, Principal, Proof, Terms
from hpcwaas.core.ports.identity import (
    Arrival,
    Departure,
    DeviceCode,
    Issued,
    LedOn,
    Loopback,
    MachineKeptOut,
    MachineLetIn,
    Provider,
    Refused,
    TermsAsked,
    TokenShown,
    Vouched,
    WaitingMachine,
)
from hpcwaas.core.ports.sign_in_records import Tickets
from hpcwaas.errors import BadRequest, Forbidden, NotFound, ServiceError, Unauthorized, Unavailable, UpstreamFailed
from hpcwaas.identity.devices import Devices
from hpcwaas.identity.sessions import Sessions, digest
from hpcwaas.identity.terms import TermsOfUse

LIFE = timedelta(minutes=10)
"""For how long a browser may be away."""

_READING = timedelta(minutes=30)
"""For how long one may read terms of use."""

_ENDS = ("ends", "redirect_uri", "challenge", "acr_values", "max_age")

_CLOCKS = timedelta(seconds=60)
"""By how much the provider's clock may differ."""

_CODE_LIFE = timedelta(seconds=60)
_ATTEMPT, _CODE, _TERMS = "attempt", "code", "terms"
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]):(?P<port>[1-9][0-9]{0,4})(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?")
_ERROR = re.compile("[a-z_]{1,64}")
_LONGEST_DESCRIPTION = 300

_NOT_LET_IN = "You didn't let the command in."
_NOT_ACCEPTED = "You haven't accepted the terms of use."
_OVER = (
    "This attempt to sign in isn't known here. It may have ended, or begun more than 10 minutes ago or in another "
    "browser. Sign in again."
)


class SingleSignOn:
    """See `SignIn`.

    Args:
        admit: the user whom the provider vouches for; raises `Forbidden` when they aren't let in.
        terms: that have to be accepted before a sign-in ends well.
        cookie_prefix: of the names of cookies.
    """

    def __init__(
        self,
        provider: Provider,
        admit: Callable[[Vouched], Principal],
        terms: TermsOfUse,
        sessions: Sessions,
        devices: Devices,
        tickets: Tickets,
        cookie_prefix: str,
    ) -> None:
        self._provider = provider
        self._admit = admit
        self._terms = terms
        self._sessions = sessions
        self._devices = devices
        self._tickets = tickets
        self._cookie_prefix = cookie_prefix
        self._grants: Mapping[str, Callable[[Mapping[str, str]], Issued]] = {
            "authorization_code": self._of_code,
            "refresh_token": lambda form: self._sessions.renew(_given(form, "refresh_token")),
            "urn:ietf:params:oauth:grant-type:device_code": lambda form: self._sessions.begin(
                *self._devices.redeem(_given(form, "device_code"))
            ),
        }

    def depart(self, loopback: Loopback | None, demand: Demand) -> Departure:
        """See `SignIn`.

        Raises:
            BadRequest: the command doesn't listen on its own machine.
        """
        if loopback is None:
            return self._depart({"ends": "page", **_demanding(demand)}, "")
        self.check_loopback(loopback)
        ends = {"ends": "loopback", "redirect_uri": loopback.redirect_uri, "challenge": loopback.challenge}
        return self._depart({**ends, **_demanding(demand)}, loopback.state)

    def depart_for(self, user_code: str, address: str) -> Departure:
        machine = self.waiting(user_code, address)
        return self._depart({"ends": "device", **_demanding(machine.demand)}, machine.user_code)

    def check_loopback(self, loopback: Loopback) -> None:
        found = _LOOPBACK.fullmatch(loopback.redirect_uri)
        if not found or int(found["port"]) > 65535:
            raise BadRequest("`redirect_uri` must be http://127.0.0.1:PORT/… or http://[::1]:PORT/…, without a query.")

    def refuse(self, loopback: Loopback) -> str:
        self.check_loopback(loopback)
        return _refusal(loopback.redirect_uri, loopback.state, Forbidden(_NOT_LET_IN))

    def arrive(self, parameters: Mapping[str, str | None], cookies: Mapping[str, str]) -> Arrival:
        attempt, cookie = self._bound(_ATTEMPT, parameters.get("state") or "", cookies)
        carried = _carried(cookie)
        try:
            user, access_token = self._user(parameters, cookie)
            _check_proof(user.proof, attempt)
            if (terms := self._terms.open(user.subject)) is not None:
                return self._ask(user, terms, attempt, carried)
            if attempt["ends"] == "device":
                self._devices.decide(carried, user.subject, user.proof)
                return MachineLetIn(user, carried)
        except ServiceError as error:
            return self._fail(attempt, carried, error, refused=parameters.get("error") == "access_denied")
        if attempt["ends"] == "loopback":
            return LedOn(user, self._lead_on(attempt, carried, user))
        ends = self._sessions.show(user.subject, access_token, user.proof)
        return TokenShown(user, base64.b64encode(access_token.encode()).decode(), ends)

    def answer_terms(self, ticket: str, cookies: Mapping[str, str], *, accepted: bool) -> Departure | Arrival:
        asked, cookie = self._bound(_TERMS, ticket, cookies)
        carried = _carried(cookie)
        if not accepted:
            return self._fail(asked, carried, Forbidden(_NOT_ACCEPTED), refused=True)
        self._terms.accept(asked["subject"], asked["version"])
        # Once more by the provider, which has just signed them in: its token is kept nowhere meanwhile.
        return self._depart({name: asked[name] for name in _ENDS if name in asked}, carried)

    def begin_device(self, address: str, demand: Demand) -> DeviceCode:
        return self._devices.begin(address, demand)

    def waiting(self, user_code: str, address: str) -> WaitingMachine:
        return self._devices.waiting(user_code, address)

    def cookie_name(self, state: str) -> str:
        return f"{self._cookie_prefix}hpcwaas-login-{digest(state)[:16]}"

    def provider_origin(self) -> str:
        parts = urlsplit(self._provider.authorization_url("", "", ""))
        return f"{parts.scheme}://{parts.netloc}"

    def issue(self, form: Mapping[str, str]) -> Issued:
        grant = self._grants.get(_given(form, "grant_type"))
        if grant is None:
            raise Refused("unsupported_grant_type", f"`grant_type` must be one of {', '.join(self._grants)}.")
        return grant(form)

    def end(self, session_id: str | None, token: str) -> None:
        self._sessions.end(session_id, token)

    def end_all(self, subject: str) -> None:
        self._sessions.end_all(subject)

    def _depart(self, ends: Mapping[str, JSON], carried: str) -> Departure:
        state = secrets.token_urlsafe(32)
        cookie = f"{secrets.token_urlsafe(32)}.{_encoded(carried.encode())}"
        nonce, verifier = _derived(cookie, "nonce"), _derived(cookie, "verifier")
        url = self._provider.authorization_url(state, nonce, verifier, _demanded(ends))
        content = {**ends, "binding": digest(cookie), "begun_at": datetime.now(UTC).isoformat()}
        self._tickets.put(_ATTEMPT, digest(state), content, datetime.now(UTC) + LIFE)
        return Departure(url, self.cookie_name(state), cookie)

    def _ask(self, user: Principal, terms: Terms, attempt: Mapping[str, JSON], carried: str) -> TermsAsked:
        ticket = secrets.token_urlsafe(32)
        cookie = f"{secrets.token_urlsafe(32)}.{_encoded(carried.encode())}"
        content = {**attempt, "subject": user.subject, "version": terms.version, "binding": digest(cookie)}
        self._tickets.put(_TERMS, digest(ticket), content, datetime.now(UTC) + _READING)
        return TermsAsked(user, terms, ticket, self.cookie_name(ticket), cookie, attempt.get("redirect_uri"))

    def _bound(self, kind: str, state: str, cookies: Mapping[str, str]) -> tuple[Mapping[str, JSON], str]:
        """What is kept of this browser, which ends with that, and its cookie."""
        now, key = datetime.now(UTC), digest(state)
        cookie = cookies.get(self.cookie_name(state), "")
        attempt = self._tickets.find_ticket(kind, key, now)
        # Who lacks the cookie can't end the attempt of who has it, not even by wasting it.
        if (
            attempt is None
            or not hmac.compare_digest(attempt["binding"], digest(cookie))
            or self._tickets.take(kind, key, now) is None
        ):
            raise BadRequest(_OVER)
        return attempt, cookie

    def _fail(self, attempt: Mapping[str, JSON], carried: str, error: ServiceError, *, refused: bool) -> Arrival:
        """What becomes of an attempt in which nobody is signed in.

        Args:
            refused: it was the user who said no.
        """
        if attempt["ends"] == "loopback":
            return LedOn(None, _refusal(attempt["redirect_uri"], carried, error))
        if attempt["ends"] == "page":
            raise error
        if refused:
            with contextlib.suppress(NotFound):  # it doesn't wait any more
                self._devices.decide(carried, None)
        return MachineKeptOut(error, carried if self._devices.waits(carried) else None)

    def _user(self, parameters: Mapping[str, str | None], cookie: str) -> tuple[Principal, str]:
        if error := parameters.get("error"):
            raise _provider_error(error, parameters.get("error_description"))
        if not (code := parameters.get("code")):
            raise BadRequest("The identity provider sent no `code`. Sign in again.")
        vouched = self._provider.exchange(
            code, _derived(cookie, "nonce"), _derived(cookie, "verifier"), parameters.get("iss")
        )
        user = self._admit(vouched)
        return user, vouched.access_token

    def _lead_on(self, attempt: Mapping[str, JSON], state: str, user: Principal) -> str:
        code = secrets.token_urlsafe(32)
        content = {
            "subject": user.subject,
            "proof": PROOF.dump_python(user.proof, mode="json"),
            "redirect_uri": attempt["redirect_uri"],
            "challenge": attempt["challenge"],
        }
        self._tickets.put(_CODE, digest(code), content, datetime.now(UTC) + _CODE_LIFE)
        return f"{attempt['redirect_uri']}?{urlencode({'code': code, 'state': state})}"

    def _of_code(self, form: Mapping[str, str]) -> Issued:
        # Taken before anything is looked at: a code is good for one try.
        granted = self._tickets.take(_CODE, digest(_given(form, "code")), datetime.now(UTC))
        redirect_uri, verifier = _given(form, "redirect_uri"), _given(form, "code_verifier")
        if (
            granted is None
            or granted["redirect_uri"] != redirect_uri
            or not hmac.compare_digest(granted["challenge"], _challenge(verifier))
        ):
            raise Refused("invalid_grant", "The code isn't known, is over a minute old, or was made for somebody else.")
        return self._sessions.begin(granted["subject"], PROOF.validate_python(granted.get("proof") or {}))


def _given(form: Mapping[str, str], name: str) -> str:
    value = form.get(name)
    if not value:
        raise Refused("invalid_request", f"`{name}` is missing.")
    return value


def _demanding(demand: Demand) -> Mapping[str, JSON]:
    return {"acr_values": list(demand.acr_values), "max_age": demand.max_age}


def _demanded(attempt: Mapping[str, JSON]) -> Demand:
    return Demand(tuple(attempt.get("acr_values", ())), attempt.get("max_age"))


def _check_proof(proof: Proof, attempt: Mapping[str, JSON]) -> None:
    """Refuses with `Forbidden` a sign-in that isn't what was demanded when the browser left."""
    demand = _demanded(attempt)
    # Not when it came back: a sign-in that was made meanwhile is as fresh as any.
    begun_at = datetime.fromisoformat(attempt["begun_at"]) if "begun_at" in attempt else datetime.now(UTC)
    if not demand.met_by(proof, begun_at - _CLOCKS):
        raise Forbidden(_shortfall(proof, demand))


def _shortfall(proof: Proof, demand: Demand) -> str:
    """Why a sign-in isn't what was demanded."""
    if demand.acr_values and proof.acr not in demand.acr_values:
        how = f"in the way `{proof.acr}`" if proof.acr else "and doesn't say how"
        return (
            f"The identity provider has signed you in {how}; demanded is {' or '.join(demand.acr_values)}. Set that up "
            "at the provider, or ask an operator."
        )
    if proof.at is None:
        return "The identity provider doesn't say when you signed in there (`auth_time`), as is demanded."
    return f"You signed in at the identity provider over {demand.max_age} seconds ago. Sign in there again."


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _derived(cookie: str, purpose: str) -> str:
    return _encoded(hmac.digest(cookie.encode(), purpose.encode(), "sha256"))


def _carried(cookie: str) -> str:
    """What travelled in a cookie that has been found right."""
    encoded = cookie.partition(".")[2]
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


def _challenge(verifier: str) -> str:
    return _encoded(hashlib.sha256(verifier.encode()).digest())


def _provider_error(error: str, description: str | None) -> ServiceError:
    """What the provider's refusal means. Its words came through the browser: they are shown to nobody else."""
    word = error if _ERROR.fullmatch(error) else "an error"
    said = " ".join((description or "").split())[:_LONGEST_DESCRIPTION]
    if error == "access_denied":
        return Forbidden(
            f"The identity provider didn't sign you in: {said or 'it was cancelled, or access was denied.'}"
        )
    if error == "temporarily_unavailable":
        return Unavailable("The identity provider is busy. Sign in again in a while.")
    return UpstreamFailed(f"The identity provider couldn't sign you in: it reports `{word}`.")


def _refusal(redirect_uri: str, state: str, error: ServiceError) -> str:
    word = "server_error"
    if isinstance(error, Forbidden | Unauthorized):
        word = "access_denied"
    elif isinstance(error, Unavailable):
        word = "temporarily_unavailable"
    return f"{redirect_uri}?{urlencode({'error': word, 'error_description': error.detail, 'state': state})}"
