"""What the vault says of itself, to whoever asks."""

from __future__ import annotations

import hvac

STATES = {501: "isn't initialised", 503: "is sealed"}
"""Statuses with which requests fail. Any other is that of a standby, which passes them on, or of none at all."""


def health(client: hvac.Client) -> int:
    """The status of its answer. To be called inside of `translated`."""
    answer = client.sys.read_health_status(method="GET")
    return 200 if isinstance(answer, dict) else int(answer.status_code)
