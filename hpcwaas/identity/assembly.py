"""Makes the parts of signing in from the settings, and connects them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from hpcwaas.core.ports.identity import Identity, Method
from hpcwaas.core.ports.sign_in_records import SignInRecords
from hpcwaas.errors import ConfigurationError
from hpcwaas.identity.access_tokens import TokenMethod
from hpcwaas.identity.basic import BasicIdentity
from hpcwaas.identity.devices import Devices
from hpcwaas.identity.directory import Users
from hpcwaas.identity.enrolment import Enrolment, requirements
from hpcwaas.identity.front import Front
from hpcwaas.identity.local import LocalIdentity, load_or_create_token
from hpcwaas.identity.oidc.party import RelyingParty
from hpcwaas.identity.rates import AddressRate
from hpcwaas.identity.sessions import SessionMethod, Sessions
from hpcwaas.identity.settings import AuthSettings
from hpcwaas.identity.signin import SingleSignOn
from hpcwaas.identity.terms import TermsOfUse, terms_of
from hpcwaas.identity.throttle import Throttle

_LOGGER = logging.getLogger(__name__)

_SIGN_INS = 600
"""Requests per minute, from one address, to the operations of signing in: a course may begin behind one address."""


@dataclass(frozen=True, slots=True)
class SSO:
    """The parts of single sign-on."""

    flow: SingleSignOn
    rate: AddressRate
    methods: tuple[Method, Method]
    party: RelyingParty


class SigningIn:
    """Everything about who calls.

    Args:
        auth: the settings; None for the local mode's one user.
        records: what is known of users, and what they sign in with.
        local_token: file of the local mode's token.
        cookie_prefix: of the names of cookies.

    Attributes:
        users: who there is.
        terms: the terms of use, and who has accepted them.
        sso: single sign-on; None without it.
        identity: all ways to sign in, as one.

    Raises:
        ConfigurationError: a setting can't work, or an account of the settings has the name of a user of the identity
            provider.
    """

    def __init__(
        self, auth: AuthSettings | None, records: SignInRecords, local_token: Path, cookie_prefix: str
    ) -> None:
        self._records = records
        local = None if auth else LocalIdentity(load_or_create_token(local_token))
        if auth is not None and "sso" in auth.auth_type:
            _check_names(auth, records)
        self.users = Users(auth, records.users, local.user if local else None)
        self.terms = TermsOfUse(records.terms, terms_of(auth))
        self._tokens = TokenMethod(records.tokens, self.users)
        self.sso = self._single_sign_on(auth, cookie_prefix) if auth is not None and "sso" in auth.auth_type else None
        self.identity = self._front(auth, local)

    def start(self) -> None:
        """Takes the scope `admin` from access tokens whose owners are no operators by the present settings."""
        tokens = self._records.tokens
        for owner in {token.owner for token in tokens.of(None) if "admin" in token.scopes}:
            found = self.users.find(owner)
            if found is not None and "operator" not in found.roles:
                tokens.drop_scope(owner, "admin")
                _LOGGER.info("%s is no operator: access tokens have lost the scope `admin`", owner)

    def close(self) -> None:
        """Closes connections."""
        self._tokens.close()
        if self.sso is not None:
            self.sso.party.close()

    def _single_sign_on(self, auth: AuthSettings, cookie_prefix: str) -> SSO:
        records = self._records
        party = RelyingParty(auth)
        admit = Enrolment(records.users, records.sessions, records.tokens, self.users, requirements(auth)).admit
        sessions = Sessions(records.sessions, records.users, records.tickets, self.users, auth.session_duration)
        devices = Devices(records.tickets, records.counters)
        return SSO(
            flow=SingleSignOn(party.provider, admit, self.terms, sessions, devices, records.tickets, cookie_prefix),
            rate=AddressRate(
                records.counters,
                "signing in",
                _SIGN_INS,
                timedelta(minutes=1),
                "Too many requests came from your address. Wait a minute.",
            ),
            methods=(SessionMethod(records.sessions, records.tickets, self.users), party.method(admit)),
            party=party,
        )

    def _front(self, auth: AuthSettings | None, local: LocalIdentity | None) -> Identity:
        if auth is None:
            return Front([self._tokens, *([local] if local else [])])
        throttle = Throttle(self._records.counters)
        methods: list[Method] = [self._tokens]
        if self.sso is not None:
            sessions, bearer = self.sso.methods
            methods = [sessions, self._tokens, bearer]
        has_accepted = self.terms.is_accepted if self.terms.terms else None
        if "basic" not in auth.auth_type:
            return Front(methods, throttle, has_accepted)
        if not self.users.any_account():
            _LOGGER.warning(
                "Nobody can sign in with a password: there is no account yet. Add one with `hpcwaas-api user add NAME`."
            )
        basic = BasicIdentity(self.users, self._records.users, throttle)
        return Front([*methods, basic], throttle, has_accepted, basic.remembers)


def _check_names(auth: AuthSettings, records: SignInRecords) -> None:
    for index, account in enumerate(auth.basic_auth.accounts):
        found = records.users.find(account.username)
        if found is not None and found.source == "sso":
            raise ConfigurationError(
                f"auth.basic_auth.accounts[{index}].username",
                f"{account.username} is a user of the identity provider, to whom executions and keys may belong: "
                "choose another name",
            )
