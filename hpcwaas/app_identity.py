"""Makes and connects the parts of signing in, for `hpcwaas.app`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from hpcwaas.api import auth
from hpcwaas.configuration.settings import Settings
from hpcwaas.identity.base import Identity, Method, SignIn
from hpcwaas.identity.basic import BasicIdentity
from hpcwaas.identity.devices import Devices
from hpcwaas.identity.directory import Users
from hpcwaas.identity.front import Front
from hpcwaas.identity.local import LocalIdentity, load_or_create_token
from hpcwaas.identity.oidc.party import RelyingParty
from hpcwaas.identity.rates import Rate
from hpcwaas.identity.sessions import Admission, SessionMethod, Sessions
from hpcwaas.identity.signin import SingleSignOn
from hpcwaas.identity.throttle import Throttle
from hpcwaas.identity.tokens import TokenMethod
from hpcwaas.local import token_path
from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database
from hpcwaas.store.sessions import SessionStore
from hpcwaas.store.tickets import TicketStore
from hpcwaas.store.users import UserStore

_LOGGER = logging.getLogger(__name__)

_SIGN_INS = 600
"""Requests per minute, from one address, to the operations of signing in: a course may begin behind one address."""


@dataclass(frozen=True, slots=True)
class SSO:
    """The parts of single sign-on."""

    flow: SignIn
    site: auth.Site
    count: Callable[[str], None]
    sessions: Method
    bearer: Method
    party: RelyingParty


def directory(settings: Settings, database: Database) -> Users:
    """Who there is."""
    local = None if settings.auth else LocalIdentity(load_or_create_token(token_path(settings.data_dir))).user
    return Users(settings.auth, UserStore(database), local)


def single_sign_on(settings: Settings, database: Database, users: Users) -> SSO | None:
    """The parts of single sign-on; None without it."""
    if settings.auth is None or "sso" not in settings.auth.auth_type:
        return None
    site = auth.Site(settings.auth.redirect_url or "")
    tickets, counters, records = TicketStore(database), CounterStore(database), SessionStore(database)
    party = RelyingParty(settings.auth)
    user_records = UserStore(database)
    admit = Admission(user_records, users).admit
    sessions = Sessions(records, user_records, tickets, users, settings.auth.session_duration)
    rate = Rate(counters, "signing in", _SIGN_INS, timedelta(minutes=1), "Too many requests came from your address.")
    return SSO(
        flow=SingleSignOn(party.provider, admit, sessions, Devices(tickets, counters), tickets, site.cookie_prefix),
        site=site,
        count=rate.take,
        sessions=SessionMethod(records, tickets, users),
        bearer=party.method(admit),
        party=party,
    )


def identity(settings: Settings, database: Database, users: Users, tokens: TokenMethod, sso: SSO | None) -> Identity:
    """All ways to sign in, as one."""
    if settings.auth is None:
        return Front([tokens, LocalIdentity(load_or_create_token(token_path(settings.data_dir)))])
    throttle = Throttle(CounterStore(database))
    methods: list[Method] = [tokens] if sso is None else [sso.sessions, tokens, sso.bearer]
    if "basic" in settings.auth.auth_type:
        if not users.any_account():
            _LOGGER.warning("Nobody can sign in with a password: there is no account yet. `hpcwaas-api user add NAME`")
        methods.append(BasicIdentity(users, UserStore(database), throttle))
    return Front(methods, throttle)
