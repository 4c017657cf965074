"""Signing in and out."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import click

from . import config as configuration
from . import printing
from .agreement import agree
from .api import answers, calls
from .client import Client
from .config import Config
from .credentials import SCOPES, Credentials, Login
from .errors import NotFound, Unauthorized, UsageError, WaasError
from .password import with_password
from .single_sign_on import by_provider, end_login, keep_login
from .state import State
from .stepup import NO_DEMAND, Demand
from .text import parse_time

_DAYS = 30


def sign_in(state: State, *, device: bool, no_browser: bool, demand: Demand = NO_DEMAND) -> None:
    """Signs in by what the service offers, keeps what came of it, and says who the user is.

    Args:
        device: by a browser on another device.
        no_browser: only show the address.
        demand: how the identity provider is to sign the user in.

    Raises:
        WaasError: nobody is signed in.
    """
    if state.given.get("access_token"):
        raise UsageError("An access token needs no sign-in. Give it with each command, or set HW_ACCESS_TOKEN.")
    nobody = replace(state.config, user=None, access_token=None, login=None)
    client = Client(nobody, note=state.note)
    methods = _methods(client, nobody)
    by_password = "basic" in methods and bool(state.given.get("user") or "sso" not in methods)
    if "local" in methods:
        state.note("The service runs in local mode, for the user who started it. You need not sign in.")
        return
    if by_password and (device or demand.form):
        raise UsageError(
            "--device, --acr-values and --max-age are for single sign-on. Leave them out to give a password."
        )
    if by_password:
        login = _by_password(client, state)
    elif "sso" not in methods:
        raise WaasError(
            f"{nobody.api_url} offers no way to sign in that this version of waas knows.", hint="Upgrade waas."
        )
    elif state.given.get("user"):
        raise UsageError("The service takes no passwords: leave out --user.")
    else:
        login = by_provider(client, nobody, device=device, no_browser=no_browser, demand=demand)
    client.become(replace(nobody, access_token=login.access_token))
    user = client.call(calls.whoami())
    keep_login(client, nobody, login, default=True)
    if not state.prints_json(user):
        printing.line(f"SUCCESS: Signed in at {nobody.api_url} as {user['name']} ({user['subject']})")
    later = {name: value for name, value in state.given.items() if name != "user"}
    if configuration.from_process(later).login is None:
        state.note(
            "WARNING: HW_USER, HW_ACCESS_TOKEN or the configuration file gives other credentials, which are used "
            "instead of this sign-in. Remove them."
        )


def sign_out(state: State, *, everywhere: bool) -> None:
    """Ends the sign-in at the service, and deletes it from this machine even if that fails.

    Args:
        everywhere: end all of the user's. This one is deleted only when all have ended.

    Raises:
        WaasError: they may not have ended.
    """
    nobody = replace(state.config, user=None, access_token=None, login=None)
    store = Credentials(nobody.state_directory)
    login = store.find(nobody.api_url)
    if login is None:
        unknown = f"You aren't signed in at {nobody.api_url} with `waas login`."
        if everywhere:
            raise Unauthorized(unknown, hint="Sign in first, then sign out everywhere.")
        state.note(unknown)
        return
    failure = end_login(Client(nobody, note=state.note), nobody, login, everywhere=everywhere)
    if everywhere and failure:
        raise failure
    store.update(nobody.api_url, lambda _: None)
    if failure:
        state.note(
            f"WARNING: {failure.message} The sign-in was deleted from this machine, but the service may accept it "
            "until it expires."
        )
    else:
        state.line(f"SUCCESS: Signed out of {nobody.api_url}{' everywhere' if everywhere else ''}")


def _methods(client: Client, config: Config) -> Sequence[str]:
    try:
        return client.call(calls.get_auth_methods())["methods"]
    except NotFound:
        raise WaasError(
            f"You can't sign in at {config.api_url}: it is too old, or it isn't a Workflow Execution Service.",
            hint="Give --user NAME or --access_token TOKEN with each command.",
        ) from None


def _by_password(client: Client, state: State) -> Login:
    """Creates a personal access token with a password."""
    config = state.config
    named = config.user
    if not named:
        if not sys.stdin.isatty():
            raise UsageError("There is no terminal to ask for your name.", hint="Give --user NAME.")
        named = click.prompt("User", default=getpass.getuser(), err=True)
    client.become(replace(config, user=with_password(named), access_token=None, login=None))
    try:
        roles = client.call(calls.whoami())["roles"]
    except Unauthorized as failure:
        message = f"{config.api_url} doesn't accept this password for {named.partition(':')[0]}."
        raise Unauthorized(message, problem=failure.problem) from None
    agree(client)
    scopes = [scope for scope in SCOPES if scope != "admin" or "operator" in roles]
    taken = {token["name"] for token in client.call(calls.list_tokens())["tokens"]}
    # The service knows its users' tokens by name, and names end after 100 characters.
    host = socket.gethostname()[:80]
    name = next(name for number in count(1) if (name := f"waas on {host} {number}") not in taken)
    wanted: answers.NewAccessToken = {"name": name, "scopes": scopes}
    try:
        made = client.call(calls.create_token({**wanted, "days": _DAYS}))
    except UsageError:
        # The service doesn't allow so many days: then its default.
        made = client.call(calls.create_token(wanted))
    ends = parse_time(made["expires_at"])
    if ends is None:
        raise ValueError
    return Login(str(made["token"]), ends.timestamp())
