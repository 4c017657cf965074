"""The Protocols of signing in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias

from hpcwaas.core.people import NO_DEMAND, Demand, Principal, Proof, Terms
from hpcwaas.errors import BadRequest, ServiceError

CALLBACK = "/auth/authorize"
"""Path of the service that identity providers send browsers back to."""


class Method(Protocol):
    """One way to sign in. A method may ask the store or a server, so it isn't called in the event loop.

    Whatever is presented, the answer takes the same time whether it nearly fits or not at all, and no credential is
    ever logged.
    """

    def basic(self, username: str, password: str, address: str) -> Principal | None:
        """Who signs in with this name and password.

        Args:
            address: where the request comes from.

        Returns:
            the user; None when this method knows nobody by them.

        Raises:
            TooManyRequests: too many attempts have failed.
            Unavailable: nobody can tell at the moment.
        """

    def bearer(self, token: str, address: str) -> Principal | None:
        """Who signs in with this token, given as it is. As `basic`."""


class Identity(Protocol):
    """Turns credentials into users."""

    def known(self, scheme: str, credentials: str, address: str) -> Principal | None:
        """Who has just signed in with the same credentials; answers at once. None tells nothing.

        Args:
            scheme: `basic` or `bearer`.
            credentials: what stands behind it in the `Authorization` header.
            address: where the request comes from; a password is remembered of one address only.
        """

    def remembers(self, credentials: str, address: str) -> bool:
        """Whether checking these of the scheme `basic` costs no verification of a password, since they were right a
        while ago; answers at once."""

    def check(self, scheme: str, credentials: str, address: str) -> Principal:
        """Who signs in; may take as long as a method takes.

        Raises:
            Unauthorized: nobody.
            TooManyRequests: too many attempts have failed.
            Unavailable: nobody can tell at the moment.
        """

    def forget(self) -> None:
        """Takes nobody for known any more: somebody's rights or credentials have changed."""


class Directory(Protocol):
    """Who there is, by subject."""

    def find(self, subject: str) -> Principal | None:
        """A user with groups and roles as they are now; None when there is none, or the account is disabled."""

    def has_password(self, subject: str) -> bool:
        """Whether an account with a password has this name, disabled or not."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """A user that an identity provider vouches for.

    Attributes:
        issuer, sub: the provider, and the user as it tells them apart: an account here belongs to these.
        subject: the id that a new account gets.
        name, groups: None when the provider hasn't told: then what it told before goes on to count.
        lacks: a claim that the settings require and that isn't what they require; None when nothing lacks.
        access_token: the provider's, in its own form.
        told_at: when the provider has told the groups, or last could have. What it told later counts.
        made_at: when the access token was made; None when the provider doesn't tell.
        proof: how and when the user proved who they are.
    """

    issuer: str
    sub: str
    subject: str
    name: str | None
    groups: frozenset[str] | None
    lacks: str | None
    access_token: str = field(repr=False)
    told_at: datetime
    made_at: datetime | None
    proof: Proof


class Provider(Protocol):
    """An identity provider that browsers are sent to (OpenID Connect, authorization code with PKCE)."""

    def authorization_url(self, state: str, nonce: str, verifier: str, demand: Demand = NO_DEMAND) -> str:
        """Where to send the browser.

        Args:
            verifier: the secret of PKCE, whose digest goes with it.
            demand: how the user is to sign in there.

        Raises:
            Unavailable: the provider's addresses aren't known and can't be found out now.
        """

    def exchange(self, code: str, nonce: str, verifier: str, issuer: str | None) -> Vouched:
        """Exchanges the code that the browser brought, and checks everything that comes for it.

        Args:
            issuer: what the browser brought as `iss` (RFC 9207), if anything.

        Raises:
            Unauthorized: the provider doesn't vouch for it, or for somebody who can't be a user here.
            Unavailable, UpstreamFailed, UpstreamTimeout: it doesn't answer, or not in a way that can be understood.
        """


class Refused(BadRequest):
    """Tokens are refused.

    Args:
        error: in the words of OAuth (RFC 6749, 5.2; RFC 8628, 3.5), such as `invalid_grant`.
    """

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


@dataclass(frozen=True, slots=True)
class Loopback:
    """A command that listens on its own machine (RFC 8252).

    Attributes:
        redirect_uri: where.
        state: what it wants back.
        challenge: S256 digest of the secret that it will show (RFC 7636).
    """

    redirect_uri: str
    state: str = field(repr=False)
    challenge: str


@dataclass(frozen=True, slots=True)
class Departure:
    """A browser that leaves for the identity provider, with a cookie that it has to bring back."""

    url: str = field(repr=False)
    cookie_name: str
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenShown:
    """A user has signed in, and their browser may show them a token.

    Attributes:
        token: in base64, as the old service showed it.
    """

    user: Principal
    token: str = field(repr=False)
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class LedOn:
    """A browser that goes on to a command's loopback address.

    Attributes:
        user: who has signed in; None when nobody has.
    """

    user: Principal | None
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MachineLetIn:
    """A user has let a machine without a browser in."""

    user: Principal
    user_code: str


@dataclass(frozen=True, slots=True)
class TermsAsked:
    """A user has to accept terms of use before the sign-in goes on.

    Attributes:
        ticket: comes back with their answer, as does the cookie.
        url: the command's loopback address that the browser is led to when they refuse, if it would be.
    """

    user: Principal
    terms: Terms
    ticket: str = field(repr=False)
    cookie_name: str
    cookie: str = field(repr=False)
    url: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class MachineKeptOut:
    """A browser that was to let a machine in, and in which nobody has signed in.

    Attributes:
        error: why, as `SignIn.arrive` would raise it.
        user_code: of the machine; None when it doesn't wait any more.
    """

    error: ServiceError
    user_code: str | None


Arrival: TypeAlias = TokenShown | LedOn | MachineLetIn | MachineKeptOut | TermsAsked


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a machine without a browser is told (RFC 8628).

    Attributes:
        lifetime, interval: seconds.
    """

    device_code: str = field(repr=False)
    user_code: str
    lifetime: int
    interval: int


@dataclass(frozen=True, slots=True)
class WaitingMachine:
    """A machine without a browser that waits for its user: where and when it asked, and how they are to sign in."""

    user_code: str
    address: str
    asked_at: datetime
    demand: Demand


@dataclass(frozen=True, slots=True)
class Issued:
    """Tokens of a session.

    Attributes:
        lifetime: of the access token, in seconds.
        session: id of the session.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    lifetime: int
    subject: str
    session: str


class AcceptedTerms(Protocol):
    """Terms of use, and who has accepted them. What asks for a subject may raise `Unavailable`.

    Attributes:
        terms: the present ones; None when there are none.
    """

    terms: Terms | None

    def accepted_at(self, subject: str) -> datetime | None:
        """When a user accepted the present terms; None when they haven't, or there are none."""

    def accept(self, subject: str, version: str) -> None:
        """Records that a user accepts terms. Raises `Conflict` when they aren't the present ones."""


class SignIn(Protocol):
    """Single sign-on as browsers and commands go through it. Every method may raise `Unavailable`."""

    def depart(self, loopback: Loopback | None, demand: Demand) -> Departure:
        """Begins an attempt that ends with a token on a page, or at a command's loopback address.

        Args:
            demand: how the user is to sign in at the provider.
        """

    def check_loopback(self, loopback: Loopback) -> None:
        """Refuses with `BadRequest` a command that doesn't listen on its own machine."""

    def refuse(self, loopback: Loopback) -> str:
        """Where a browser is led whose user doesn't let a command in."""

    def depart_for(self, user_code: str, address: str) -> Departure:
        """Begins an attempt that lets a machine in. Raises as `waiting`."""

    def arrive(self, parameters: Mapping[str, str | None], cookies: Mapping[str, str]) -> Arrival:
        """Ends an attempt, when the provider has sent the browser back.

        Args:
            parameters: `state`, `code`, `error`, `error_description`, `iss` as the browser brought them.

        Raises:
            BadRequest: there is no such attempt, or it isn't this browser's.
            Forbidden, Unauthorized: the provider vouches for nobody, or for somebody who isn't let in.
            UpstreamFailed, UpstreamTimeout: the provider doesn't answer, or not in a way that can be understood.
        """

    def answer_terms(self, ticket: str, cookies: Mapping[str, str], *, accepted: bool) -> Departure | Arrival:
        """Takes the answer to terms of use.

        Returns:
            the way back to the provider, which knows the user by now; or what becomes of an attempt that ends here.

        Raises:
            BadRequest: it was asked too long ago, or in another browser.
            Conflict: there are other terms by now.
            Forbidden: they weren't accepted, and nobody but the browser waits for that.
        """

    def begin_device(self, address: str, demand: Demand) -> DeviceCode:
        """Lets a machine without a browser wait for its user."""

    def waiting(self, user_code: str, address: str) -> WaitingMachine:
        """The machine that shows a code.

        Args:
            user_code: as somebody typed it.
            address: where they are; whoever tries too many codes has to wait.

        Raises:
            NotFound: there is none.
            TooManyRequests: too many wrong codes came from this address.
        """

    def cookie_name(self, state: str) -> str:
        """Name of the cookie that belongs to an attempt."""

    def provider_origin(self) -> str:
        """Scheme and host of the provider's page."""

    def issue(self, form: Mapping[str, str]) -> Issued:
        """Exchanges a code, or renews a session.

        Raises:
            Refused: as its `error` says.
        """

    def end(self, session_id: str | None, token: str) -> None:
        """Ends the session that a bearer token belongs to; the token counts no more, even if it is the provider's."""

    def end_all(self, subject: str) -> None:
        """Ends all sessions of a user; no token that the provider has made for them before counts any more."""
