"""Signing in and out."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import webbrowser
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from threading import Thread
from typing import Any

import click

from . import config as configuration
from . import output
from .client import Client
from .config import Config
from .credentials import Credentials, Login
from .errors import ExitCode, NotFound, UsageError, WaasError
from .password import credentials
from .state import State
from .stepup import NO_DEMAND, Demand, SignInAgain
from .terms import agree
from .text import parse_time
from .tokens import SCOPES

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
        raise UsageError("Who has a token needs no sign-in: give it with each command, or in HW_ACCESS_TOKEN.")
    nobody = replace(state.config, user=None, access_token=None, login=None)
    client = Client(nobody, note=state.note)
    methods = _methods(client, nobody)
    by_password = "basic" in methods and bool(state.given.get("user") or "sso" not in methods)
    if "local" in methods:
        state.note("The service runs in local mode for the user who has started it: there is nothing to do.")
        return
    if by_password and device:
        raise UsageError("--device is for single sign-on; this is a sign-in with a password.")
    if by_password and demand.form:
        raise UsageError("--acr-values and --max-age are for single sign-on; this is a sign-in with a password.")
    if by_password:
        login = _by_password(client, state)
    elif "sso" not in methods:
        raise WaasError(f"{nobody.api_url} offers no way to sign in that this waas knows.", hint="Upgrade waas.")
    elif state.given.get("user"):
        raise UsageError("The service takes no passwords: leave out --user.")
    else:
        login = _by_provider(client, state, device=device, no_browser=no_browser, demand=demand)
    client.become(replace(nobody, access_token=login.access_token))
    user = client.json("/whoami")
    store = Credentials(nobody.state_directory)
    _end(client, nobody, store.find(nobody.api_url))
    store.update(nobody.api_url, lambda _: login, default=True)
    if state.json:
        output.json(user)
    else:
        output.line(f"SUCCESS: Signed in at {nobody.api_url} as {user['name']} ({user['subject']})")
    later = {name: value for name, value in state.given.items() if name != "user"}
    if configuration.from_process(later).login is None:
        state.note(
            "WARNING: HW_USER, HW_ACCESS_TOKEN or the configuration file name other credentials. They count before "
            "this sign-in: take them away."
        )


def sign_in_again(state: State, wanted: SignInAgain) -> Config:
    """Signs in by the provider as the service demands, in place of the present sign-in.

    Returns:
        the configuration with the new sign-in.

    Raises:
        SignInAgain: the present sign-in can't be replaced so.
        WaasError: nobody is signed in, or somebody else.
    """
    login = state.config.login
    if login is None or login.refresh_token is None:
        raise wanted
    nobody = replace(state.config, user=None, access_token=None, login=None)
    client = Client(replace(nobody, login=login), note=state.note)
    before = client.json("/whoami")["subject"]
    state.note(wanted.message)
    client.become(nobody)
    new = _by_provider(client, state, device=False, no_browser=False, demand=wanted.demand)
    client.become(replace(nobody, access_token=new.access_token))
    after = client.json("/whoami")["subject"]
    if after != before:
        _end(client, nobody, new)
        raise WaasError(
            f"You have signed in as {after}, and what you want to do began as {before}: nothing was done.",
            code=ExitCode.UNAUTHORIZED,
        )
    store = Credentials(nobody.state_directory)
    _end(client, nobody, store.find(nobody.api_url))
    store.update(nobody.api_url, lambda _: new)
    return replace(nobody, login=new)


def sign_out(state: State, *, everywhere: bool) -> None:
    """Ends the sign-in at the service, and forgets it whatever comes of that.

    Args:
        everywhere: end all of the user's. This one is forgotten only when they have ended.

    Raises:
        WaasError: they may not have ended.
    """
    nobody = replace(state.config, user=None, access_token=None, login=None)
    store = Credentials(nobody.state_directory)
    login = store.find(nobody.api_url)
    if login is None:
        unknown = f"You aren't signed in at {nobody.api_url} by waas login."
        if everywhere:
            raise WaasError(unknown, code=ExitCode.UNAUTHORIZED, hint="Sign in, then sign out everywhere.")
        state.note(unknown)
        return
    failure = _end(Client(nobody, note=state.note), nobody, login, everywhere=everywhere)
    if everywhere and failure:
        raise failure
    store.update(nobody.api_url, lambda _: None)
    if failure:
        state.note(
            f"WARNING: {failure.message} The sign-in is forgotten on this machine, but the service may take it for "
            "valid until it ends by itself."
        )
    elif not state.json:
        output.line(f"SUCCESS: Signed out of {nobody.api_url}{' everywhere' if everywhere else ''}")


def _methods(client: Client, config: Config) -> list[str]:
    try:
        methods: list[str] = client.json("/auth/methods")["methods"]
    except NotFound:
        raise WaasError(
            f"{config.api_url} can't be signed in to: it is too old, or no such service.",
            hint="Give --user NAME or --access_token TOKEN with each command.",
        ) from None
    return methods


def _end(client: Client, config: Config, login: Login | None, *, everywhere: bool = False) -> WaasError | None:
    """Ends a sign-in at the service.

    Args:
        config: its address, without credentials.
        everywhere: end all of the user's.

    Returns:
        why it may go on, or one of all; None when it has ended.
    """
    if login is None:
        return None
    client.become(replace(config, login=login))
    try:
        client.request("POST", "/auth/logout", params={"everywhere": "true"} if everywhere else None, retry=True)
    except WaasError as failure:
        return None if failure.code == ExitCode.UNAUTHORIZED and not everywhere else failure
    return None


def _by_provider(client: Client, state: State, *, device: bool, no_browser: bool, demand: Demand) -> Login:
    browser = None if device or no_browser else _browser(os.environ)
    if device or not (browser or no_browser):
        from .device import sign_in as sign_in_elsewhere

        return sign_in_elsewhere(client, state.note, demand=demand)
    from .loopback import sign_in

    def show(address: str, place: str) -> None:
        opened = "Sign in by the browser that opens, or open this address in it" if browser else "Open this address"
        state.note(
            f"{opened} on this machine:\n{address}\nIts page asks whether to let {place} in: that is this command."
        )
        if browser:
            # Some browsers don't return before they are closed.
            Thread(target=browser.open, args=(address,), daemon=True).start()

    return sign_in(client, state.config.api_url, show, demand=demand)


def _browser(environment: Mapping[str, str]) -> webbrowser.BaseBrowser | None:
    """A browser that the user can see; None when there is none, as over SSH."""
    if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"):
        return None
    if sys.platform == "linux" and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return None
    try:
        return webbrowser.get()
    except webbrowser.Error:
        return None


def _by_password(client: Client, state: State) -> Login:
    """Makes a personal access token with a password."""
    config = state.config
    named = config.user
    if not named:
        if not sys.stdin.isatty():
            raise UsageError("There is no terminal to ask who you are.", hint="Give --user NAME.")
        named = click.prompt("User", default=getpass.getuser(), err=True)
    client.become(replace(config, user=credentials(named), access_token=None, login=None))
    try:
        roles = client.json("/whoami")["roles"]
    except WaasError as failure:
        if failure.code != ExitCode.UNAUTHORIZED:
            raise
        message = f"{config.api_url} doesn't let {named.partition(':')[0]} in with this password."
        raise WaasError(message, code=ExitCode.UNAUTHORIZED, problem=failure.problem) from None
    agree(client, state)
    scopes = [scope for scope in SCOPES if scope != "admin" or "operator" in roles]
    taken = {token["name"] for token in client.json("/tokens")["tokens"]}
    # The service knows its users' tokens by name, and names end after 100 characters.
    host = socket.gethostname()[:80]
    name = next(name for number in count(1) if (name := f"waas on {host} {number}") not in taken)
    wanted = {"name": name, "scopes": scopes}
    try:
        response = client.request("POST", "/tokens", json={**wanted, "days": _DAYS})
    except WaasError as failure:
        if failure.code != ExitCode.USAGE:
            raise
        # So long a life isn't allowed there: then the usual one.
        response = client.request("POST", "/tokens", json=wanted)
    made: dict[str, Any] = client.decode(response)
    ends = parse_time(made["expires_at"])
    if ends is None:
        raise ValueError
    return Login(str(made["token"]), ends.timestamp())
