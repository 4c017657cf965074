"""Signing in from a machine without a browser, by one elsewhere (RFC 8628)."""

from __future__ import annotations

import time
from collections.abc import Callable

from .client import Client
from .credentials import Login
from .errors import Unauthorized, Unreachable
from .oauth import CLIENT_ID, Refused, exchange
from .stepup import NO_DEMAND, Demand

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_SLOWER_SECONDS = 5.0
_SHORTEST_PAUSE_SECONDS = 1.0


def sign_in(
    client: Client,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    demand: Demand = NO_DEMAND,
) -> Login:
    """Shows a code and waits until the user has confirmed it.

    Args:
        demand: how the user is to sign in.
        sleep, clock: the time.

    Raises:
        Refused: the user or the service said no.
        WaasError: nobody confirmed it in time.
    """
    attempt = client.ask("POST", "/auth/device", data={"client_id": CLIENT_ID, **demand.form}, anonymous=True)
    code, interval = str(attempt["device_code"]), max(float(attempt["interval"]), _SHORTEST_PAUSE_SECONDS)
    deadline = clock() + float(attempt["expires_in"])
    client.note(f"Open this address on any device:  {attempt['verification_uri']}")
    client.note(f"and enter this code there:        {attempt['user_code']}")
    if complete := attempt.get("verification_uri_complete"):
        client.note(f"Or open this address, which holds the code: {complete}")
    client.note(f"The code is valid for {float(attempt['expires_in']) / 60:.0f} minutes. Press Ctrl-C to give up.")
    while clock() + interval <= deadline:
        sleep(interval)
        try:
            return exchange(client, _GRANT, device_code=code)
        except Refused as refusal:
            if refusal.error == "expired_token":
                break
            if refusal.error == "slow_down":
                interval += _SLOWER_SECONDS
            elif refusal.error != "authorization_pending":
                raise
        except Unreachable as failure:
            # As the RFC says: less often then.
            interval = max(2 * interval, failure.retry_after or 0)
    raise Unauthorized("Nobody confirmed the code in time.", hint="Try again: waas login --device")
