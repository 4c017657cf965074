"""Where the service is and who calls, for programs."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..config import Config, load

log = logging.getLogger("waas_cli")


def configuration(
    api_url: str | None, access_token: str | None, user: str | None, profile: str | None, ca_file: Path | None
) -> Config:
    """The configuration of a program: what it gives, and for the rest what the command `waas` would take.

    Raises:
        UsageError: something in it is wrong.
    """
    given = {"api_url": api_url, "access_token": access_token, "user": user, "profile": profile, "ca_file": ca_file}
    found = load({name: value for name, value in given.items() if value is not None}, os.environ)
    for warning in found.warnings:
        log.warning("%s", warning)
    return found
