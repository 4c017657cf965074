"""Signing in by the identity provider, in a browser here or elsewhere, and ending a sign-in."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Thread

from .api import calls
from .client import Client
from .config import Config
from .credentials import Credentials, Login
from .errors import Unauthorized, WaasError
from .stepup import Demand, SignInAgain


def by_provider(client: Client, config: Config, *, device: bool, no_browser: bool, demand: Demand) -> Login:
    """Signs in by a browser: one that opens here, or, where there is none or with `device`, one on another device.

    Args:
        config: the service's address, without credentials.
        no_browser: show the address only.
        demand: how the identity provider is to sign the user in.

    Raises:
        WaasError: nobody signed in.
    """
    browser = None if device or no_browser else _browser(os.environ)
    if device or not (browser or no_browser):
        from .device import sign_in as sign_in_elsewhere

        return sign_in_elsewhere(client, demand=demand)
    from .loopback import sign_in

    def show(address: str, place: str) -> None:
        opens = "A browser opens, where you can sign in. If it doesn't, open" if browser else "Open"
        page = f"The page asks whether to let {place} in. That is this command."
        client.note(f"{opens} this address on this machine:\n{address}\n{page}")
        if browser:
            # Some browsers don't return before they are closed.
            Thread(target=browser.open, args=(address,), daemon=True).start()

    return sign_in(client, config.api_url, show, demand=demand)


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


def sign_in_again(config: Config, note: Callable[[str], None], wanted: SignInAgain) -> Config:
    """Signs in by the provider as the service demands, in place of the present sign-in.

    Returns:
        the configuration with the new sign-in.

    Raises:
        SignInAgain: the present sign-in can't be replaced so.
        WaasError: nobody is signed in, or somebody else.
    """
    if config.login is None or config.login.refresh_token is None:
        raise wanted
    nobody = replace(config, login=None)
    client = Client(config, note=note)
    before = client.call(calls.whoami())["subject"]
    note(wanted.message)
    client.become(nobody)
    new = by_provider(client, nobody, device=False, no_browser=False, demand=wanted.demand)
    client.become(replace(nobody, access_token=new.access_token))
    after = client.call(calls.whoami())["subject"]
    if after != before:
        end_login(client, nobody, new)
        raise Unauthorized(f"You began this command as {before}, but signed in as {after}. Nothing was done.")
    keep_login(client, nobody, new)
    return replace(nobody, login=new)


def keep_login(client: Client, config: Config, new: Login, *, default: bool = False) -> None:
    """Keeps a sign-in in place of the one before it at the same service, which is ended.

    Args:
        config: the service's address, without credentials.
        default: whether the address is to be the default of all commands.
    """
    store = Credentials(config.state_directory)
    end_login(client, config, store.find(config.api_url))
    store.update(config.api_url, lambda _: new, default=default)


def end_login(client: Client, config: Config, login: Login | None, *, everywhere: bool = False) -> WaasError | None:
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
        return None if isinstance(failure, Unauthorized) and not everywhere else failure
    return None
