"""The command line's flags that are settings. Light: `hpcwaas-api --help` needs nothing else."""

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
    """

    name: str
    setting: str
    help: str | None = None
    short: str | None = None
    switch: bool = False


FLAGS = (
    Flag("--listen_address", "listen_address", "HOST:PORT to listen on.", "-l"),
    Flag("--data_dir", "data_dir", "Directory of everything the service keeps."),
    Flag("--cwl_catalogue", "cwl.catalogue", "Directory whose CWL workflows are published."),
    # Known from the service that this one replaces, so that they are refused with the reason.
    Flag("--a4c_address", "alien_config.address"),
    Flag("--a4c_user", "alien_config.user"),
    Flag("--a4c_password", "alien_config.password"),
    Flag("--a4c_ca_file", "alien_config.ca_file"),
    Flag("--a4c_skip_secure", "alien_config.skip_secure", switch=True),
    Flag("--vault_address", "vault_config.address"),
    Flag("--vault_role_id", "vault_config.role_id"),
    Flag("--vault_secret_id", "vault_config.secret_id"),
    Flag("--vault_is_secret_wrapped", "vault_config.is_secret_wrapped", switch=True),
)
