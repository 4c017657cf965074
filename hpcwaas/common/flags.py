"""A setting on the command line. Light: `hpcwaas-api --help` needs nothing else of the settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """A setting on the command line.

    Attributes:
        name: as the service that this one replaces spells it; `-` instead of `_` works too.
        setting: full name of the setting.
        help: what it does; None keeps it out of the help.
        switch: takes no value.
        secret: its value is one.
    """

    name: str
    setting: str
    help: str | None = None
    short: str | None = None
    switch: bool = False
    secret: bool = False

    @property
    def variable(self) -> str:
        """Name of the setting's environment variable."""
        return f"HWA_{self.setting.replace('.', '_').upper()}"
