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

from hpcwaas.core.models import JSON, Principal
from hpcwaas.errors import BadRequest, Forbidden, NotFound, ServiceError, Unauthorized, Unavailable, UpstreamFailed
from hpcwaas.identity.base import (
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
    TokenShown,
    Vouched,
    WaitingMachine,
)
from hpcwaas.identity.devices import Devices
from hpcwaas.identity.sessions import Sessions, digest
from hpcwaas.store.base import Tickets

LIFE = timedelta(minutes=10)
"""For how long a browser may be away."""

_CODE_LIFE = timedelta(seconds=60)
_ATTEMPT, _CODE = "attempt", "code"
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]):(?P<port>[1-9][0-9]{0,4})(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?")
_ERROR = re.compile("[a-z_]{1,64}")
_LONGEST_DESCRIPTION = 300

_OVER = (
    "This attempt to sign in isn't known here: it began more than 10 minutes ago, has ended already, or was begun in "
    "another browser. Sign in again."
)


class SingleSignOn:
    """See `SignIn`.

    Args:
        admit: the user whom the provider vouches for; None when they aren't let in.
        cookie_prefix: of the names of cookies.
    """

    def __init__(
        self,
        provider: Provider,
        admit: Callable[[Vouched], Principal | None],
        sessions: Sessions,
        devices: Devices,
        tickets: Tickets,
        cookie_prefix: str,
    ) -> None:
        self._provider = provider
        self._admit = admit
        self._sessions = sessions
        self._devices = devices
        self._tickets = tickets
        self._cookie_prefix = cookie_prefix
        self._grants: Mapping[str, Callable[[Mapping[str, str]], Issued]] = {
            "authorization_code": self._of_code,
            "refresh_token": lambda form: self._sessions.renew(_given(form, "refresh_token")),
            "urn:ietf:params:oauth:grant-type:device_code": lambda form: self._sessions.begin(
                self._devices.redeem(_given(form, "device_code"))
            ),
        }

    def depart(self, loopback: Loopback | None) -> Departure:
        """See `SignIn`.

        Raises:
            BadRequest: the command doesn't listen on its own machine.
        """
        if loopback is None:
            return self._depart({"ends": "page"}, "")
        found = _LOOPBACK.fullmatch(loopback.redirect_uri)
        if not found or int(found["port"]) > 65535:
            raise BadRequest("`redirect_uri` must be http://127.0.0.1:PORT/… or http://[::1]:PORT/…, without a query.")
        ends = {"ends": "loopback", "redirect_uri": loopback.redirect_uri, "challenge": loopback.challenge}
        return self._depart(ends, loopback.state)

    def depart_for(self, user_code: str, address: str) -> Departure:
        """See `SignIn`."""
        return self._depart({"ends": "device"}, self.waiting(user_code, address).user_code)

    def arrive(self, parameters: Mapping[str, str | None], cookies: Mapping[str, str]) -> Arrival:
        """See `SignIn`."""
        attempt, cookie = self._attempt(parameters.get("state") or "", cookies)
        carried = _carried(cookie)
        if attempt["ends"] == "device":
            return self._decide(parameters, cookie, carried)
        try:
            user, access_token = self._user(parameters, cookie)
        except ServiceError as error:
            if attempt["ends"] == "loopback":
                return LedOn(None, _refusal(attempt["redirect_uri"], carried, error))
            raise
        if attempt["ends"] == "loopback":
            return LedOn(user, self._lead_on(attempt, carried, user.subject))
        ends = self._sessions.show(user.subject, access_token)
        return TokenShown(user, base64.b64encode(access_token.encode()).decode(), ends)

    def begin_device(self, address: str) -> DeviceCode:
        """See `SignIn`."""
        return self._devices.begin(address)

    def waiting(self, user_code: str, address: str) -> WaitingMachine:
        """See `SignIn`."""
        return self._devices.waiting(user_code, address)

    def cookie_name(self, state: str) -> str:
        """See `SignIn`."""
        return f"{self._cookie_prefix}hpcwaas-login-{digest(state)[:16]}"

    def provider_origin(self) -> str:
        """See `SignIn`."""
        parts = urlsplit(self._provider.authorization_url("", "", ""))
        return f"{parts.scheme}://{parts.netloc}"

    def issue(self, form: Mapping[str, str]) -> Issued:
        """See `SignIn`."""
        grant = self._grants.get(_given(form, "grant_type"))
        if grant is None:
            raise Refused("unsupported_grant_type", f"`grant_type` must be one of {', '.join(self._grants)}.")
        return grant(form)

    def end(self, session_id: str | None, token: str) -> None:
        """See `SignIn`."""
        self._sessions.end(session_id, token)

    def end_all(self, subject: str) -> None:
        """See `SignIn`."""
        self._sessions.end_all(subject)

    def _depart(self, ends: Mapping[str, JSON], carried: str) -> Departure:
        state = secrets.token_urlsafe(32)
        cookie = f"{secrets.token_urlsafe(32)}.{_encoded(carried.encode())}"
        url = self._provider.authorization_url(state, _derived(cookie, "nonce"), _derived(cookie, "verifier"))
        content = {**ends, "binding": digest(cookie)}
        self._tickets.put(_ATTEMPT, digest(state), content, datetime.now(UTC) + LIFE)
        return Departure(url, self.cookie_name(state), cookie)

    def _attempt(self, state: str, cookies: Mapping[str, str]) -> tuple[Mapping[str, JSON], str]:
        """The attempt of this browser, which ends with that, and its cookie."""
        now, key = datetime.now(UTC), digest(state)
        cookie = cookies.get(self.cookie_name(state), "")
        attempt = self._tickets.get(_ATTEMPT, key, now)
        # Who lacks the cookie can't end the attempt of who has it, not even by wasting it.
        if (
            attempt is None
            or not hmac.compare_digest(attempt["binding"], digest(cookie))
            or self._tickets.take(_ATTEMPT, key, now) is None
        ):
            raise BadRequest(_OVER)
        return attempt, cookie

    def _decide(self, parameters: Mapping[str, str | None], cookie: str, user_code: str) -> Arrival:
        try:
            user, _ = self._user(parameters, cookie)
            self._devices.decide(user_code, user.subject)
        except ServiceError as error:
            if parameters.get("error") == "access_denied":
                with contextlib.suppress(NotFound):  # it doesn't wait any more
                    self._devices.decide(user_code, None)
            return MachineKeptOut(error, user_code if self._devices.waits(user_code) else None)
        return MachineLetIn(user, user_code)

    def _user(self, parameters: Mapping[str, str | None], cookie: str) -> tuple[Principal, str]:
        if error := parameters.get("error"):
            raise _provider_error(error, parameters.get("error_description"))
        if not (code := parameters.get("code")):
            raise BadRequest("The identity provider sent no `code`. Sign in again.")
        vouched = self._provider.exchange(
            code, _derived(cookie, "nonce"), _derived(cookie, "verifier"), parameters.get("iss")
        )
        user = self._admit(vouched)
        if user is None:
            raise Forbidden(
                f"The account `{vouched.subject}` can't be used here: it is disabled, or an account with a password "
                "has the same name. Ask an operator."
            )
        return user, vouched.access_token

    def _lead_on(self, attempt: Mapping[str, JSON], state: str, subject: str) -> str:
        code = secrets.token_urlsafe(32)
        content = {"subject": subject, "redirect_uri": attempt["redirect_uri"], "challenge": attempt["challenge"]}
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
        return self._sessions.begin(granted["subject"])


def _given(form: Mapping[str, str], name: str) -> str:
    value = form.get(name)
    if not value:
        raise Refused("invalid_request", f"`{name}` is missing.")
    return value


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
    return UpstreamFailed(f"The identity provider could sign nobody in: it reports `{word}`.")


def _refusal(redirect_uri: str, state: str, error: ServiceError) -> str:
    word = "server_error"
    if isinstance(error, Forbidden | Unauthorized):
        word = "access_denied"
    elif isinstance(error, Unavailable):
        word = "temporarily_unavailable"
    return f"{redirect_uri}?{urlencode({'error': word, 'error_description': error.detail, 'state': state})}"
