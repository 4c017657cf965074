"""Makes and connects the parts of signing in, for `hpcwaas.app`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from hpcwaas.api.site import Site
from hpcwaas.configuration.settings import Settings
from hpcwaas.errors import ConfigurationError
from hpcwaas.identity.admission import Admission, requirements
from hpcwaas.identity.base import Identity, Method, SignIn
from hpcwaas.identity.basic import BasicIdentity
from hpcwaas.identity.devices import Devices
from hpcwaas.identity.directory import Users
from hpcwaas.identity.front import Front
from hpcwaas.identity.local import LocalIdentity, load_or_create_token
from hpcwaas.identity.oidc.party import RelyingParty
from hpcwaas.identity.rates import Rate
from hpcwaas.identity.sessions import SessionMethod, Sessions
from hpcwaas.identity.signin import SingleSignOn
from hpcwaas.identity.terms import TermsOfUse, terms_of
from hpcwaas.identity.throttle import Throttle
from hpcwaas.identity.tokens import TokenMethod
from hpcwaas.local import token_path
from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database
from hpcwaas.store.sessions import SessionStore
from hpcwaas.store.terms import TermsStore
from hpcwaas.store.tickets import TicketStore
from hpcwaas.store.tokens import TokenStore
from hpcwaas.store.users import UserStore

_LOGGER = logging.getLogger(__name__)

_SIGN_INS = 600
"""Requests per minute, from one address, to the operations of signing in: a course may begin behind one address."""


@dataclass(frozen=True, slots=True)
class SSO:
    """The parts of single sign-on."""

    flow: SignIn
    site: Site
    count: Callable[[str], None]
    sessions: Method
    bearer: Method
    party: RelyingParty


def directory(settings: Settings, database: Database) -> Users:
    """Who there is.

    Raises:
        ConfigurationError: an account of the settings has the name of a user of the identity provider.
    """
    local = None if settings.auth else LocalIdentity(load_or_create_token(token_path(settings.data_dir))).user
    records = UserStore(database)
    if settings.auth is not None and "sso" in settings.auth.auth_type:
        for index, account in enumerate(settings.auth.basic_auth.accounts):
            found = records.find(account.username)
            if found is not None and found.source == "sso":
                database.close()  # the service doesn't start
                raise ConfigurationError(
                    f"auth.basic_auth.accounts[{index}].username",
                    f"{account.username} is a user of the identity provider, to whom executions and keys may belong: "
                    "choose another name",
                )
    return Users(settings.auth, records, local)


def terms_of_use(settings: Settings, database: Database) -> TermsOfUse:
    """The terms of use, and who has accepted them."""
    return TermsOfUse(TermsStore(database), terms_of(settings.auth))


def drop_stale_admin(database: Database, users: Users) -> None:
    """Takes the scope `admin` from access tokens whose owners are no operators by the present settings."""
    tokens = TokenStore(database)
    for owner in {token.owner for token in tokens.of(None) if "admin" in token.scopes}:
        found = users.find(owner)
        if found is not None and "operator" not in found.roles:
            tokens.drop_scope(owner, "admin")
            _LOGGER.info("%s is no operator: access tokens have lost the scope `admin`", owner)


def single_sign_on(settings: Settings, database: Database, users: Users, terms: TermsOfUse) -> SSO | None:
    """The parts of single sign-on; None without it."""
    if settings.auth is None or "sso" not in settings.auth.auth_type:
        return None
    site = Site(settings.auth.redirect_url or "")
    tickets, counters, records = TicketStore(database), CounterStore(database), SessionStore(database)
    party = RelyingParty(settings.auth)
    user_records = UserStore(database)
    required = requirements(settings.auth)
    admit = Admission(user_records, records, TokenStore(database), users, required).admit
    sessions = Sessions(records, user_records, tickets, users, settings.auth.session_duration)
    rate = Rate(counters, "signing in", _SIGN_INS, timedelta(minutes=1), "Too many requests came from your address.")
    return SSO(
        flow=SingleSignOn(
            party.provider, admit, terms, sessions, Devices(tickets, counters), tickets, site.cookie_prefix
        ),
        site=site,
        count=rate.take,
        sessions=SessionMethod(records, tickets, users),
        bearer=party.method(admit),
        party=party,
    )


def identity(
    settings: Settings, database: Database, users: Users, tokens: TokenMethod, sso: SSO | None, terms: TermsOfUse
) -> Identity:
    """All ways to sign in, as one."""
    if settings.auth is None:
        return Front([tokens, LocalIdentity(load_or_create_token(token_path(settings.data_dir)))])
    throttle = Throttle(CounterStore(database))
    methods: list[Method] = [tokens] if sso is None else [sso.sessions, tokens, sso.bearer]
    has_accepted = terms.is_accepted if terms.terms else None
    if "basic" in settings.auth.auth_type:
        if not users.any_account():
            _LOGGER.warning("Nobody can sign in with a password: there is no account yet. `hpcwaas-api user add NAME`")
        basic = BasicIdentity(users, UserStore(database), throttle)
        return Front([*methods, basic], throttle, has_accepted, basic.remembers)
    return Front(methods, throttle, has_accepted)
